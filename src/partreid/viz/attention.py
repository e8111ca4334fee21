"""Where the network looks for each part, and where its labels say that the part is (paper, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from partreid.errors import ShapeError
from partreid.labels.grouping import LABEL_THRESHOLD, label_map
from partreid.parts import FOREGROUND
from partreid.viz.canvas import SCALE, Sheet, check_size, text_width
from partreid.viz.colors import INK, RIGHT, WRONG, Color, check_slots, part_colors, readable
from partreid.viz.overlay import (
    check_attention,
    check_maps,
    enlarge,
    heat_scale,
    overlay_heat,
    overlay_part_maps,
    overlay_parts,
    paint_labels,
)

_MARGIN, _GAP, _HEADER, _LABEL, _TITLE, _FOOT = 18, 10, 26, 18, 30, 30
_APART = 8  # between images that have a line for their label


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """An image and its maps.

    Attributes:
        image: uint8 [H, W, 3].
        attention: [K+1, h, w] in [0, 1], background first, or None for a model without parts (BoT).
        visibility: [K] of the parts (Eq. 4), or None where unknown.
        part_maps: the label as part maps E [K, h, w] in [0, 1] at corner-aligned nodes, or None.
        label: a line under the image. name: of its file, for pages.
    """

    image: np.ndarray
    attention: np.ndarray | None
    visibility: np.ndarray | None = None
    part_maps: np.ndarray | None = None
    label: str = ""
    name: str = ""


@dataclass(frozen=True, eq=False)
class AttentionCell:
    """One drawn image: its heading, a caption, and whether the part counts as visible (None: not said)."""

    image: np.ndarray
    heading: str
    caption: str
    seen: bool | None = None

    @property
    def color(self) -> Color | None:
        """Of the frame and the caption."""
        return None if self.seen is None else RIGHT if self.seen else WRONG


def attention_cells(
    row: AttentionRow, slots: Sequence[str], *, size: tuple[int, int], smooth: bool = True
) -> list[list[AttentionCell]]:
    """A line of the image, all parts, the foreground and each part; where it has a label, one of the label.

    Args:
        row: the image. slots: names of the K parts, with the foreground before them if the model has one.
        size: (width, height) to grow a smaller image to. smooth: interpolate between a map's cells, or draw blocks.

    Returns:
        One or two lines. The columns of the second fit the first's: label map Y, E in colours, its maximum, each part.
        A row without attention has one cell, and no second line.

    Raises:
        ShapeError: an array does not fit the slots.
    """
    parts = tuple(slot for slot in slots if slot != FOREGROUND)
    image = enlarge(row.image, *size)
    if row.part_maps is not None:
        check_maps(row.part_maps, parts)
    line = [AttentionCell(image, "image", row.label)]
    if row.visibility is not None and np.shape(row.visibility) != (len(parts),):
        raise ShapeError(f"visibility must hold one value per part {parts}, got {np.shape(row.visibility)}.")
    if row.attention is not None:
        maps = check_attention(row.attention, parts)[1:]
        colored = overlay_parts(image, row.attention, parts, visibility=row.visibility, smooth=smooth)
        line.append(AttentionCell(colored, "all parts", ""))
        for name, values in _columns(maps, slots):
            heat = overlay_heat(image, values, grid="smooth" if smooth else "cells")
            seen = None
            if name != FOREGROUND and row.visibility is not None:
                seen = float(row.visibility[parts.index(name)]) > 0
            sign = "" if seen is None else " ✓" if seen else " ✗"
            line.append(AttentionCell(heat, name, f"max {values.max():.2f}{sign}", seen))
    if row.part_maps is None or row.attention is None:
        return [line]
    labels = [
        AttentionCell(paint_labels(image, label_map(row.part_maps), parts), "image", "label map Y"),
        AttentionCell(overlay_part_maps(image, row.part_maps, parts), "all parts", "label fields E"),
    ]
    for name, values in _columns(row.part_maps, slots):
        labels.append(AttentionCell(overlay_heat(image, values, grid="nodes"), name, f"E, max {values.max():.2f}"))
    return [line, labels]


def _columns(maps: np.ndarray, slots: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Each slot's map; the foreground's is the maximum over the parts (§3.2.1)."""
    parts = [slot for slot in slots if slot != FOREGROUND]
    foreground = [(FOREGROUND, maps.max(axis=0))] if FOREGROUND in slots else []
    return [*foreground, *zip(parts, maps, strict=True)]


