"""``partreid gallery search``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from partreid.cli.console import console, emit_json, errors, plain_table, say_warning
from partreid.cli.options import (
    AsJson,
    Calibration,
    Cameras,
    Device,
    GalleryLocation,
    Mirror,
    ModelOption,
    NotCameras,
    NotWhere,
    PrecisionOption,
    Since,
    Undated,
    Until,
    Where,
    gallery_filter,
    runtime_config,
)
from partreid.errors import ConfigError
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.how_compared import find_calibration, load_for_comparison
from partreid.retrieval.lookup import calibration_beside, look_up


def search(
    gallery: GalleryLocation,
    images: Annotated[list[Path] | None, typer.Argument(help="Images to look for, or folders of them.")] = None,
    model: ModelOption = "",
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID", help="Look for an item of the gallery. Repeatable.")
    ] = None,
    one_person: Annotated[
        bool, typer.Option("--one-person", help="All these show one person: search once, by what they show together.")
    ] = False,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="How many to find for each query.")] = 10,
    parts: Annotated[
        str, typer.Option(help="Compare these slots only, for example foreground,head,torso. All where empty.")
    ] = "",
    cameras: Cameras = None,
    not_cameras: NotCameras = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    not_where: NotWhere = None,
    undated: Undated = False,
    as_json: AsJson = False,
    mirror: Mirror = False,
    calibration: Calibration = None,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Find the people in images: distance, probability where the model is calibrated, and each part's distance."""
    if images and not model:
        raise ConfigError("Embedding images needs a model: --model RUN.")
    extractor, known = None, None
    if model:
        known = find_calibration(calibration, model)
        runtime = runtime_config(device, precision)
        extractor, _ = load_for_comparison(model, runtime=runtime, mirror=mirror, calibration=known)
    chosen = gallery_filter(cameras, not_cameras, since, until, where, not_where, undated=undated)
    with Gallery.open(gallery, extractor=extractor, create=False) as opened:
        if known is None:
            known, problem = calibration_beside(model, opened)
            if problem:
                say_warning(problem)
        slots = parts.replace(" ", "").split(",") if parts else ()
        answer = look_up(
            opened, images or (), like=like or (), one_person=one_person, k=k, parts=slots, where=chosen,
            calibration=known,
        )  # fmt: skip
    if as_json:
        emit_json(answer.to_json())
        return
    if answer.undated:
        errors.print(f"{answer.undated} items have no time, and were not searched (--undated searches them too).")
    for one in answer.to_json():
        _print(one, answer.found.slots)
    console.print(str(answer.how), style="dim", highlight=False, soft_wrap=True)


def _print(answer: dict[str, Any], slots: Sequence[str]) -> None:
    """A table of what was found; each part's distance where the terminal is wide enough."""
    found = answer["found"]
    under = _common_folder([row["id"] for row in found])
    columns: dict[str, list[str]] = {
        "": [str(rank) for rank in range(1, len(found) + 1)],
        "item": [row["id"].removeprefix(under) for row in found],
        "distance": ["no part in common" if row["distance"] is None else f"{row['distance']:.3f}" for row in found],
        "probability": ["" if row["probability"] is None else f"{100 * row['probability']:.1f} %" for row in found],
        "camera": [row["camera"] or "" for row in found],
        "time": [(row["time"] or "")[:19].replace("T", " ") for row in found],
    }
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    parts = {slot: [f"{row['parts'][slot]:.2f}" if slot in row["parts"] else "·" for row in found] for slot in slots}
    # 3 characters of a frame beside each column.
    width = sum(3 + max(map(len, [head, *cells])) for head, cells in (columns | parts).items()) + 1
    narrow = {"parts": [f"{row['compared']} of {len(slots)}" for row in found]}
    columns |= parts if width <= console.width else narrow
    shows = ", ".join(answer["visible"]) or "no part"
    console.print(f"{answer['query']} shows {shows}", highlight=False, soft_wrap=True)
    if not found:
        console.print("There is nothing to search: no item meets the conditions.")
        return
    title = f"{len(found)} found{f' in {under}' if under else ''}"
    console.print(plain_table(title, list(columns), zip(*columns.values(), strict=True)))


def _common_folder(ids: Sequence[str]) -> str:
    """The folders that all ids begin with, up to a slash."""
    levels = zip(*(name.split("/")[:-1] for name in ids), strict=False)
    return "".join(f"{level[0]}/" for level in takewhile(lambda level: len(set(level)) == 1, levels))
