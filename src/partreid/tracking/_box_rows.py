"""The rows of a table of boxes as they stand in the file, in one of several spellings of CSV.

Columns are told by the names in the first line, or are in MOTChallenge's order."""

from __future__ import annotations

import csv
import functools
import math
import re
from array import array
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from partreid.errors import DataError
from partreid.tracking._track_names import track_key

COLUMNS = ("frame", "track", "x1", "y1", "x2", "y2")
"""Columns of a CSV file, by the names we give them."""

BoxForm = Literal["xyxy", "xywh"]
"""The four numbers of a box: two corners, or the upper left corner with width and height."""

MOT = "frame, id, left, top, width, height[, confidence, ...]"

_FRAME = ("frame", "frame_index", "frame_idx", "frame_id", "frame_number", "frame_num", "frame_no")
_FROM_0 = ("frame", "frame_index", "frame_idx")
_TRACK = ("track", "track_id", "tracker_id", "trackid", "id")
_BOX: tuple[tuple[BoxForm, tuple[str, ...]], ...] = (
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("x_min", "y_min", "x_max", "y_max")),
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("xywh", ("bb_left", "bb_top", "bb_width", "bb_height")),
    ("xywh", ("left", "top", "width", "height")),
)
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
        frame, track, box, confidence, kind, visible: positions; None where there is none. kind: the class.
        form: of the box. first_frame: the number of the first frame, 0 or 1; None where the names do not say it.
        sources: of what tells videos or cameras apart. count: how many the first line names.
        mot: MOTChallenge's order without names, where the meaning of the columns behind the seventh depends on how
            many there are.
        note: what was read as what, where it is not one of the two documented formats.
    """

    frame: int
    track: int
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


_MOT_COLUMNS = BoxColumns(0, 1, (2, 3, 4, 5), "xywh", 1, 6, 7, 8, mot=True)
_MOT_IN_THE_WORLD = replace(_MOT_COLUMNS, kind=None, visible=None)


_DELIMITERS = (",", ";", "\t", None)  # None: spaces
_OWN_COLUMNS = 9  # of gt.txt: up to here the eighth is the class; in longer rows x, y, z in the world may stand there

Line = tuple[int, list[str]]
"""(number of the line, its cells)."""


@dataclass
class BoxRows:
    """What a table holds, row by row; nothing is left out yet.

    Attributes:
        columns: where it stood. lines: in the file. frames: as numbered there. boxes: the four numbers of each.
        tracks: None where the row names none; ``names`` what stands there. confidences, visible: NaN = not known.
        kinds: the class of each, "" = not known. world: what MOTChallenge's rows of 10 columns and more have in the
            eighth, a class or x in the world; "" = nothing.
    """

    columns: BoxColumns
    lines: array[int] = field(default_factory=lambda: array("q"))
    frames: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("d"))
    tracks: list[Hashable | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    confidences: array[float] = field(default_factory=lambda: array("d"))
    visible: array[float] = field(default_factory=lambda: array("d"))
    kinds: list[str] = field(default_factory=list)
    world: list[str] = field(default_factory=list)


def read_rows(path: Path) -> BoxRows:
    """All rows of a table."""
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
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
            and all(math.isfinite(_as_number(cells[place])) for place in (_MOT_COLUMNS.frame, *_MOT_COLUMNS.box))
        ):
            columns = _MOT_COLUMNS
        if columns is not None:
            return columns, delimiter
    found = ", ".join(first.replace(",", " ").split()) or "an empty line"
    raise DataError(
        f"{path}: expected a first line that names {', '.join(COLUMNS)}, or rows of MOTChallenge ({MOT}); "
        f"found {found[:80]}. Names of other tools that are known: frame_index, tracker_id, x_min to y_max, bb_left to "
        "bb_height, left to height."
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
    frame, track, places = find(_FRAME), find(_TRACK), [find([name]) for name in box]
    if frame is None or track is None or not box:
        return None
    x1, y1, x2, y2 = (place for place in places if place is not None)
    used = [names[frame], names[track], *box]
    first: int | None = 0 if names[frame] in _FROM_0 and (form == "xyxy" or names[frame] != "frame") else None
    if box[0] == "bb_left" and names[frame] == "frame":
        first = 1  # MOTChallenge's own names
    note = "" if used == list(COLUMNS) else f"{source}: read the columns {', '.join(used)}"
    more = find(_CONFIDENCE), find(_KIND), find(_VISIBLE)
    sources = tuple(place for place, name in enumerate(names) if name in _SOURCE)
    return BoxColumns(frame, track, (x1, y1, x2, y2), form, first, *more, sources, count=len(names), note=note)


def _lines(file: Iterator[str] | list[str], delimiter: str | None) -> Iterator[Line]:
    """Lines that hold anything."""
    if delimiter is None:
        yield from ((number, line.split()) for number, line in enumerate(file, start=1) if line.strip())
        return
    reader = csv.reader(file, strict=True, delimiter=delimiter)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _rows(path: Path, lines: Iterator[Line], columns: BoxColumns) -> BoxRows:
    rows, least = BoxRows(columns), max(columns.frame, columns.track, *columns.box) + 1
    known: dict[str, tuple[str, Hashable | None]] = {}
    source: list[Hashable | None] | None = None
    for number, cells in lines:
        where = f"{path}, line {number}"
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
        of_row = [_key(_cell(cells, place)) for place in columns.sources]
        if source is not None and of_row != source:
            now, before = (", ".join(repr(value)[:40] for value in values) for values in (of_row, source))
            raise DataError(
                f"{where}: the boxes are of several videos: {now}, and before {before}. Give a table for each."
            )
        source = of_row
        rows.lines.append(number)
        rows.frames.append(_frame(cells[columns.frame], where, columns.first_frame or 0))
        text = cells[columns.track].strip()
        if text not in known:  # one object per track, not per box
            known[text] = text, _track(text, where, columns)
        name, track = known[text]
        rows.names.append(name)
        rows.tracks.append(track)
        rows.boxes.extend(_number(cells[place], where) for place in columns.box)
        _more(rows, cells, where)
    return rows


def _more(rows: BoxRows, cells: list[str], where: str) -> None:
    """What a row says beside its box."""
    columns = rows.columns
    if columns.mot and len(cells) > _OWN_COLUMNS:
        columns = _MOT_IN_THE_WORLD
    eighth = _key(_cell(cells, 7)) if columns is _MOT_IN_THE_WORLD else None
    rows.world.append("" if eighth is None else str(eighth))
    rows.confidences.append(_value(_cell(cells, columns.confidence), where))
    visible = _value(_cell(cells, columns.visible), where)
    if visible > 1:
        raise DataError(
            f"{where}: expected the visible fraction of the box, 0 to 1, or -1 where it is not known, got {visible:g}. "
            "Remove the column if it says something else."
        )
    rows.visible.append(visible)
    kind = _key(_cell(cells, columns.kind))  # 1.0 is 1, and -1 is not known, here too
    if columns.mot and kind is not None and not str(kind).isdecimal():
        raise DataError(
            f"{where}: the eighth column is a class, a whole number, in MOTChallenge's gt.txt; got {kind}. If the "
            "columns have another order, name them in a first line."
        )
    rows.kinds.append("" if kind is None else str(kind))


def _cell(cells: list[str], place: int | None) -> str:
    return "" if place is None or place >= len(cells) else cells[place].strip()


def _value(text: str, where: str) -> float:
    """A number, NaN where it is not known."""
    value = _as_number(text)
    if value == -1 or (not math.isfinite(value) and _key(text) is None):
        return math.nan
    return _number(text, where)


def _track(text: str, where: str, columns: BoxColumns) -> Hashable | None:
    track = track_key(text)
    if columns.mot and track is not None and not str(track).isdecimal():
        raise DataError(f"{where}: expected the number of a track, a whole one from 0, got {text[:40]!r}.")
    return track


def _frame(text: str, where: str, first: int) -> int:
    value = _number(text, where)
    if not value.is_integer() or not 0 <= value < 2**53:  # whether it is below the first is seen when that is known
        raise DataError(f"{where}: expected the number of a frame from {first}, a whole one, got {text.strip()[:40]}.")
    return int(value)


def _number(text: str, where: str) -> float:
    value = _as_number(text)
    if not math.isfinite(value):
        comma = " Write a point, not a comma, before decimals." if re.fullmatch(r"\s*-?\d+,\d+\s*", text) else ""
        raise DataError(f"{where}: expected a finite number, got {text.strip()[:40]!r}.{comma}")
    return value


def _as_number(text: str) -> float:
    """NaN where it is none; not all that Python takes for one: 1_0 is a name."""
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


_key = functools.lru_cache(1024)(track_key)  # the same few texts in every row
