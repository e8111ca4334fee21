"""Tables with separators, whose first line names the columns or which have MOTChallenge's; and records of JSON."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxForm, BoxRows, as_number, frame_of, key_of, number_of, value_of

COLUMNS = ("frame", "track", "x1", "y1", "x2", "y2")
"""Columns of a CSV file, by the names we give them."""

MOT = "frame, id, left, top, width, height[, confidence, ...]"

_FRAME = ("frame", "frame_index", "frame_idx", "frame_id", "frame_number", "frame_num", "frame_no")
_FROM_0 = ("frame", "frame_index", "frame_idx")
_IMAGE = ("image", "image_name", "image_path", "image_id", "file_name", "filename", "file")
_TRACK = ("track", "track_id", "tracker_id", "trackid", "id")
_BOX: tuple[tuple[BoxForm, tuple[str, ...]], ...] = (
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("x_min", "y_min", "x_max", "y_max")),
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("xywh", ("bb_left", "bb_top", "bb_width", "bb_height")),
    ("xywh", ("left", "top", "width", "height")),
)
_CORNERS = _BOX[0][1]
_CONFIDENCE = ("confidence", "conf", "score")
_KIND = ("class_name", "class", "class_id", "cls", "category", "category_id", "label", "object_class")
_SOURCE = frozenset(
    ("video", "video_name", "video_id", "camera", "camera_id", "cam", "cam_id", "camid", "sequence", "seq")
)
_VISIBLE = ("visibility",)


@dataclass(frozen=True)
class BoxColumns:
    """Where the values of a row stand.

    Attributes:
        frame, image, track, box, confidence, kind, visible: positions; None where there is none. image: its name, where
            there are no frames. kind: the class.
        form: of the box. first_frame: the number of the first frame, 0 or 1; None where the names do not say it.
        sources: of what tells videos or cameras apart. count: how many the first line names.
        mot: MOTChallenge's order without names, where the meaning of the columns behind the seventh depends on how
            many there are.
        note: what was read as what, where it is not one of the two documented formats.
    """

    frame: int | None
    track: int | None
    box: tuple[int, int, int, int]
    form: BoxForm
    first_frame: int | None
    confidence: int | None
    kind: int | None
    visible: int | None
    sources: tuple[int, ...] = ()
    count: int = 0
    mot: bool = False
    note: str = ""
    image: int | None = None


_MOT_COLUMNS = BoxColumns(0, 1, (2, 3, 4, 5), "xywh", 1, 6, 7, 8, mot=True)
_MOT_IN_THE_WORLD = replace(_MOT_COLUMNS, kind=None, visible=None)


_DELIMITERS = (",", ";", "\t", None)  # None: spaces
_OWN_COLUMNS = 9  # of gt.txt: up to here the eighth is the class; in longer rows x, y, z in the world may stand there

Line = tuple[int, list[str]]
"""(number of the line, its cells)."""


def read_separated(path: Path) -> BoxRows:
    """All rows of a table with separators.

    Raises:
        DataError: its columns are not known, or a value is not what its column holds.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
            columns, delimiter = _columns(path, first)
            file.seek(0)
            lines = _lines(file, delimiter)
            if not columns.mot:
                next(lines)
            return _rows(path, lines, columns)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}. Save it again.") from None


def read_records(path: Path, content: Sequence[Any]) -> BoxRows:
    """All rows of a list of JSON objects with the names of columns, as supervision's JSONSink and ultralytics' to_json
    write them; or of a list of such lists, one for each frame from 0.

    Raises:
        DataError: as :func:`read_separated`.
    """
    records: list[Any] = list(content)
    if records and all(isinstance(one, list) for one in records):
        records = [
            {**record, "frame": number} if isinstance(record, dict) else record
            for number, one in enumerate(records)
            for record in one
        ]
    if not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path}: expected a list of JSON objects, one for each box, got another value among them.")
    keys = list(dict.fromkeys(key for record in records for key in record))
    columns = _named_columns(keys, str(path))
    if columns is None:
        raise _no_columns(path, keys)
    lines = ((number, [_text(record.get(key)) for key in keys]) for number, record in enumerate(records))
    return _rows(path, lines, columns, word="entry")


