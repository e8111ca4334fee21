"""``partreid gallery delete`` and ``copy``: what is lost is shown first."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from partreid.cli.console import console, errors, show_progress
from partreid.cli.options import (
    Cameras,
    GalleryLocation,
    NotCameras,
    NotWhere,
    Replace,
    Since,
    Undated,
    Until,
    Where,
    gallery_filter,
)
from partreid.errors import ConfigError
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.upkeep import Deletion, carry_out, copy_gallery, preview_deletion

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
    with Gallery.open(gallery, create=False) as opened:
        if ids:
            chosen = chosen.model_copy(update={"ids": Filter.parse({"ids": ids}).ids})
            known = opened.known(ids)
            _name_missing([name for name in dict.fromkeys(ids) if name not in known])
        deletion = preview_deletion(opened, chosen)
        if not ids or dry_run:
            _show(deletion)
        if deletion.undated:
            errors.print(
                f"{deletion.undated} more have no time, and stay (--undated deletes them too).", soft_wrap=True
            )
        if dry_run:
            console.print("Nothing was deleted.")
            return
        if deletion.count and not ids and not yes:
            _ask(deletion.count)
        console.print(f"{carry_out(opened, deletion)} deleted, {len(opened)} left.", highlight=False)


def _name_missing(missing: list[str]) -> None:
    if missing:
        some = ", ".join(map(repr, missing[:_SHOWN])) + (f" and {len(missing) - _SHOWN} more" * (len(missing) > _SHOWN))
        errors.print(f"Not in the gallery: {some}.", soft_wrap=True)


def _show(deletion: Deletion) -> None:
    """What is to be deleted: how many, the oldest and the newest, and the cameras."""
    said = f"{deletion.count} of {deletion.total} items meet the conditions."
    first, last = deletion.span
    if first is not None and last is not None:
        said += f" The oldest is of {_shown(first)}, the newest of {_shown(last)}."
    if names := [f"{one.camera or 'unknown'} ({one.count})" for one in deletion.cameras]:
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
    replace: Replace = False,
) -> None:
    """Copy all items into another gallery, on another kind of store too. Stopped, the same command resumes.

    An id that stands there for another item is refused before anything is written, but with --replace.
    """
    with Gallery.open(gallery, create=False) as source, Gallery.open(to) as target:
        with show_progress("copying", len(source)) as advance:
            copied, there = copy_gallery(source, target, replace=replace, advance=advance)
        shown = without_secrets(to)
        console.print(f"{copied} copied, {there} there already. {shown} holds {len(target)} items.", highlight=False)
