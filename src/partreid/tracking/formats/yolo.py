"""YOLO's text: a file for each image, a line ``class x y width height [confidence] [track]`` for each box."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows, as_number, frame_of, number_of, value_of
from partreid.tracking.formats.text_folder import NAMES, text_files, text_rows

Sixth = Literal["", "confidence", "track"]
"""What stands in the sixth column where there is no seventh; "" = nothing, or both."""

_EXPECTED = (
    "class, x and y of the centre, width, height as fractions of the image, then a confidence and a track if any"
)


def is_yolo(cells: Sequence[str]) -> bool:
    """Whether the values of a line are YOLO's: a whole number and four fractions, and at most two more."""
    numbers = [as_number(cell) for cell in cells]
    return 5 <= len(cells) <= 7 and cells[0].isdecimal() and all(-0.01 <= value <= 1.01 for value in numbers[1:5])


def read_yolo(path: Path, sixth: Sixth | None = None) -> BoxRows:
    """All rows, as corners in fractions of the image.

    Args:
        path: a folder of files, or that of one image. sixth: what the sixth column is; None finds out
            (:func:`_sixth`).

    Raises:
        DataError: a line is not YOLO's, or it is not known what the sixth column is.
    """
    found = [(file, number, cells) for file in text_files(path) for number, cells in text_rows(file)]
    for file, number, cells in found:
        if not is_yolo(cells):
            more = " A polygon, or keypoints? Write boxes without them." if len(cells) > 7 else ""
            what = f"{len(cells)} values: {' '.join(cells)[:60]}"
            raise DataError(f"{file}, line {number}: expected YOLO's {_EXPECTED}; got {what}.{more}")
    six = [cells[5] for _, _, cells in found if len(cells) == 6]
    if sixth is None:
        sixth = _sixth(path, six, {len(cells) for _, _, cells in found})
    note = f"{path}: the sixth column is taken for the {sixth}" if sixth and six else ""
    rows = BoxRows(path, "xyxy", None, note=note, fractions=True)
    names = _class_names(path)
    for file, number, cells in found:
        where = f"{file}, line {number}"
        x, y, width, height = (number_of(cell, where) for cell in cells[1:5])
        confidence = cells[5] if len(cells) == 7 or (len(cells) == 6 and sixth == "confidence") else ""
        track = cells[-1] if len(cells) == 7 or (len(cells) == 6 and sixth == "track") else ""
        if as_number(track) == as_number(track):
            frame_of(track, f"{where}, track", 0)  # a whole number
        rows.add(
            number,
            (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
            image=file.stem,
            track=track,
            kind=names.get(int(cells[0]), cells[0]),
            confidence=value_of(confidence, where) if confidence else math.nan,
            file=str(file) if path.is_dir() else "",
        )
    return rows


def _sixth(path: Path, texts: Sequence[str], lengths: set[int]) -> Sixth:
    """A confidence is written in all rows or in none, a track only where there is one: so beside rows of 7 the sixth is
    the confidence, and beside rows of 5 the track. Else a confidence is a fraction, and a track a whole number.

    Raises:
        DataError: the numbers fit both.
    """
    if not texts:
        return ""
    numbers = [as_number(text) for text in texts]
    whole = all(value.is_integer() for value in numbers if math.isfinite(value))
    if 7 in lengths:
        return "confidence"
    if not whole:
        return "confidence"
    if 5 in lengths or max(numbers) > 1:
        return "track"
    raise DataError(
        f"{path}: the sixth column may be a confidence or a track: all of its values are "
        f"{', '.join(sorted(set(texts)))}. Say which: --format yolo-confidence or yolo-track (format=)."
    )


def _class_names(path: Path) -> dict[int, str]:
    """Names of the classes, where a file beside the boxes or above their folder tells them: a list of names, or a
    data.yaml of ultralytics."""
    folder = path if path.is_dir() else path.parent
    for place in (folder, folder.parent):
        for name in NAMES[:2]:
            if (place / name).is_file():
                lines = (place / name).read_text(encoding="utf-8-sig", errors="replace").splitlines()
                return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
        if (place / "data.yaml").is_file():
            return _yaml_names(place / "data.yaml")
    return {}


def _yaml_names(file: Path) -> dict[int, str]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read as YAML: {error}. Mend it, or move it away.") from None
    names = content.get("names") if isinstance(content, Mapping) else None
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, Mapping) else ()
    return {number: str(name) for number, name in pairs if isinstance(number, int)}
