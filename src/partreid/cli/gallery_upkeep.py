"""``partreid gallery``: upkeep of a gallery, such as deleting, erasing and copying."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partreid import lifecycle, retrieval
from partreid.cli import options as opt
from partreid.cli.console import console, counted, emit_json, errors, plain_table, say_warning, show_progress
from partreid.cli.models import chosen as chosen_model
from partreid.cli.searching import open_to_search
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.lifecycle import CropFiles
    from partreid.retrieval import Deletion

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
WithCrops = Annotated[
    bool, typer.Option("--with-crops", help="Also delete the items' image files, except those of other items.")
]


def info(gallery: opt.Gallery, as_json: opt.AsJson = False) -> None:
    """Describe a gallery: its items, cameras, times, slots, and its model."""
    from partreid.models.shipped import named_model
    from partreid.retrieval.stores.addresses import without_secrets

    with retrieval.Gallery.open(gallery, create=False) as opened:
        facts = retrieval.gallery_facts(opened)
    if as_json:
        emit_json(facts)
        return
    facts["model"] = named_model(facts["model"] or "")
    rows = [(key, _plainly(value)) for key, value in facts.items() if value not in (None, "", [], {})]
    console.print(plain_table(without_secrets(gallery), ("", ""), rows))


def _plainly(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def verify(gallery: opt.Gallery) -> None:
    """Read and check the whole content of a gallery. Exit status 0: no problem, 1: problems."""
    with retrieval.Gallery.open(gallery, create=False) as opened:
        problems = opened.verify()
        for problem in problems:
            console.print(f"problem: {problem}", soft_wrap=True)
        count = counted(len(problems), "problem") if problems else "no problem"
        console.print(f"{counted(len(opened), 'item')}, {count}.")
    raise typer.Exit(1 if problems else 0)


def delete(
    gallery: opt.Gallery,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Items to delete.")] = None,
    cameras: opt.Cameras = None,
    not_cameras: opt.NotCameras = None,
    since: opt.Since = None,
    until: opt.Until = None,
    where: opt.Where = None,
    not_where: opt.NotWhere = None,
    undated: opt.Undated = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete items by id or by conditions: `partreid gallery delete G --until 30d` deletes items older than 30 days.

    With conditions, the number of items, their cameras and their times are shown, and you are asked first. Items with
    unknown time are deleted by time only with --undated.
    """
    chosen = opt.gallery_filter(cameras, not_cameras, since, until, where, not_where, undated)
    if undated and chosen.since is None and chosen.until is None:
        raise ConfigError("--undated goes with --since or --until.")
    with retrieval.Gallery.open(gallery, create=False) as opened:
        if ids:
            chosen = chosen.model_copy(update={"ids": retrieval.Filter.parse({"ids": ids}).ids})
            known = opened.known(ids)
            if missing := [repr(name) for name in dict.fromkeys(ids) if name not in known]:
                errors.print(f"Not in the gallery: {_few(missing)}.", soft_wrap=True)
        deletion = retrieval.preview_deletion(opened, chosen)
        if not ids or dry_run:
            _show(deletion)
        if deletion.undated:
            errors.print(f"{deletion.undated} more have no time, and stay (--undated includes them).", soft_wrap=True)
        if dry_run:
            console.print("Nothing was deleted.")
            return
        if deletion.count and not ids and not yes:
            _ask(deletion.count)
        console.print(f"{retrieval.carry_out(opened, deletion)} deleted, {len(opened)} left.")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _show(deletion: Deletion) -> None:
    """What is to be deleted: how many, the oldest and the newest, and the cameras."""
    said = f"{deletion.count} of {counted(deletion.total, 'item')} meet the conditions."
    first, last = deletion.span
    if first is not None and last is not None:
        said += f" The oldest is of {_shown(first)}, the newest of {_shown(last)}."
    if names := [f"{one.camera or 'unknown'} ({one.count})" for one in deletion.cameras]:
        said += f" Cameras: {_few(names)}."
    console.print(said, soft_wrap=True)


