"""A sheet with coordinates in pixels from the top left, drawn by matplotlib; its elements; figures as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextToPath
from PIL import Image

from partreid.errors import DataError, ShapeError
from partreid.files import atomic_file
from partreid.viz.colors import BAR, FAINT, INK, WRONG, Color
from partreid.viz.overlay import check_image, fit

Sign = Literal["bar", "cross"]
"""Signs in a legend other than colours."""

DPI = 100
SCALE = 2
"""Image pixels per pixel of the layout. The factor keeps text sharp on dense screens."""

MARGIN = 18
"""Margin of a sheet in pixels."""

_LEGEND, _LEGEND_SIZE, _SWATCH = 20, 7.5, 38  # height of a line, size of its text, width beside the text
_LARGEST = 10_000
_POINT = DPI / 72  # layout pixels per typographic point


class Sheet:
    """A white page of ``width`` × ``height`` layout pixels, origin at the top left."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI * SCALE, facecolor="white")
        self._axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self._axes.set_axis_off()
        self._axes.set_autoscale_on(False)

    def image(
        self, at: tuple[float, float], size: tuple[int, int], image: np.ndarray, *, frame: Color | None = None
    ) -> None:
        """An image fitted into ``size`` (width, height), with a frame around it."""
        (x, y), (width, height) = at, size
        shown = fit(image, width * SCALE, height * SCALE)
        self._axes.imshow(shown, extent=(x, x + width, y + height, y), aspect="auto", interpolation="nearest")
        if frame is not None:
            edge = 3.0
            outline = Rectangle((x - edge / 2, y - edge / 2), width + edge, height + edge, fill=False)
            outline.set(edgecolor=frame, linewidth=edge / _POINT, joinstyle="miter")
            self._axes.add_patch(outline)

    def box(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """A filled rectangle."""
        self._axes.add_patch(Rectangle((x, y), width, height, facecolor=color, edgecolor="none"))

    def cross(self, x: float, y: float, radius: float, color: Color) -> None:
        """A small × around a point."""
        for slope in (1, -1):
            self._axes.plot([x - radius, x + radius], [y - slope * radius, y + slope * radius], color=color, lw=0.9)

    def text(
        self, at: tuple[float, float], text: str, *, size: float = 7.5, width: float | None = None, color: Color = INK,
        bold: bool = False,
    ) -> None:  # fmt: skip
        """One line from ``at`` (x, middle height). If wider than ``width``, it is made smaller, then cut with "…"."""
        text = one_line(text)
        if not text:
            return
        if width is not None:
            size, text = _fitted(text, size, width, bold)
        self._axes.text(
            *at, text, fontsize=size, color=color, fontweight="bold" if bold else "normal", va="center_baseline",
            parse_math=False,
        )  # fmt: skip

    def title(self, text: str) -> None:
        """A line in bold at the top, at most as wide as the page."""
        self.text((MARGIN, MARGIN + 8), text, size=11, width=self.width - 2 * MARGIN, bold=True)


class Legend:
    """A legend: names beside their colours or signs, in as many lines as a page of that width needs.

    Args:
        entries: for each name its colour, or "bar" or "cross" for these signs.
        width: of the page.
    """

    def __init__(self, entries: Mapping[str, Color | Sign], width: float) -> None:
        self._lines: list[dict[str, Color | Sign]] = [{}]
        x = 0.0
        for name, shown in entries.items():
            needed = _SWATCH + text_width(name, _LEGEND_SIZE)
            if self._lines[-1] and x + needed > width - 2 * MARGIN:
                self._lines.append({})
                x = 0
            self._lines[-1][name] = shown
            x += needed
        self.height = len(self._lines) * _LEGEND

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draw the legend on a page, ``top`` pixels from its upper edge."""
        for row, line in enumerate(self._lines):
            x, y = float(MARGIN), top + row * _LEGEND + _LEGEND / 2
            for name, shown in line.items():
                sheet.box(x, y - 5, 10, 10, shown if isinstance(shown, tuple) else FAINT)
                if shown == "cross":
                    sheet.cross(x + 5, y, 3, WRONG)
                elif shown == "bar":
                    sheet.box(x, y - 1, 10, 6, BAR)
                sheet.text((x + 14, y), name, size=_LEGEND_SIZE)
                x += _SWATCH + text_width(name, _LEGEND_SIZE)


@dataclass(frozen=True)
class Bar:
    """The bar of one slot below an image.

    Attributes:
        slot: its name. color: its colour, at the foot of the bar.
        height: of the bar, 0 to 1; None = a cross, because there is nothing to show.
        words: a description, for pages. filled: whether the bar itself has the slot's colour, not that of all bars.
    """

    slot: str
    color: Color
    height: float | None
    words: str
    filled: bool = False


@dataclass(frozen=True, eq=False)
class Cell:
    """One image of a figure.

    Attributes:
        image: uint8 [H, W, 3], all overlays drawn.
        heading: above it. swatch: a colour before the heading, or None.
        lines: below it. alt: a description in words.
        frame: colour of the frame and the heading; None = no frame, and a heading in the colour of text.
        bars: between the image and the lines.
    """

    image: np.ndarray
    heading: str
    lines: tuple[str, ...]
    alt: str
    frame: Color | None = None
    swatch: Color | None = None
    bars: tuple[Bar, ...] = ()


def one_line(text: str, *, longest: int = 10_000) -> str:
    """A text that can be drawn in one line, cut with "…" if it is longer. File names may contain any bytes, also line
    breaks.

    Example:
        >>> one_line("a\\nb\\ud800")
        'a b?'
    """
    check_size(longest)
    drawn = "".join(sign if sign.isprintable() or ord(sign) >= 0xD800 else " " for sign in text)
    drawn = drawn.encode(errors="replace").decode()
    return drawn if len(drawn) <= longest else drawn[: longest - 1] + "…"


def check_size(*sizes: int) -> None:
    """Raise a ShapeError for a number of pixels, columns or bars that is not whole and positive."""
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST:
            raise ShapeError(f"Expected a whole number from 1 to {_LARGEST}, got {size!r:.80}.")


def check_rows(rows: object, kind: type) -> None:
    """Raise a ShapeError if rows of a figure are not a list of one ``kind`` or more."""
    if not isinstance(rows, Sequence) or not rows or not all(isinstance(row, kind) for row in rows):
        raise ShapeError(f"Expected a list of one {kind.__name__} or more, got {type(rows).__name__}: {rows!r:.80}")


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of one line in layout pixels."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = TextToPath().get_text_width_height_descent(one_line(text), font, ismath=False)
    return float(width) * _POINT


def _fitted(text: str, size: float, width: float, bold: bool) -> tuple[float, str]:
    while text_width(text, size, bold) > width and size > 6:
        size -= 0.5
    short = text
    while len(short) > 1 and text_width(short, size, bold) > width:
        short = short.rstrip("…")[:-1] + "…"
    return size, short


def to_array(figure: Figure) -> np.ndarray:
    """The figure as an image: uint8 [H, W, 3]."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib types neither method
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def save_png(figure: Figure | np.ndarray, path: str | Path) -> Path:
    """Write a figure or an image as PNG. The write is atomic: the file is the old one or the complete new one.

    Returns:
        The path.

    Raises:
        ShapeError: an array is not uint8 [H, W, 3].
        DataError: the file cannot be written.
    """
    pixels = to_array(figure) if isinstance(figure, Figure) else check_image(figure)
    with atomic_file(path, error=DataError) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
    return Path(path)
