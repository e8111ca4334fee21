"""What a sheet and a page show alike: an image with everything drawn over it, and what stands around it in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partreid.viz.colors import Color


@dataclass(frozen=True)
class Bar:
    """What is shown of one slot below an image.

    Attributes:
        slot: its name. color: its colour, at the foot of the bar.
        height: of the bar, 0 to 1; None = a cross: there is nothing to show.
        words: what it shows, for pages. filled: the bar has the slot's colour too, else that of all bars.
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
        lines: below it. alt: what the image shows, in words.
        frame: colour around it and of its heading, or None. bars: between the image and the lines.
    """

    image: np.ndarray
    heading: str
    lines: tuple[str, ...]
    alt: str
    frame: Color | None = None
    swatch: Color | None = None
    bars: tuple[Bar, ...] = ()
