"""The results of each query, and their reasons (paper, Figures 3 and 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from partreid.errors import ShapeError
from partreid.objects import Guided
from partreid.viz.canvas import MARGIN, SCALE, Bar, Cell, Legend, Sheet, Sign, check_rows, check_size
from partreid.viz.colors import BAR, FAINT, INK, JUNK, RIGHT, WRONG, Color, check_slots, part_colors, readable
from partreid.viz.overlay import enlarge, overlay_parts

Verdict = Literal["right", "wrong", "junk"]
WORDS: dict[Verdict, str] = {
    "right": "right person",
    "wrong": "wrong person",
    "junk": "same person and camera (not counted)",
}
"""The meaning of each verdict."""
FRAMES: dict[Verdict, Color] = {"right": RIGHT, "wrong": WRONG, "junk": JUNK}
"""Colours of the verdicts; an image without one has the colour of text."""
SIGNS: dict[Verdict | None, str] = {"right": "✓", "wrong": "✗", "junk": "–", None: ""}
"""Signs of the verdicts, beside their colours."""

_GAP, _HEADER, _BARS, _LABEL, _NOTE, _TITLE = 16, 21, 34, 16, 13, 30


def judge(query: tuple[int, int | None], found: tuple[int, int | None]) -> Verdict:
    """The verdict on a result, by the rule of the scores. Query and result are given as (pid, camid).

    Raises:
        ShapeError: they are not such pairs.

    Example:
        >>> judge((7, 0), (7, 1)), judge((7, 0), (7, 0)), judge((7, 0), (8, 0)), judge((7, None), (7, None))
        ('right', 'junk', 'wrong', 'right')
    """
    if not len(query) == len(found) == 2:
        raise ShapeError(f"Expected (pid, camid) twice, got {query!r:.80} and {found!r:.80}.")
    if query[0] != found[0]:
        return "wrong"
    return "junk" if query[1] is not None and query[1] == found[1] else "right"


@dataclass(frozen=True, eq=False, repr=False)
class RankedImage(Guided):
    """A query or a result.

    Attributes:
        image: uint8 [H, W, 3]. label: a line under it, for example "id 12 · cam 3".
        attention: [K+1, h, w] in [0, 1], background first, or None to show the bare image.
        visibility: [S] of this image; invisible parts are not drawn.
        distance: to the query, infinity if nothing was comparable. None for a query.
        slot_distances: [S] to the query, NaN if the slot was not compared. None for a query.
        verdict: "right", "wrong", "junk" (same person and camera), or None if the identity is unknown.
        rank: only needed if it does not follow from the result's position, as for a first right one far below.
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


