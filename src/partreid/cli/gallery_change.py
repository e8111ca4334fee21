"""``partreid gallery delete`` and ``copy``: what is lost is shown first."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import torch
import typer

from partreid.cli.console import console, errors, progress_bar
from partreid.cli.options import (
    Cameras,
    GalleryLocation,
    NotCameras,
    NotWhere,
    Since,
    Undated,
    Until,
    Where,
    gallery_filter,
)
from partreid.errors import ConfigError, DataError
from partreid.retrieval.filters import Filter, undated_left_out
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.stores.addresses import without_secrets
from partreid.types import CameraSummary, GalleryRecords

_SHOWN = 10  # cameras, and ids that are not there


def delete(
    gallery: GalleryLocation,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Items to delete.")] = None,
    cameras: Cameras = None,
    not_cameras: NotCameras = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    not_where: NotWhere = None,
    undated: Undated = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
) -> None:
    """Delete items, by id or by conditions: `partreid gallery delete G --until 30d` forgets what is older.

    By conditions, how many there are, of which cameras and times, is shown and asked first. Items whose time nobody
    knows are not deleted by time, but with --undated.
    """
    chosen = gallery_filter(cameras, not_cameras, since, until, where, not_where, undated=undated)
    if undated and chosen.since is None and chosen.until is None:
        raise ConfigError("--undated goes with --since or --until.")
    if chosen.until is not None and chosen.until > datetime.now(UTC):
        raise ConfigError(
            f"--until {until} lies in the future ({_shown(chosen.until)}): everything that has a time would go. Write "
            "--until now if that is meant."
        )
    with Gallery.open(gallery, create=False) as opened:
        if ids:
            chosen = chosen.model_copy(update={"ids": Filter.parse({"ids": ids}).ids})
            known = opened.known(ids)
            _name_missing([name for name in dict.fromkeys(ids) if name not in known])
        elif chosen.model_copy(update={"undated": False}) == Filter():
            raise ConfigError("Say which items to delete: ids, or conditions such as --until 30d or --camera 3.")
        found, left_out = opened.read(lambda: (opened.cameras(chosen), undated_left_out(chosen, opened.count)))
        count = sum(one.count for one in found)
        if not ids or dry_run:
            _show(found, len(opened))
        if left_out:
            errors.print(f"{left_out} more have no time, and stay (--undated deletes them too).", soft_wrap=True)
        if dry_run:
            console.print("Nothing was deleted.")
            return
        if count and not ids and not yes:
            _ask(count)
            if opened.count(chosen) != count:
                raise DataError("The gallery was changed meanwhile. Nothing was deleted: look again.")
        console.print(f"{opened.delete(where=chosen)} deleted, {len(opened)} left.", highlight=False)


def _name_missing(missing: list[str]) -> None:
    if missing:
        some = ", ".join(map(repr, missing[:_SHOWN])) + (f" and {len(missing) - _SHOWN} more" * (len(missing) > _SHOWN))
        errors.print(f"Not in the gallery: {some}.", soft_wrap=True)


def _show(found: list[CameraSummary], total: int) -> None:
    """What is to be deleted: how many, the oldest and the newest, and the cameras."""
    count = sum(one.count for one in found)
    times = [time for one in found for time in (one.first, one.last) if time is not None]
    said = f"{count} of {total} items meet the conditions."
    if times:
        said += f" The oldest is of {_shown(min(times))}, the newest of {_shown(max(times))}."
    if found:
        names = [f"{one.camera or 'unknown'} ({one.count})" for one in found]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        said += f" Cameras: {', '.join(names[:_SHOWN])}{more}."
    console.print(said, highlight=False, soft_wrap=True)


def _ask(count: int) -> None:
    """Go on only if someone says so."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "Nothing was deleted: there is nobody to ask. Add --yes to delete without a question, or --dry-run to look "
            "only."
        )
    if not typer.confirm(f"Delete these {count} items for good?"):
        raise ConfigError("Nothing was deleted.")


def _shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %z}" if 1 < time.year < 9999 else time.isoformat()


def copy(
    gallery: GalleryLocation,
    to: Annotated[str, typer.Argument(help="Where to: a folder, qdrant://… or postgres://…")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put items in the place of others that have their ids there.")
    ] = False,
) -> None:
    """Copy all items into another gallery, on another kind of store too. Stopped, the same command goes on.

    An id that stands there for another item is refused before anything is written, but with --replace.
    """
    with Gallery.open(gallery, create=False) as source, Gallery.open(to) as target:
        shown = without_secrets(to)
        if source.model and target.model and source.model != target.model:
            raise DataError(
                f"{shown} was made by another model ({target.model}) than {without_secrets(gallery)} ({source.model})."
            )
        others = (
            [] if replace or not len(target) else [name for page in source.records() for name in _others(page, target)]
        )
        if others:
            raise DataError(
                f"{len(others)} ids stand for other items in {shown}: {', '.join(map(repr, others[:5]))}. Nothing was "
                "copied. Copy into a new gallery, or put these in the place of those with --replace."
            )
        copied = there = 0
        with progress_bar("copying", len(source)) as (progress, task):
            for page in source.records():
                known = set() if replace else target.known(page.ids)
                new = page[[i for i, name in enumerate(page.ids) if name not in known]]
                if len(new):
                    target.add_records(new, replace=replace)
                copied, there = copied + len(new), there + len(page) - len(new)
                progress.advance(task, len(page))
        console.print(f"{copied} copied, {there} there already. {shown} holds {len(target)} items.", highlight=False)


def _others(page: GalleryRecords, target: Gallery) -> list[str]:
    """Ids of a page that stand for other items in a gallery."""
    known = target.known(page.ids)
    mine = page[[i for i, name in enumerate(page.ids) if name in known]]
    if not len(mine):
        return []
    theirs = target.get(mine.ids)
    return [
        item.id
        for i, (item, other) in enumerate(zip(mine.items, theirs.items, strict=True))
        if item != other or not _same(mine, theirs, i)
    ]


def _same(mine: GalleryRecords, theirs: GalleryRecords, row: int) -> bool:
    """Whether two galleries keep the same embeddings, in half precision, as far as their stores keep them."""
    a, b = (records.embeddings[row].to("cpu", torch.float16) for records in (mine, theirs))
    seen = a.visibility > 0
    return torch.equal(a.visibility, b.visibility) and torch.equal(a.vectors[seen], b.vectors[seen])