def looks_like_rows(first: str) -> str:
    """Which table a first line begins: "csv", "mot", or "" for neither. A column named twice is refused later."""
    try:
        columns, _ = _columns(Path(), first)
    except DataError as error:
        return "csv" if "twice" in str(error) else ""
    return "mot" if columns.mot else "csv"


def _text(value: object) -> str:
    """A value of JSON as a table has it; what is no text or number tells nothing of a box."""
    if value is None or isinstance(value, list):
        return ""
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _columns(path: Path, first: str) -> tuple[BoxColumns, str | None]:
    """What the columns are and what is between them: whatever makes sense of the first line."""
    if first.lstrip().startswith("#"):  # as NumPy marks it
        first = first.lstrip()[1:].lstrip(" ")
    for delimiter in _DELIMITERS:
        cells = next(_lines([first], delimiter), (1, []))[1]
        columns = _named_columns(cells, str(path))
        if (
            columns is None
            and len(cells) >= len(COLUMNS)
            and all(math.isfinite(as_number(cells[place])) for place in (0, *_MOT_COLUMNS.box))
        ):
            columns = _MOT_COLUMNS
        if columns is not None:
            return columns, delimiter
    raise _no_columns(path, first.replace(",", " ").split())


def _no_columns(path: Path, found: Sequence[str]) -> DataError:
    names = [name.strip().lower() for name in found]
    if "box" in names or any(set(box) <= set(names) for _, box in _BOX):
        return DataError(
            f"{path}: the columns {', '.join(found)[:80]} do not say which frame a box is of. Add a column 'frame' "
            "(from 0), or 'image' with the image's name: of ultralytics {**row, 'frame': i} for i, result in "
            "enumerate(results) for row in result.summary(); of supervision sink.append(detections, {'frame': i})."
        )
    return DataError(
        f"{path}: expected a first line that names {', '.join(COLUMNS)}, or rows of MOTChallenge ({MOT}); "
        f"found {', '.join(found)[:80] or 'an empty line'}. Names of other tools that are known: frame_index, "
        "tracker_id, x_min to y_max, bb_left to bb_height, left to height."
    )


def _named_columns(cells: Sequence[str], source: str) -> BoxColumns | None:
    """The columns that a first line names; None where it names too few."""
    names = [cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in cells]

    def find(known: Sequence[str]) -> int | None:
        name = next((name for name in known if name in names), None)
        if name is not None and names.count(name) > 1:
            raise DataError(f"{source}: the first line names the column {name!r} twice. Rename or remove one of them.")
        return None if name is None else names.index(name)

    form, box = next(((form, box) for form, box in _BOX if set(box) <= set(names)), ("xyxy", ()))
    packed = not box and "box" in names  # ultralytics' {'x1': ..., 'y1': ..., 'x2': ..., 'y2': ...}
    box = ("box",) * 4 if packed else box
    frame, track, places = find(_FRAME), find(_TRACK), [find([name]) for name in box]
    image = find(_IMAGE) if frame is None else None
    if (frame is None and image is None) or not box:
        return None
    x1, y1, x2, y2 = (place for place in places if place is not None)
    used = [names[place] for place in (frame, image, track) if place is not None] + list(dict.fromkeys(box))
    first: int | None = None
    if frame is not None and names[frame] in _FROM_0 and (form == "xyxy" or names[frame] != "frame"):
        first = 0
    if frame is not None and box[0] == "bb_left" and names[frame] == "frame":
        first = 1  # MOTChallenge's own names
    note = "" if used == list(COLUMNS) else f"{source}: read the columns {', '.join(used)}"
    kind = find(("name", *_KIND) if packed else _KIND)
    sources = tuple(place for place, name in enumerate(names) if name in _SOURCE)
    return BoxColumns(
        frame, track, (x1, y1, x2, y2), form, first, find(_CONFIDENCE), kind, find(_VISIBLE), sources, len(names),
        note=note, image=image,
    )  # fmt: skip


