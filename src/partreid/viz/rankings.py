"""What was found for each query, and why (paper, Figures 3 and 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from partreid.errors import ShapeError
from partreid.viz.canvas import SCALE, Sheet, check_size, legend_rows, text_width
from partreid.viz.colors import BAR, FAINT, INK, JUNK, RIGHT, WRONG, Color, check_slots, part_colors, readable
from partreid.viz.overlay import enlarge, overlay_parts

Verdict = Literal["right", "wrong", "junk"]
WORDS: dict[Verdict, str] = {
    "right": "right person",
    "wrong": "wrong person",
    "junk": "same person and camera (not counted)",
}
"""What a verdict means."""
FRAMES: dict[Verdict | None, Color] = {"right": RIGHT, "wrong": WRONG, "junk": JUNK, None: INK}
_SIGNS: dict[Verdict | None, str] = {"right": " ✓", "wrong": " ✗", "junk": " –", None: ""}

_MARGIN, _GAP, _HEADER, _BARS, _LABEL, _NOTE, _TITLE, _LEGEND = 18, 16, 21, 34, 16, 13, 30, 20
_LEGEND_SIZE, _SWATCH = 7.5, 38


def judge(query: tuple[int, int | None], found: tuple[int, int | None]) -> Verdict:
    """What a result is to a query, each given as (pid, camid): the rule of the scores.

    Raises:
        ShapeError: they are no such pairs.

    Example:
        >>> judge((7, 0), (7, 1)), judge((7, 0), (7, 0)), judge((7, 0), (8, 0)), judge((7, None), (7, None))
        ('right', 'junk', 'wrong', 'right')
    """
    if not len(query) == len(found) == 2:
        raise ShapeError(f"Expected (pid, camid) twice, got {query!r:.80} and {found!r:.80}.")
    if query[0] != found[0]:
        return "wrong"
    return "junk" if query[1] is not None and query[1] == found[1] else "right"


@dataclass(frozen=True, eq=False)
class RankedImage:
    """A query or a result.

    Attributes:
        image: uint8 [H, W, 3]. label: a line under it, for example "id 12 · cam 3".
        attention: [K+1, h, w] in [0, 1], background first, or None to show the bare image.
        visibility: [S] of this image; invisible parts are not drawn.
        distance: to the query, infinity where nothing was comparable. None for a query.
        slot_distances: [S] to the query, NaN where the slot was not compared. None for a query.
        verdict: "right", "wrong", "junk" (same person and camera), or None where the identity is unknown.
        rank: where it does not follow from the result's place, as that of the first right one far below.
        note: a second line under it. name: of its file, for pages.
    """

    image: np.ndarray
    label: str = ""
    attention: np.ndarray | None = None
    visibility: np.ndarray | None = None
    distance: float | None = None
    slot_distances: np.ndarray | None = None
    verdict: Verdict | None = None
    rank: int | None = None
    note: str = ""
    name: str = ""


@dataclass(frozen=True, eq=False)
class RankingRow:
    """A query and what was found, nearest first.

    Attributes:
        query: the query. results: what was found.
        title: what tells this row from others of the same query, for example the model or the slots compared.
        slots: names of what this row compares, where not those of the figure.
        farthest: distance of the farthest image there was to find, whether shown or not; bars end there at least, so
            that what is near looks near. 0 where it is not known.
    """

    query: RankedImage
    results: Sequence[RankedImage]
    title: str = ""
    slots: tuple[str, ...] | None = None
    farthest: float = 0.0

    @property
    def ranks(self) -> list[int | None]:
        """The rank of each result: junk has none, and does not count for others."""
        counted = [image.verdict != "junk" for image in self.results]
        ranks = [sum(counted[: i + 1]) if counts else None for i, counts in enumerate(counted)]
        return [image.rank or rank for image, rank in zip(self.results, ranks, strict=True)]

    @property
    def longest(self) -> float:
        """Where the bars of this row end: ``farthest``, or a slot that is farther. 0 where nothing was compared."""
        found = [np.asarray(p.slot_distances, np.float64) for p in self.results if p.slot_distances is not None]
        compared = [float(v) for values in found for v in values.ravel() if np.isfinite(v)]
        known = self.farthest if math.isfinite(self.farthest) else 0.0
        return max([known, *compared]) if compared else 0.0


def draw_rankings(
    rows: Sequence[RankingRow], slots: Sequence[str], *, title: str = "", cell_width: int = 104, smooth: bool = True
) -> Figure:
    """One row per query: the query, then its results with attention, slot distances and verdict.

    Under each result stands one bar per slot, in the slots' order: the longer, the farther (on one scale per row,
    whose end is said under the query); a cross where the slot was not visible in both and so not compared. Under the
    query the slots it shows.

    Args:
        rows: queries with their results. slots: names of the S slots, unless a row has its own.
        title: a line above. cell_width: width of an image in pixels; its height is twice that.
        smooth: interpolate between the cells of attention maps, or draw them as blocks.

    Returns:
        A matplotlib figure; see ``save_png`` and ``to_array``.

    Raises:
        ShapeError: no row, or an array does not fit the slots.
    """
    if not rows:
        raise ShapeError("Expected at least one query to draw, got none.")
    check_slots(slots, *(row.slots for row in rows if row.slots is not None))
    check_size(cell_width)
    columns = 1 + max(len(row.results) for row in rows)
    cell_height = _HEADER + 2 * cell_width + _BARS + _LABEL + 2 * _NOTE + _GAP
    width = 2 * _MARGIN + max(columns * (cell_width + _GAP), 4 * cell_width)
    used = dict.fromkeys(slot for row in rows for slot in row.slots or slots)
    every = list(dict.fromkeys([*(slot for slot in slots if slot in used), *used]))
    legend = _Legend(every, [v for v in WORDS if any(p.verdict == v for row in rows for p in row.results)])
    lines = legend_rows(legend.entries, width - 2 * _MARGIN, size=_LEGEND_SIZE, swatch=_SWATCH)
    top = _MARGIN + (_TITLE if title else 0)
    sheet = Sheet(width, top + len(rows) * cell_height + len(lines) * _LEGEND + _MARGIN // 2)
    if title:
        sheet.text((_MARGIN, _MARGIN + 8), title, size=11, width=width - 2 * _MARGIN, bold=True)
    for i, row in enumerate(rows):
        cell = _Cell(_MARGIN, top + i * cell_height, cell_width, row.slots or tuple(slots), row.longest or 1.0, smooth)
        heading = f"Query · {row.title}" if row.title else "Query"
        _draw_cell(sheet, cell, row.query, heading=heading)
        if row.longest:
            below = cell.y + _HEADER + 2 * cell_width + 6 + _BARS + 2 * _NOTE
            sheet.text((_MARGIN, below), f"full bar = {number(row.longest)}", width=cell_width)
        for column, (image, rank) in enumerate(zip(row.results, row.ranks, strict=True), start=1):
            x = _MARGIN + _GAP + column * (cell_width + _GAP) - _GAP // 4
            shown = "" if image.distance is None else f"  {number(image.distance)}"
            heading = f"{rank or ''}{_SIGNS[image.verdict]}{shown}".strip()
            _draw_cell(sheet, replace(cell, x=x), image, heading=heading)
    _draw_legend(sheet, lines, legend, top + len(rows) * cell_height)
    return sheet.figure


@dataclass(frozen=True)
class _Cell:
    """Where a cell stands and on which scale its bars are drawn."""

    x: float
    y: float
    width: int
    slots: Sequence[str]
    longest: float = 1.0
    smooth: bool = True


@dataclass(frozen=True)
class _Legend:
    """What the legend explains: slots, verdicts, a bar, a cross."""

    slots: Sequence[str]
    verdicts: Sequence[Verdict]

    @property
    def entries(self) -> list[str]:
        """Its words, in the order of its swatches."""
        names = [readable(slot) for slot in self.slots]
        words = [f"{_SIGNS[verdict].strip()} {WORDS[verdict]}" for verdict in self.verdicts]
        return [*names, *words, "distance of a slot, longer = farther", "not visible in both, not compared"]


def _draw_cell(sheet: Sheet, cell: _Cell, ranked: RankedImage, *, heading: str) -> None:
    """One image with its heading, its slots and its label."""
    slots = cell.slots
    for name, values in (("visibility", ranked.visibility), ("slot_distances", ranked.slot_distances)):
        if values is not None and np.shape(values) != (len(slots),):
            raise ShapeError(f"{name} must hold one value per slot {tuple(slots)}, got shape {np.shape(values)}.")
    x, y, width = cell.x, cell.y, cell.width
    sheet.text((x, y + _HEADER / 2 - 3), heading, size=8.5, width=width, bold=True, color=FRAMES[ranked.verdict])
    y += _HEADER
    image = enlarge(ranked.image, width * SCALE, 2 * width * SCALE)
    if ranked.attention is not None:
        image = overlay_parts(image, ranked.attention, slots, visibility=ranked.visibility, smooth=cell.smooth)
    sheet.image((x, y), (width, 2 * width), image, frame=FRAMES[ranked.verdict])
    y += 2 * width + 6
    if ranked.slot_distances is not None:
        _bars(sheet, (x, y), width, slots, [float(v) / cell.longest for v in ranked.slot_distances])
    elif ranked.visibility is not None:
        _shown_slots(sheet, (x, y), width, slots, ranked.visibility)
    for line, text in enumerate((ranked.label, ranked.note)):
        if text:
            sheet.text((x, y + _BARS + line * _NOTE), text, width=width)


def _bars(sheet: Sheet, at: tuple[float, float], width: int, slots: Sequence[str], lengths: Sequence[float]) -> None:
    """One bar per slot standing on the slot's colour; a cross where there is no distance."""
    x, y = at
    room, foot = _BARS - 13, 4
    step = width / len(slots)
    for i, (color, length) in enumerate(zip(part_colors(slots).values(), lengths, strict=True)):
        left, wide = x + i * step + 1, step - 2
        sheet.box(left, y, wide, room, FAINT)
        if not math.isfinite(length):
            sheet.cross(left + wide / 2, y + room / 2, min(3.0, wide / 2 - 0.5), WRONG)
        else:
            sheet.box(left, y + room * (1 - length), wide, room * length, BAR)
        sheet.box(left, y + room + 1, wide, foot, color)


