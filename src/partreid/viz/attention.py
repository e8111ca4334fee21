"""Where the network looks for each part, and where the part is according to the labels (paper, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from partreid.errors import ShapeError
from partreid.labels.grouping import LABEL_THRESHOLD, label_map
from partreid.objects import Guided
from partreid.parts import FOREGROUND, HOLISTIC
from partreid.viz.canvas import MARGIN, SCALE, Cell, Sheet, check_rows, check_size, text_width
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

_GAP, _HEADER, _LABEL, _TITLE, _FOOT = 10, 26, 18, 30, 30
_APART = 8  # between images that have a line for their label


@dataclass(frozen=True, eq=False, repr=False)
class AttentionRow(Guided):
    """An image and its maps.

    Attributes:
        image: uint8 [H, W, 3].
        attention: [K+1, h, w] in [0, 1], background first, or None for a model without parts (BoT).
        visibility: [K] of the parts (Eq. 4); None = unknown.
        part_maps: the label as part maps E [K, h, w] in [0, 1] at corner-aligned nodes, or None.
        label: a line under the image. name: of its file, for pages.
    """

    image: np.ndarray
    attention: np.ndarray | None
    visibility: np.ndarray | None = None
    part_maps: np.ndarray | None = None
    label: str = ""
    name: str = ""


def attention_cells(
    row: AttentionRow, slots: Sequence[str], *, size: tuple[int, int], smooth: bool = True
) -> list[list[Cell]]:
    """One line with the image, all parts, the foreground and each part. If there is a label, a second line shows it.

    A smaller image is enlarged to ``size`` (width, height). Other arguments and errors as for :func:`draw_attention`.

    Returns:
        One or two lines. The columns of the second fit the first's: label map Y, E in colours, its maximum, each part.
        A row without attention has one cell, and no second line.
    """
    parts = tuple(slot for slot in slots if slot not in HOLISTIC)
    image = enlarge(row.image, *size)
    if row.part_maps is not None:
        check_maps(row.part_maps, parts)
    if row.visibility is not None and np.shape(row.visibility) != (len(parts),):
        raise ShapeError(f"visibility must hold one value per part {parts}, got {np.shape(row.visibility)}.")
    visibility = () if row.visibility is None else row.visibility
    seen = {part: bool(value > 0) for part, value in zip(parts, visibility, strict=False)}
    colors = part_colors(slots)

    def cell(shown: np.ndarray, name: str, caption: str, frame: Color | None = None) -> Cell:
        heading = readable(name)
        alt = f"{row.name or row.label}, {heading}: {caption}"
        return Cell(shown, heading, (caption,), alt, frame, swatch=colors.get(name))

    line = [cell(image, "image", row.label)]
    if row.attention is None:
        return [line]
    maps = check_attention(row.attention, parts)[1:]
    line.append(
        cell(overlay_parts(image, row.attention, parts, visibility=row.visibility, smooth=smooth), "all parts", "")
    )
    for name, values in slot_maps(maps, slots).items():
        heat = overlay_heat(image, values, grid="smooth" if smooth else "cells")
        sign, frame = {None: ("", None), True: (" ✓", RIGHT), False: (" ✗", WRONG)}[seen.get(name)]
        line.append(cell(heat, name, f"max {values.max():.2f}{sign}", frame))
    if row.part_maps is None:
        return [line]
    below = [
        cell(paint_labels(image, label_map(row.part_maps), parts), "image", "label map Y"),
        cell(overlay_part_maps(image, row.part_maps, parts), "all parts", "label fields E"),
    ]
    for name, values in slot_maps(row.part_maps, slots).items():
        below.append(cell(overlay_heat(image, values, grid="nodes"), name, f"E, max {values.max():.2f}"))
    return [line, below]


def slot_maps(maps: np.ndarray, slots: Sequence[str]) -> dict[str, np.ndarray]:
    """The map of each slot by name, from the parts' ``maps`` [K, h, w]. The foreground's is their maximum (§3.2.1)."""
    parts = [slot for slot in slots if slot not in HOLISTIC] or slots  # the foreground alone counts as a part
    foreground = {FOREGROUND: maps.max(axis=0)} if FOREGROUND in slots and len(maps) else {}
    return foreground | dict(zip(parts, maps, strict=False))


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

    A part's map has a green frame if the part counts as visible, and a red one if not. The number under it is the map's
    largest value, which Eq. 4 compares with λ_v.

    Args:
        rows: the images. slots: names of the K parts, with the foreground before them if the model has one.
        title: a line above. cell_width: width of an image in pixels; its height is twice the width.
        smooth: interpolate between the cells of a map, or draw them as blocks.

    Raises:
        ShapeError: no row, not an AttentionRow, or an array does not fit the slots.
    """
    check_rows(rows, AttentionRow)
    check_slots(slots)
    check_size(cell_width)
    size = cell_width, 2 * cell_width
    drawn = [attention_cells(row, slots, size=(size[0] * SCALE, size[1] * SCALE), smooth=smooth) for row in rows]
    first = max((lines[0] for lines in drawn), key=len)
    width = 2 * MARGIN + max(len(first) * (cell_width + _GAP) - _GAP, 4 * cell_width)
    top = MARGIN + (_TITLE if title else 0)
    height = size[1] + _LABEL + _GAP
    apart = _APART if any(len(lines) > 1 for lines in drawn) else 0
    total = sum(len(lines) * height + apart for lines in drawn)
    sheet = Sheet(width, top + _HEADER + total + 2 * _FOOT)
    sheet.title(title)
    _headings(sheet, first, top, cell_width)
    y = top + _HEADER
    for lines in drawn:
        for line in lines:
            for i, cell in enumerate(line):
                x = MARGIN + i * (cell_width + _GAP)
                sheet.image((x, y), size, cell.image, frame=cell.frame)
                sheet.text((x, y + size[1] + 11), cell.lines[0], width=cell_width, color=cell.frame or INK)
            y += height
        y += apart
    rated = any(cell.frame for lines in drawn for cell in lines[0])
    _legend(sheet, y + 4, attention_note(rows, smooth=smooth), rated=rated)
    return sheet.figure


def _headings(sheet: Sheet, cells: Sequence[Cell], y: float, width: int) -> None:
    size = 8.5  # one for all headings, as large as the longest allows
    while size > 6 and max(text_width(cell.heading, size) for cell in cells) > width - 14:
        size -= 0.25
    for i, cell in enumerate(cells):
        x, indent = MARGIN + i * (width + _GAP), 14 if cell.swatch else 0
        if cell.swatch:
            sheet.box(x, y + 4, 9, 9, cell.swatch)
        sheet.text((x + indent, y + 9), cell.heading, size=size, width=width - indent)


def _legend(sheet: Sheet, y: float, note: str, *, rated: bool) -> None:
    sheet.image((MARGIN, y - 5), (60, 10), heat_scale(60 * SCALE, 10 * SCALE))
    sheet.text((MARGIN + 66, y), "0 to 1")
    x = MARGIN + 116.0
    for color, words in ((RIGHT, "✓ part visible"), (WRONG, "✗ part not visible")) if rated else ():
        sheet.box(x, y - 5, 10, 10, color)
        sheet.text((x + 14, y), words)
        x += 110
    sheet.text((MARGIN, y + 20), note, width=sheet.width - 2 * MARGIN)