@dataclass(frozen=True, eq=False, repr=False)
class RankingRow(Guided):
    """A query and its results, nearest first.

    Attributes:
        query: the query. results: its results.
        title: distinguishes this row from others of the same query, for example by the model or the compared slots.
        slots: names of the slots that this row compares, if they are not the figure's.
        farthest: distance of the gallery's farthest image, shown or not. Bars end there or later, so that near images
            look near. 0 = unknown.
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
        """The length of a full bar in this row: ``farthest``, or a larger slot distance. 0 if nothing was compared."""
        found = [np.asarray(p.slot_distances, np.float64) for p in self.results if p.slot_distances is not None]
        compared = [float(v) for values in found for v in values.ravel() if np.isfinite(v)]
        known = self.farthest if math.isfinite(self.farthest) else 0.0
        return max([known, *compared]) if compared else 0.0


def ranking_cells(row: RankingRow, slots: Sequence[str], *, size: tuple[int, int], smooth: bool = True) -> list[Cell]:
    """The cells of the query and of each result. A smaller image is enlarged to ``size`` (width, height).

    Other arguments and errors as for :func:`draw_rankings`.
    """
    slots = slots if row.slots is None else row.slots
    check_slots(slots)
    title = f"Query · {row.title}" if row.title else "Query"
    scale = f"full bar = {number(row.longest)}" if row.longest else ""
    heads = [(title, f"{title}: {row.query.label}", scale)]
    for rank, result in zip(row.ranks, row.results, strict=True):
        distance = "" if result.distance is None else number(result.distance)
        heading = "  ".join(filter(None, (f"{rank or ''} {SIGNS[result.verdict]}".strip(), distance)))
        verdict = WORDS[result.verdict] if result.verdict else ""
        facts = (f"Rank {rank}" if rank else "", verdict, f"distance {distance}" if distance else "", result.label)
        heads.append((heading, ", ".join(filter(None, facts)), ""))
    cells = []
    for image, (heading, alt, last) in zip((row.query, *row.results), heads, strict=True):
        pixels = enlarge(image.image, *size)
        bars = _bars(image, slots, row.longest or 1.0)
        if image.attention is not None:
            pixels = overlay_parts(pixels, image.attention, slots, visibility=image.visibility, smooth=smooth)
        lines = tuple(filter(None, (image.label, image.note, last)))
        frame = FRAMES[image.verdict] if image.verdict else None
        cells.append(Cell(pixels, heading, lines, alt, frame, bars=bars))
    return cells


def _bars(image: RankedImage, slots: Sequence[str], longest: float) -> tuple[Bar, ...]:
    """Bars: for a result the distance of each slot, for a query its visible slots. Empty if neither is known."""
    for name, values in (("visibility", image.visibility), ("slot_distances", image.slot_distances)):
        if values is not None and np.shape(values) != (len(slots),):
            raise ShapeError(f"{name} must hold one value per slot {tuple(slots)}, got shape {np.shape(values)}.")
    colors = part_colors(slots).items()
    if image.slot_distances is not None:
        return tuple(
            Bar(slot, color, min(max(value / longest, 0), 1), number(value))
            if math.isfinite(value)
            else Bar(slot, color, None, "not visible in both")
            for (slot, color), value in zip(colors, map(float, image.slot_distances), strict=True)
        )
    if image.visibility is None:
        return ()
    return tuple(
        Bar(slot, color, 1.0, "visible", filled=True) if value > 0 else Bar(slot, color, None, "not visible")
        for (slot, color), value in zip(colors, image.visibility, strict=True)
    )


def draw_rankings(
    rows: Sequence[RankingRow], slots: Sequence[str], *, title: str = "", cell_width: int = 104, smooth: bool = True
) -> Figure:
    """One row per query: the query, then its results with attention, slot distances and verdict.

    Under each result there is one bar per slot, in the slots' order. A longer bar means a larger distance. Each row has
    one scale, and the value of a full bar stands under the query. A cross marks a slot that was not compared, because
    it is not visible in both images. Under the query stand its visible slots.

    Args:
        rows: queries with their results. slots: names of the S slots, unless a row has its own.
        title: a line above. cell_width: width of an image in pixels; its height is twice the width.
        smooth: interpolate between the cells of attention maps, or draw them as blocks.

    Raises:
        ShapeError: no row, not a RankingRow, or an array does not fit the slots.
    """
    check_rows(rows, RankingRow)
    check_slots(slots)
    check_size(cell_width)
    size = cell_width * SCALE, 2 * cell_width * SCALE
    drawn = [ranking_cells(row, slots, size=size, smooth=smooth) for row in rows]
    height = _HEADER + 2 * cell_width + _BARS + _LABEL + 2 * _NOTE + _GAP
    width = 2 * MARGIN + max(max(map(len, drawn)) * (cell_width + _GAP), 4 * cell_width)
    legend = Legend(_legend(rows, slots), width)
    top = MARGIN + (_TITLE if title else 0)
    sheet = Sheet(width, top + len(rows) * height + legend.height + MARGIN // 2)
    sheet.title(title)
    for i, cells in enumerate(drawn):
        for column, cell in enumerate(cells):
            x = MARGIN + column * (cell_width + _GAP) + (3 * _GAP // 4 if column else 0)  # the query stands apart
            _draw_cell(sheet, (x, top + i * height), cell_width, cell)
    legend.draw(sheet, top + len(rows) * height)
    return sheet.figure


def _legend(rows: Sequence[RankingRow], slots: Sequence[str]) -> dict[str, Color | Sign]:
    """The slots that are drawn, in their order, and the verdicts and signs."""
    used = dict.fromkeys(slot for row in rows for slot in row.slots or slots)
    every = list(dict.fromkeys([*(slot for slot in slots if slot in used), *used]))
    given = {image.verdict for row in rows for image in row.results}
    return {
        **{readable(slot): color for slot, color in part_colors(every).items()},
        **{f"{SIGNS[verdict]} {words}": FRAMES[verdict] for verdict, words in WORDS.items() if verdict in given},
        "distance of a slot, longer = farther": "bar",
        "not visible in both, not compared": "cross",
    }


def _draw_cell(sheet: Sheet, at: tuple[float, float], width: int, cell: Cell) -> None:
    """One image with its heading, its bars and its lines."""
    x, y = at
    sheet.text((x, y + _HEADER / 2 - 3), cell.heading, size=8.5, width=width, bold=True, color=cell.frame or INK)
    y += _HEADER
    sheet.image((x, y), (width, 2 * width), cell.image, frame=cell.frame or INK)
    y += 2 * width + 6
    room, step = _BARS - 13, width / max(1, len(cell.bars))
    for i, bar in enumerate(cell.bars):
        left, wide = x + i * step + 1, step - 2
        sheet.box(left, y, wide, room, FAINT)
        if bar.height is None:
            sheet.cross(left + wide / 2, y + room / 2, min(3.0, wide / 2 - 0.5), WRONG)
        else:
            sheet.box(left, y + room * (1 - bar.height), wide, room * bar.height, bar.color if bar.filled else BAR)
        sheet.box(left, y + room + 1, wide, 4, bar.color)
    for i, line in enumerate(cell.lines):
        sheet.text((x, y + _BARS + i * _NOTE), line, width=width)


def number(distance: float) -> str:
    """A distance for people: about three digits, ∞ if nothing was comparable, – for no distance.

    Example:
        >>> number(1.234), number(123.4), number(math.inf), number(math.nan)
        ('1.23', '123', '∞', '–')
    """
    if not math.isfinite(distance):
        return "∞" if math.isinf(distance) else "–"
    return f"{distance:.2f}" if abs(distance) < 100 else f"{distance:.3g}"