def _shown_slots(
    sheet: Sheet, at: tuple[float, float], width: int, slots: Sequence[str], visibility: np.ndarray
) -> None:
    """A query's slots: filled with the slot's colour where visible, crossed where not."""
    x, y = at
    step = width / len(slots)
    for i, (color, seen) in enumerate(zip(part_colors(slots).values(), visibility, strict=True)):
        left, wide = x + i * step + 1, step - 2
        sheet.box(left, y, wide, _BARS - 8, color if seen > 0 else FAINT)
        if not seen > 0:
            sheet.cross(left + wide / 2, y + _BARS / 2 - 4, min(3.0, wide / 2 - 0.5), WRONG)


def _draw_legend(sheet: Sheet, lines: list[list[int]], legend: _Legend, top: float) -> None:
    entries = legend.entries
    colors = [*part_colors(legend.slots).values(), *(FRAMES[verdict] for verdict in legend.verdicts)]
    for row, line in enumerate(lines):
        x, y = float(_MARGIN), top + row * _LEGEND + _LEGEND / 2
        for i in line:
            if i < len(colors):
                sheet.box(x, y - 5, 10, 10, colors[i])
            else:
                sheet.box(x, y - 6, 10, 12, FAINT)
                if i == len(entries) - 1:
                    sheet.cross(x + 5, y, 3, WRONG)
                else:
                    sheet.box(x, y - 1, 10, 7, BAR)
            sheet.text((x + 14, y), entries[i], size=_LEGEND_SIZE)
            x += _SWATCH + text_width(entries[i], _LEGEND_SIZE)


def number(distance: float) -> str:
    """A distance for people: three digits or so, ∞ where nothing was comparable, – for none.

    Example:
        >>> number(1.234), number(123.4), number(math.inf), number(math.nan)
        ('1.23', '123', '∞', '–')
    """
    if not math.isfinite(distance):
        return "∞" if math.isinf(distance) else "–"
    return f"{distance:.2f}" if abs(distance) < 100 else f"{distance:.3g}"