def _ask(count: int) -> None:
    """Ask the user, and continue only after a yes."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "Nothing was deleted, because there is no terminal to ask on. Add --yes to delete without a question, or "
            "--dry-run to only look."
        )
    if not typer.confirm(f"Delete these {count} items for good?"):
        raise ConfigError("Nothing was deleted.")


def _shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %z}" if 1 < time.year < 9999 else time.isoformat()


def copy(
    gallery: opt.Gallery,
    to: Annotated[str, typer.Argument(help="Where to: a folder, qdrant://… or postgres://…")],
    replace: opt.Replace = False,
) -> None:
    """Copy all items into another gallery, of any kind of store. If interrupted, the same command continues.

    If the other gallery uses an id for another item, nothing is written unless --replace is given.
    """
    from partreid.retrieval.stores.addresses import without_secrets

    with retrieval.Gallery.open(gallery, create=False) as source, retrieval.Gallery.open(to) as target:
        with show_progress("copying", len(source)) as advance:
            copied, there = retrieval.copy_gallery(source, target, replace=replace, advance=advance)
        shown = without_secrets(to)
        console.print(f"{copied} copied, {there} there already. {shown} has {counted(len(target), 'item')}.")


def expire(
    gallery: opt.Gallery,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Delete items seen before: 30d or 12h (ago), or 2026-11-23T14:30.")
    ],
    cameras: opt.Cameras = None,
    undated: Annotated[bool, typer.Option("--undated", help="Include items whose time is unknown.")] = False,
    with_crops: WithCrops = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete items that are older than allowed. Their number is shown, and you are asked first.

    Items with unknown time are listed, and stay. `partreid gallery compact` removes the bytes of deleted items.
    """
    from partreid.types.moments import parse_moment

    with retrieval.Gallery.open(gallery, create=False) as opened:
        expiry = lifecycle.preview_expiry(
            opened, parse_moment(older_than), cameras=cameras, undated=undated, with_crops=with_crops
        )
        _show(expiry.deletion)
        if expiry.undated:
            errors.print(
                f"{len(expiry.undated)} more have no time, and stay (--undated includes them): {_few(expiry.undated)}.",
                soft_wrap=True,
            )
        _show_crops(expiry.crops)
        if dry_run:
            console.print("Nothing was deleted.")
            return
        if expiry.deletion.count and not yes:
            _ask(expiry.deletion.count)
        deleted = lifecycle.expire(opened, expiry)
        console.print(
            f"{deleted} deleted, {len(opened)} left. Files still contain their bytes: `partreid gallery compact` "
            "removes them.",
            soft_wrap=True,
        )


