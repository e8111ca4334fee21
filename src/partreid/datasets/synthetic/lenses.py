"""Pixels of a whole frame: rectangles of pixels, and the lens that gives the ray of each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, radians, tan

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.framing import Box
from partreid.datasets.synthetic.sequence_config import SequenceConfig

_WASTE = 1.15
"""Two rectangles are merged if the merged one is at most this many times as large as both together."""


@dataclass(frozen=True)
class Rect:
    """Pixels from (left, top) up to (right, bottom), which is excluded."""

    left: int
    top: int
    right: int
    bottom: int

    def within(self, other: Rect) -> Rect:
        """The intersection with another rectangle; empty if they are apart, never with negative indices."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Rect(left, top, max(left, min(self.right, other.right)), max(top, min(self.bottom, other.bottom)))

    def joined(self, other: Rect) -> Rect:
        """The smallest rectangle around both."""
        return Rect(
            min(self.left, other.left), min(self.top, other.top), max(self.right, other.right),
            max(self.bottom, other.bottom),
        )  # fmt: skip

    def grown(self, by: int) -> Rect:
        """Larger by so many pixels on each side."""
        return Rect(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def seen_from(self, other: Rect) -> Rect:
        """This rectangle, relative to the upper left corner of another one."""
        return Rect(
            self.left - other.left, self.top - other.top, self.right - other.left, self.bottom - other.top
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def area(self) -> int:
        """Pixels in it."""
        return self.shape[0] * self.shape[1]

    @property
    def index(self) -> tuple[slice, slice]:
        """These pixels of an array [H, W, ...]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def merged(rects: Iterable[Rect]) -> list[Rect]:
    """Fewer rectangles that hold all pixels of these."""
    out: list[Rect] = []
    for rect in rects:
        current, k = rect, 0
        while k < len(out):
            joined = out[k].joined(current)
            if joined.area <= _WASTE * (out[k].area + current.area):
                current, k = joined, 0
                out = [other for other in out if other.within(joined) != other]
            else:
                k += 1
        out.append(current)
    return out


@dataclass(frozen=True)
class Lens:
    """Maps the image plane at distance 1 to pixels. The camera's middle ray goes through the middle of the frame.

    Attributes:
        frame: all pixels. focal: length in pixels.
    """

    frame: Rect
    focal: float

    @classmethod
    def of(cls, config: SequenceConfig) -> Lens:
        """The lens that sees ``field_of_view`` degrees across."""
        width = config.image_width
        focal = width / 2 / tan(radians(config.field_of_view / 2))
        return cls(Rect(0, 0, width, config.image_height), focal)

    @property
    def middle(self) -> NDArray[np.float64]:
        """The middle of the frame [2], in pixels."""
        return np.array([self.frame.right / 2, self.frame.bottom / 2])

    def pixels(self, plane: NDArray[np.floating]) -> NDArray[np.float64]:
        """Places [N, 2] of the image plane in pixels, the frame's upper left corner being (0, 0)."""
        return np.asarray(plane * self.focal + self.middle)

    def around(self, plane: NDArray[np.floating]) -> Rect:
        """The pixels that places [N, 2] of the image plane span."""
        places = self.pixels(plane)
        (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0)
        return Rect(floor(left), floor(top), ceil(right), ceil(bottom))

    def rays(self, camera: Camera, rect: Rect, samples: int) -> Floats:
        """Unit directions [samples·h·w, 3] of a rectangle's rays: the first of every pixel, then the second, ..."""
        corners = np.array([[rect.left, rect.top], [rect.right, rect.bottom]], float)
        (left, top), (right, bottom) = (corners - self.middle) / self.focal
        return camera.rays(Box(left, top, right, bottom).pixels(rect.shape, samples))