def _lines(file: Iterator[str] | list[str], delimiter: str | None) -> Iterator[Line]:
    """Lines that hold anything."""
    if delimiter is None:
        yield from ((number, line.split()) for number, line in enumerate(file, start=1) if line.strip())
        return
    reader = csv.reader(file, strict=True, delimiter=delimiter)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _rows(path: Path, lines: Iterable[Line], columns: BoxColumns, word: str = "line") -> BoxRows:
    rows = BoxRows(path, columns.form, columns.first_frame, columns.note, columns.first_frame == 1, word=word)
    places = (columns.frame, columns.image, columns.track, *columns.box)
    least = max(place for place in places if place is not None) + 1
    source: list[Hashable | None] | None = None
    for number, cells in lines:
        where = f"{path}, {word} {number}"
        while len(cells) > columns.count and not cells[-1].strip():
            cells.pop()
        if not columns.mot and len(cells) > columns.count:
            raise DataError(
                f"{where}: expected {columns.count} values, as the first line names, got {len(cells)}. Is there a "
                "comma in a number? Write a point before decimals."
            )
        if len(cells) < least:
            what = f"expected {MOT}" if columns.mot else f"expected {least} values or more"
            raise DataError(f"{where}: {what}, got {len(cells)} values.")
        of_row = [key_of(_cell(cells, place)) for place in columns.sources]
        if source is not None and of_row != source:
            now, before = (", ".join(repr(value)[:40] for value in values) for values in (of_row, source))
            raise DataError(
                f"{where}: the boxes are of several videos: {now}, and before {before}. Give a table for each."
            )
        source = of_row
        frame = 0 if columns.frame is None else frame_of(cells[columns.frame], where, columns.first_frame or 0)
        track = _track(_cell(cells, columns.track), where, columns)
        confidence, visible, kind, world = _more(cells, where, columns)
        rows.add(number, _box(cells, where, columns), frame=frame, image=_image(cells, where, columns), track=track,
                 kind=kind, confidence=confidence, visible=visible, world=world)  # fmt: skip
    return rows


def _box(cells: list[str], where: str, columns: BoxColumns) -> list[float]:
    if len(set(columns.box)) == len(columns.box):
        return [number_of(cells[place], where) for place in columns.box]
    text = cells[columns.box[0]]
    found = dict(re.findall(r"['\"]?([xy][1-4])['\"]?\s*:\s*([-+.0-9eE]+)", text))
    if set(found) != set(_CORNERS):
        turned = " Oriented boxes have four corners; write upright ones." if "x3" in found else ""
        raise DataError(f"{where}: expected a box of x1, y1, x2, y2 as ultralytics writes it, got {text:.80}.{turned}")
    return [number_of(found[name], where) for name in _CORNERS]


def _image(cells: list[str], where: str, columns: BoxColumns) -> str:
    if columns.image is None:
        return ""
    name = _cell(cells, columns.image)
    if key_of(name) is None:
        raise DataError(f"{where}: expected the name of an image, got {name[:40]!r}.")
    return name


def _track(text: str, where: str, columns: BoxColumns) -> str:
    track = key_of(text)
    if columns.mot and track is not None and not str(track).isdecimal():
        looks = " It looks like YOLO's text: give the folder of such files, one for each image." * _is_yolo(text)
        raise DataError(f"{where}: expected the number of a track, a whole one from 0, got {text[:40]!r}.{looks}")
    return text


def _is_yolo(text: str) -> bool:
    return 0 < as_number(text) < 1


def _more(cells: list[str], where: str, columns: BoxColumns) -> tuple[float, float, str, str]:
    """What a row says beside its box: confidence, visible fraction, class, and the eighth column of long rows."""
    world = None
    if columns.mot and len(cells) > _OWN_COLUMNS:
        columns = _MOT_IN_THE_WORLD
        world = key_of(_cell(cells, 7))
    confidence = value_of(_cell(cells, columns.confidence), where)
    visible = value_of(_cell(cells, columns.visible), where)
    if visible > 1:
        raise DataError(
            f"{where}: expected the visible fraction of the box, 0 to 1, or -1 where it is not known, got {visible:g}. "
            "Remove the column if it says something else."
        )
    kind = key_of(_cell(cells, columns.kind))  # 1.0 is 1, and -1 is not known, here too
    if columns.mot and kind is not None and not str(kind).isdecimal():
        raise DataError(
            f"{where}: the eighth column is a class, a whole number, in MOTChallenge's gt.txt; got {kind}. If the "
            "columns have another order, name them in a first line."
        )
    return confidence, visible, "" if kind is None else str(kind), "" if world is None else str(world)


def _cell(cells: list[str], place: int | None) -> str:
    return "" if place is None or place >= len(cells) else cells[place].strip()