def erase(
    gallery: opt.Gallery,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Items that show the person.")] = None,
    images: Annotated[
        list[str] | None, typer.Option("--image", help="Search for the person of this image. Repeatable.")
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID", help="Search for the person of this item. Repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of results per query.")] = 10,
    model: opt.ModelOption = "",
    mirror: opt.Mirror = False,
    adaptation: opt.Adaptation = None,
    with_crops: WithCrops = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Receipt to write, as JSON.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Erase a person: delete items, compact the gallery, and write a receipt.

    Give the ids of the items that show the person. With --image or --like the nearest items are listed, and you choose
    those that show the person. Nothing is erased only because it looks alike.
    """

    if images:
        runtime = opt.runtime_config("auto", "auto")
        opened, _, _ = open_to_search(
            gallery, chosen_model(model), None, runtime=runtime, mirror=mirror, adaptation=adaptation
        )
    else:
        opened = retrieval.Gallery.open(gallery, create=False)
    with opened:
        chosen = [*(ids or ())]
        if images or like:
            chosen += _chosen(retrieval.look_up(opened, images or (), like=like or (), k=k).to_json(), like or ())
        if not chosen:
            raise ConfigError("Nothing was deleted. Give the ids of the items that show the person.")
        erasure = lifecycle.preview_erasure(opened, chosen, with_crops=with_crops)
        if erasure.missing:
            errors.print(f"Not in the gallery: {_few([*map(repr, erasure.missing)])}.", soft_wrap=True)
        _show(erasure.deletion)
        _show_crops(erasure.crops)
        if dry_run:
            console.print("Nothing was deleted.")
            return
        if not yes:
            _ask(erasure.deletion.count)
        receipt = lifecycle.erase(opened, erasure)
        console.print(
            f"{counted(receipt.items, 'item')} erased, {counted(receipt.crops, 'image file')} deleted, "
            f"{counted(len(opened), 'item')} left."
        )
        for reason, count in receipt.crops_left.items():
            console.print(f"{count} image files stay: {reason}.", soft_wrap=True)
        console.print(f"Not covered: {'; '.join(receipt.says_nothing_of)}.", soft_wrap=True)
        if out is not None:
            console.print(f"Receipt: {receipt.save(out)}", soft_wrap=True)


def _chosen(answers: Sequence[Mapping[str, Any]], like: Sequence[str]) -> list[str]:
    """The ids of the found items that somebody at the terminal says are the person."""
    rows = dict.fromkeys(like, ("", "", ""))
    for answer in answers:
        for row in answer["found"]:
            distance = "no part in common" if row["distance"] is None else f"{row['distance']:.3f}"
            rows.setdefault(row["id"], (distance, row["camera"] or "", (row["time"] or "")[:19].replace("T", " ")))
    names = [*rows]
    cells = [(str(number), name, *rows[name]) for number, name in enumerate(names, 1)]
    console.print(plain_table(f"{len(names)} found", ("", "item", "distance", "camera", "time"), cells))
    if not sys.stdin.isatty():
        raise ConfigError(
            "Nothing was deleted, because there is no terminal to ask which of these show the person. Look at them, "
            "and give their ids."
        )
    said = typer.prompt("Which show the person? Numbers such as 1 3-5", default="", show_default=False)
    return [names[number - 1] for number in _numbers(said, len(names))]


def _numbers(text: str, most: int) -> list[int]:
    """Numbers such as 1 3-5, each from 1 to ``most``."""
    found: list[int] = []
    for word in text.replace(",", " ").split():
        first, _, last = word.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and 1 <= int(first) <= int(last or first) <= most):
            raise ConfigError(
                f"Nothing was deleted: expected numbers from 1 to {most}, such as 1 3-5, got {word!r:.40}."
            )
        found += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(found))


def _show_crops(crops: CropFiles | None) -> None:
    if crops is None:
        return
    console.print(f"{len(crops.files)} image files would be deleted with them.")
    for file, reason in list(crops.left.items())[:10]:
        errors.print(f"stays: {file}: {reason}", soft_wrap=True)
    if len(crops.left) > 10:
        errors.print(f"and {len(crops.left) - 10} more files stay.")


def compact(gallery: opt.Gallery, as_json: opt.AsJson = False) -> None:
    """Rewrite the gallery without the deleted items, so that no file contains anything of them."""
    from dataclasses import asdict

    with retrieval.Gallery.open(gallery, create=False) as opened:
        done = lifecycle.compact_gallery(opened)
    if as_json:
        emit_json(asdict(done))
        return
    if done.bytes_before is not None and done.bytes_after is not None:
        console.print(f"{done.bytes_before / 2**20:.1f} MiB before, {done.bytes_after / 2**20:.1f} MiB now.")
    if done.corrections:
        console.print(f"{done.corrections} corrections of linking were removed, because their items are gone.")
    if done.left:
        say_warning(f"Other files in the folder were not checked: {_few(done.left)}.")
    console.print(f"Not covered: {'; '.join(done.says_nothing_of)}.", soft_wrap=True)
