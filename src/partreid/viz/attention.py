"""Where the network looks for each part (paper, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from partreid.errors import ShapeError
from partreid.viz.canvas import SCALE, Sheet, text_width
from partreid.viz.colors import INK, JUNK, RIGHT, WRONG, Color, part_colors, readable
from partreid.viz.overlay import check_attention, enlarge, overlay_heat, overlay_parts, paint_labels

_MARGIN, _GAP, _HEADER, _LABEL, _TITLE, _FOOT = 18, 12, 26, 18, 30, 30


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """A picture and its maps.

    Attributes:
        image: uint8 [H, W, 3]. attention: [K+1, h, w] in [0, 1], background first.
        visibility: [K] of the parts (Eq. 4), or None where unknown.
        label_map: [h, w] human parsing labels, 0 = background, or None.
        label: a line under the picture.
    """

    image: np.ndarray
    attention: np.ndarray
    visibility: np.ndarray | None = None
    label_map: np.ndarray | None = None
    label: str = ""


def draw_attention(
    rows: Sequence[AttentionRow], parts: Sequence[str], *, title: str = "", cell_width: int = 92
) -> Figure:
    """One row per picture: itself, all parts in colour, the foreground, each part's map, and its labels.

    The foreground's map is the maximum over the parts (§3.2.1). A part's map has a green frame where the part counts
    as visible and a red one where not, and under it the map's largest value, which Eq. 4 compares with λ_v.

    Args:
        rows: the pictures. parts: names of the K parts.
        title: a line above. cell_width: width of a picture in pixels; its height is twice that.

    Returns:
        A matplotlib figure; see ``save_png`` and ``to_array``.

    Raises:
        ShapeError: no row, or an array does not fit the parts.
    """
    if not rows:
        raise ShapeError("Expected at least one picture to draw, got none.")
    labelled = any(row.label_map is not None for row in rows)
    headings = ["picture", "all parts", "foreground", *parts, *(["labels"] if labelled else [])]
    cell_height = 2 * cell_width + _LABEL + _GAP
    top = _MARGIN + (_TITLE if title else 0)
    width = 2 * _MARGIN + len(headings) * (cell_width + _GAP) - _GAP
    rated = any(row.visibility is not None for row in rows)
    sheet = Sheet(width, top + _HEADER + len(rows) * cell_height + (_FOOT if rated else 0))
    if title:
        sheet.text((_MARGIN, _MARGIN + 8), title, size=11, width=width - 2 * _MARGIN, bold=True)
    colors = part_colors(parts)
    size = 8.5  # one for all headings, as large as the longest allows
    while size > 6 and max(text_width(readable(part), size) for part in parts) > cell_width - 14:
        size -= 0.25
    for i, heading in enumerate(headings):
        x = _MARGIN + i * (cell_width + _GAP)
        if heading in colors:
            sheet.box(x, top + 4, 9, 9, colors[heading])
        indent = 14 if heading in colors else 0
        sheet.text((x + indent, top + 9), readable(heading), size=size, width=cell_width - indent)
    for i, row in enumerate(rows):
        _row(sheet, top + _HEADER + i * cell_height, row, parts, cell_width)
    if rated:
        _legend(sheet, top + _HEADER + len(rows) * cell_height + 8)
    return sheet.figure


def _row(sheet: Sheet, y: float, row: AttentionRow, parts: Sequence[str], width: int) -> None:
    maps = check_attention(row.attention, parts)
    if row.visibility is not None and np.shape(row.visibility) != (len(parts),):
        raise ShapeError(f"visibility must hold one value per part {tuple(parts)}, got {np.shape(row.visibility)}.")
    size = (width, 2 * width)
    image = enlarge(row.image, width * SCALE, 2 * width * SCALE)
    cells: list[tuple[np.ndarray, Color | None, str]] = [
        (image, None, row.label),
        (overlay_parts(image, maps, parts, visibility=row.visibility), None, ""),
        (overlay_heat(image, maps[1:].max(axis=0)), None, f"max {maps[1:].max():.2f}"),
    ]
    for i in range(len(parts)):
        seen = None if row.visibility is None else float(row.visibility[i]) > 0
        frame = JUNK if seen is None else RIGHT if seen else WRONG
        sign = "" if seen is None else " ✓" if seen else " ✗"
        cells.append((overlay_heat(image, maps[i + 1]), frame, f"max {maps[i + 1].max():.2f}{sign}"))
    if row.label_map is not None:
        cells.append((paint_labels(image, row.label_map, parts), None, ""))
    for i, (picture, edge, label) in enumerate(cells):
        x = _MARGIN + i * (width + _GAP)
        sheet.picture((x, y), size, picture, frame=edge)
        if label:
            sheet.text((x, y + 2 * width + 11), label, width=width, color=INK if edge is None else edge)


def _legend(sheet: Sheet, y: float) -> None:
    x = float(_MARGIN)
    for color, words in ((RIGHT, "✓ part visible"), (WRONG, "✗ part not visible")):
        sheet.box(x, y - 5, 10, 10, color)
        sheet.text((x + 14, y), words)
        x += 120