def attention_note(rows: Sequence[AttentionRow], *, smooth: bool = True) -> str:
    """How to read the maps, in words."""
    sizes = sorted({f"{row.attention.shape[1]}×{row.attention.shape[2]}" for row in rows if row.attention is not None})
    if not sizes:
        return "This model has no attention maps."
    how = "drawn interpolated" if smooth else "drawn as blocks"
    text = f"Attention: {' and '.join(sizes)} cells, {how}; numbers are the cells' own."
    if any(row.part_maps is not None for row in rows):
        text += f" Below: label fields E, and the label map Y that they give at λ_r = {LABEL_THRESHOLD:g}."
    return text


def draw_attention(
    rows: Sequence[AttentionRow], slots: Sequence[str], *, title: str = "", cell_width: int = 92, smooth: bool = True
) -> Figure:
    """One row per image: itself, all parts in colour, the foreground and each part's map; under it its label.

    A part's map has a green frame where the part counts as visible and a red one where not, and under it the map's
    largest value, which Eq. 4 compares with λ_v.

    Args:
        rows: the images. slots: names of the K parts, with the foreground before them if the model has one.
        title: a line above. cell_width: width of an image in pixels; its height is twice that.
        smooth: interpolate between the cells of a map, or draw them as blocks.

    Returns:
        A matplotlib figure; see ``save_png`` and ``to_array``.

    Raises:
        ShapeError: no row, or an array does not fit the slots.
    """
    if not rows:
        raise ShapeError("Expected at least one image to draw, got none.")
    check_slots(slots)
    check_size(cell_width)
    size = cell_width, 2 * cell_width
    drawn = [attention_cells(row, slots, size=(size[0] * SCALE, size[1] * SCALE), smooth=smooth) for row in rows]
    headings = [cell.heading for cell in max((lines[0] for lines in drawn), key=len)]
    note = attention_note(rows, smooth=smooth)
    width = 2 * _MARGIN + max(len(headings) * (cell_width + _GAP) - _GAP, 4 * cell_width)
    top = _MARGIN + (_TITLE if title else 0)
    height = size[1] + _LABEL + _GAP
    apart = _APART if any(len(lines) > 1 for lines in drawn) else 0
    total = sum(len(lines) * height + apart for lines in drawn)
    sheet = Sheet(width, top + _HEADER + total + 2 * _FOOT)
    if title:
        sheet.text((_MARGIN, _MARGIN + 8), title, size=11, width=width - 2 * _MARGIN, bold=True)
    _headings(sheet, headings, top, cell_width)
    y = top + _HEADER
    for lines in drawn:
        for line in lines:
            for i, cell in enumerate(line):
                x = _MARGIN + i * (cell_width + _GAP)
                sheet.image((x, y), size, cell.image, frame=cell.color)
                sheet.text((x, y + size[1] + 11), cell.caption, width=cell_width, color=cell.color or INK)
            y += height
        y += apart
    _legend(sheet, y + 4, note, width, rated=any(cell.seen is not None for lines in drawn for cell in lines[0]))
    return sheet.figure


def _headings(sheet: Sheet, headings: Sequence[str], y: float, width: int) -> None:
    colors = part_colors(headings[2:])
    size = 8.5  # one for all headings, as large as the longest allows
    while size > 6 and max(text_width(readable(heading), size) for heading in headings) > width - 14:
        size -= 0.25
    for i, heading in enumerate(headings):
        x, indent = _MARGIN + i * (width + _GAP), 14 if heading in colors else 0
        if indent:
            sheet.box(x, y + 4, 9, 9, colors[heading])
        sheet.text((x + indent, y + 9), readable(heading), size=size, width=width - indent)


def _legend(sheet: Sheet, y: float, note: str, width: float, *, rated: bool) -> None:
    x = float(_MARGIN)
    sheet.image((x, y - 5), (60, 10), heat_scale(60 * SCALE, 10 * SCALE))
    sheet.text((x + 66, y), "0 to 1")
    x += 116
    for color, words in ((RIGHT, "✓ part visible"), (WRONG, "✗ part not visible")) if rated else ():
        sheet.box(x, y - 5, 10, 10, color)
        sheet.text((x + 14, y), words)
        x += 110
    sheet.text((_MARGIN, y + 20), note, width=width - 2 * _MARGIN)
