"""Labels beside their images: pose fields, and the label map computed from them (Eq. 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from partreid.labels.grouping import LABEL_THRESHOLD, group_fields, label_map
from partreid.objects import Guided
from partreid.parts import KEYPOINTS, PartSchema
from partreid.viz.canvas import MARGIN, Legend, Sheet, check_size
from partreid.viz.colors import FAINT, INK, JUNK, css, part_colors, readable
from partreid.viz.overlay import check_image, overlay_part_maps, paint_labels

PANEL_HEIGHT = 256
"""Height of each of the three panels in image pixels."""

_GUTTER, _DOT = 6, 3  # between panels; radius of a keypoint
_WHITE = (255, 255, 255)
_NOT_SEEN = 0.1
"""A keypoint is not drawn if its field stays below this value."""

_GAP, _NAME, _NOTE, _TITLE, _HEADING, _READING, _COLUMNS = 16, 14, 13, 28, 26, 26, 4
READING = (
    "Each: the image · its pose fields (colour = part, the stronger the more opaque; dots = strongest point of each "
    "keypoint, hollow below the threshold) · its label map. Crossed out = not there."
)
"""How to read a strip, in words."""


@dataclass(frozen=True, eq=False, repr=False)
class LabelledImage(Guided):
    """An image and its label.

    Attributes:
        image: uint8 [H, W, 3]; None if it cannot be read.
        fields: pose fields [36, h, w] in [0, 1]; None if the label is a ready label map or cannot be read.
        label: ready label map [h, w], 0 = background; None if there are fields, or no label.
        name: a line under the image. note: another line, for example about a fault.
    """

    image: np.ndarray | None
    fields: np.ndarray | None = None
    label: np.ndarray | None = None
    name: str = ""
    note: str = ""


def label_strip(labelled: LabelledImage, schema: PartSchema, *, threshold: float = LABEL_THRESHOLD) -> np.ndarray:
    """Image, pose fields and label map side by side. A missing one is crossed out.

    Args:
        labelled: an image with its label. schema: the K parts. threshold: λ_r of Eq. 10.

    Returns:
        uint8 [256, W', 3].

    Raises:
        ShapeError: the image or the label map does not fit.
        LabelError: the fields are not [36, h, w].
    """
    image = _crossed_out((PANEL_HEIGHT, PANEL_HEIGHT // 2)) if labelled.image is None else _panel(labelled.image)
    fields, label = labelled.fields, labelled.label
    shown, painted = _crossed_out(image.shape), _crossed_out(image.shape)
    if fields is not None:
        part_maps = group_fields(fields, schema)
        label = label_map(part_maps, threshold)
        shown = _with_keypoints(overlay_part_maps(image, part_maps, schema.parts), fields, threshold)
    if label is not None:
        painted = paint_labels(image, label, schema.parts)
    gutter = np.full((image.shape[0], _GUTTER, 3), 255, np.uint8)
    return np.concatenate([image, gutter, shown, gutter, painted], axis=1)


def draw_label_sheet(
    groups: Mapping[str, Sequence[LabelledImage]],
    schema: PartSchema,
    *,
    title: str = "",
    threshold: float = LABEL_THRESHOLD,
    panel_width: int = 76,
) -> Figure:
    """Strips in lines of four under the heading of their group, with the parts' colours above.

    Args:
        groups: images by heading; an empty heading is not drawn. Without groups only the title is drawn.
        schema: the K parts. title: a line above. threshold: λ_r of Eq. 10.
        panel_width: width of each of a strip's panels in pixels; its height is twice that.

    Raises:
        ShapeError, LabelError: as :func:`label_strip`.
    """
    check_size(panel_width)
    tall = 2 * panel_width
    cell = round(3 * panel_width + 2 * _GUTTER * tall / PANEL_HEIGHT), tall
    width = 2 * MARGIN + _COLUMNS * (cell[0] + _GAP) - _GAP
    legend = Legend({readable(part): color for part, color in part_colors(schema.parts).items()}, width)
    line_height = cell[1] + _NAME + _NOTE + _GAP
    heights = [(_HEADING if name else 0) + -(-len(found) // _COLUMNS) * line_height for name, found in groups.items()]
    top = MARGIN + _TITLE + legend.height + _READING
    sheet = Sheet(width, top + sum(heights) + MARGIN // 2)
    sheet.title(title)
    legend.draw(sheet, MARGIN + _TITLE - 6)
    sheet.text((MARGIN, top - _READING + 6), READING, width=width - 2 * MARGIN)
    for (heading, images), height in zip(groups.items(), heights, strict=True):
        y = float(top)
        if heading:
            sheet.text((MARGIN, y + _HEADING / 2 - 2), heading, size=9.5, width=width - 2 * MARGIN, bold=True)
            y += _HEADING
        for i, image in enumerate(images):
            x, at = MARGIN + i % _COLUMNS * (cell[0] + _GAP), y + i // _COLUMNS * line_height
            sheet.image((x, at), cell, label_strip(image, schema, threshold=threshold))
            sheet.text((x, at + tall + _NAME / 2 + 2), image.name, width=cell[0], bold=True)
            sheet.text((x, at + tall + _NAME + _NOTE / 2 + 2), image.note, width=cell[0])
        top += height
    return sheet.figure


def _panel(image: np.ndarray) -> np.ndarray:
    """The image at the panels' height. Its aspect ratio is kept, within limits for very wide and very narrow images."""
    height, width = check_image(image).shape[:2]
    size = int(np.clip(round(width * PANEL_HEIGHT / height), PANEL_HEIGHT // 8, 2 * PANEL_HEIGHT)), PANEL_HEIGHT
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _crossed_out(shape: tuple[int, ...]) -> np.ndarray:
    panel = Image.new("RGB", (shape[1], shape[0]), css(FAINT))
    draw = ImageDraw.Draw(panel)
    for start, end in ((0, shape[0] - 1), (shape[0] - 1, 0)):
        draw.line((0, start, shape[1] - 1, end), fill=css(JUNK), width=2)
    return np.asarray(panel)


def _with_keypoints(image: np.ndarray, fields: np.ndarray, threshold: float) -> np.ndarray:
    """Dots at each keypoint field's strongest node: filled if it reaches the threshold, otherwise hollow."""
    panel = Image.fromarray(image)
    draw = ImageDraw.Draw(panel)
    height, width = image.shape[:2]
    for channel in range(len(KEYPOINTS)):
        field = fields[channel]
        peak = float(field.max())
        if peak < _NOT_SEEN:
            continue
        i, j = np.unravel_index(int(field.argmax()), field.shape)
        # A dot on the border is moved inwards, so that it is completely visible.
        y = np.clip(height * i / max(1, field.shape[0] - 1), _DOT, height - 1 - _DOT)
        x = np.clip(width * j / max(1, field.shape[1] - 1), _DOT, width - 1 - _DOT)
        box = (x - _DOT, y - _DOT, x + _DOT, y + _DOT)
        if peak >= threshold:
            draw.ellipse(box, fill=_WHITE, outline=css(INK))
        else:
            draw.ellipse(box, outline=_WHITE)
    return np.asarray(panel)
