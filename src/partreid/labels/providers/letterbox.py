"""A crop on a network's canvas. Pose networks find more in a small image if it is surrounded by grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GREY = 128
_BORDER = 1 / 16
"""Least width above and below, as a fraction of the crop's height."""


@dataclass(frozen=True)
class Placement:
    """Where an image lies on its canvas: (x, y) of its corner, and network pixels per image pixel along x and y.

    The two scales differ a little: the image is shown in whole pixels.
    """

    corner: tuple[int, int]
    scale: tuple[float, float]

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [..., 2] (x, y) in network pixels, in pixels of the image."""
        return (points - self.corner) / self.scale


def letterbox(image: NDArray[np.uint8], input_size: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    """The image on a canvas, grey all around, sides in proportion.

    Args:
        image: uint8 [H, W, 3]. input_size: (height, width) of the canvas.
    """
    height, width = image.shape[:2]
    border = 2 * _BORDER * height
    scale = min(input_size[0] / (height + border), input_size[1] / (width + border))
    new = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (input_size[0] - new[0]) // 2, (input_size[1] - new[1]) // 2
    canvas = np.full((*input_size, 3), _GREY, np.uint8)
    resized = Image.fromarray(image).resize((new[1], new[0]), Image.Resampling.BICUBIC)
    canvas[top : top + new[0], left : left + new[1]] = np.asarray(resized)
    return canvas, Placement((left, top), (new[1] / width, new[0] / height))
