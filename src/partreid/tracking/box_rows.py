"""The rows of a table of boxes as they stand in the file, in one of several spellings of CSV."""

from __future__ import annotations

import csv
import functools
import math
import re
from array import array
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from partreid.errors import DataError
from partreid.tracking.box_columns import COLUMNS, MOT, MOT_COLUMNS, BoxColumns, named_columns
from partreid.tracking.track_names import track_key

_DELIMITERS = (",", ";", "\t", None)  # None: spaces
_OWN_COLUMNS = 9  # of gt.txt: up to here the eighth is the class; in longer rows x, y, z in the world may stand there
_MOT_IN_THE_WORLD = replace(MOT_COLUMNS, kind=None, visible=None)

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
    """All rows of a table.

    Raises:
        DataError: the file is missing or in no known format, a row is too short, or a value is no number.
    """
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
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}. Save it anew.") from None


def _columns(path: Path, first: str) -> tuple[BoxColumns, str | None]:
    """What the columns are and what is between them: whatever makes sense of the first line."""
    if first.lstrip().startswith("#"):  # as NumPy marks it
        first = first.lstrip()[1:].lstrip(" ")
    for delimiter in _DELIMITERS:
        cells = next(_lines([first], delimiter), (1, []))[1]
        columns = named_columns(cells, str(path))
        if (
            columns is None
            and len(cells) >= len(COLUMNS)
            and all(math.isfinite(_as_number(cells[place])) for place in (MOT_COLUMNS.frame, *MOT_COLUMNS.box))
        ):
            columns = MOT_COLUMNS
        if columns is not None:
            return columns, delimiter
    found = ", ".join(first.replace(",", " ").split()) or "an empty line"
    raise DataError(
        f"{path}: expected a first line that names {', '.join(COLUMNS)}, or rows of MOTChallenge ({MOT}); "
        f"found {found[:80]}. Names of other tools that are known: frame_index, tracker_id, x_min to y_max, bb_left to "
        "bb_height, left to height."
    )


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
    rows = BoxRows(columns)
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
        if len(cells) < columns.least:
            what = f"expected {MOT}" if columns.mot else f"expected {columns.least} values or more"
            raise DataError(f"{where}: {what}, got {len(cells)} values.")
        of_row = [_key(_cell(cells, place)) for place in columns.sources]
        if source is not None and of_row != source:
            raise DataError(
                f"{where}: the boxes are of several videos: {_texts(of_row)}, and before {_texts(source)}. Give a "
                "table for each."
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
            f"{where}: expected the visible share of the box, 0 to 1, or -1 where it is not known, got {visible:g}. "
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


def _texts(values: list[Hashable | None]) -> str:
    return ", ".join(repr(value)[:40] for value in values)


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
