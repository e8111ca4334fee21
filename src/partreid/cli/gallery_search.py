"""``partreid gallery search``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from partreid.cli.console import console, emit_json, errors, plain_table, say_warning
from partreid.cli.options import (
    Calibrated,
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
    gallery_extractor,
    gallery_filter,
    runtime_config,
)
from partreid.errors import CheckpointError, ConfigError, DataError
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import walk
from partreid.models.checkpoint import find_checkpoint
from partreid.retrieval.calibration import CALIBRATION_FILE, MatchCalibration
from partreid.retrieval.filters import Filter, undated_left_out
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking.tracklets import merge_tracklet
from partreid.types import PartEmbeddings, SearchResult


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
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find.")] = 10,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    mirror: Mirror = False,
    calibrated: Calibrated = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Find the people in images: distance, probability where the model is calibrated, and each part's distance."""
    if not (images or like):
        raise ConfigError("Say whom to look for: images, or --like ID for an item of the gallery.")
    if images and not model:
        raise ConfigError("Embedding images needs a model: --model RUN.")
    extractor = None
    if model:
        runtime = runtime_config(device, precision)
        extractor = gallery_extractor(model, runtime, mirror=mirror, calibrated=calibrated)
    chosen = gallery_filter(cameras, not_cameras, since, until, where, not_where, undated=undated)
    chosen = chosen.model_copy(update={"not_ids": tuple(like or ())})
    with Gallery.open(gallery, extractor=extractor, create=False) as opened:
        query, names = _queries(opened, images or [], like or [])
        if one_person:
            query, names = merge_tracklet(query), [", ".join(names)]
        calibration, problem = (None, "") if extractor is None else find_calibration(model, extractor)
        if problem:
            say_warning(problem)
        matching = calibration.matching if calibration else MatchingConfig()
        if parts:
            matching = matching.model_copy(update={"slots": tuple(parts.replace(" ", "").split(","))})
        found, left_out = opened.read(
            lambda: (opened.search(query, k, matching=matching, where=chosen), undated_left_out(chosen, opened.count))
        )
    if left_out and not as_json:
        errors.print(f"{left_out} items have no time, and were not searched (--undated searches them too).")
    # A calibration knows its own way of comparing only.
    known = calibration if calibration and calibration.fits(found.matching) else None
    sure = known.of_search(found).tolist() if known else None
    how = HowCompared.of_search(found, extractor, calibration=known)
    shown = matching.prepare(query).visibility > 0
    answers = []
    for q, name in enumerate(names):
        visible = [slot for slot, seen in zip(found.slots, shown[q].tolist(), strict=True) if seen]
        rows = _rows(found, q, sure[q] if sure else None)
        told = {"query": name, "visible": visible, "found": rows, "compared": how.to_json()}
        answers.append(told | ({"undated": left_out} if left_out else {}))
    if as_json:
        emit_json(answers)
        return
    for answer in answers:
        _print(answer, found.slots)
    console.print(str(how), style="dim", highlight=False, soft_wrap=True)


def _queries(gallery: Gallery, images: Sequence[Path], like: Sequence[str]) -> tuple[PartEmbeddings, list[str]]:
    """Embeddings to look for, and their names."""
    parts, names = [], []
    if images:
        files = [str(image) for image in walk(list(images))]
        assert gallery.extractor is not None
        parts.append(gallery.extractor.embed(files))
        names += files
    if like:
        records = gallery.get(like)
        parts.append(records.embeddings.to(dtype=parts[0].vectors.dtype if parts else None))
        names += records.ids
    return PartEmbeddings.cat(parts), names


DATED = Filter(since=datetime.min.replace(tzinfo=UTC))
"""Items whose time is known."""


def find_calibration(model: str, extractor: PartExtractor) -> tuple[MatchCalibration | None, str]:
    """The calibration beside the model, and ""; where it does not belong to this way of embedding None, and why."""
    source = Path(model).parent if Path(model).is_file() else Path(model)  # an exported file lies in its run
    try:
        if not (find_checkpoint(source) / CALIBRATION_FILE).is_file():
            return None, ""
    except CheckpointError:
        return None, ""
    try:
        return MatchCalibration.load(source, extractor=extractor), ""
    except DataError as error:
        return None, f"No probabilities are told. {error}"


def _rows(found: SearchResult, q: int, sure: Sequence[float] | None) -> list[dict[str, Any]]:
    """What was found for one query, as JSON has it."""
    rows = []
    for r, item in enumerate(found.items[q]):
        slots = zip(found.slots, found.part_distances[q, r].tolist(), strict=True)
        comparable = bool(found.comparable[q, r])
        rows.append(
            {
                "id": item.id,
                "distance": round(float(found.distances[q, r]), 6) if comparable else None,
                "probability": None if sure is None else round(sure[r], 6),
                "compared": int(found.compared[q, r]),
                "camera": item.camera,
                "time": None if item.time is None else item.time.isoformat(),
                "parts": {slot: round(d, 6) for slot, d in slots if d == d},
                "metadata": item.metadata,
            }
        )
    return rows


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
