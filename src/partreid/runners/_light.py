"""Whether the light of a camera has changed: compares the mean colours of its images with those at the adaptation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

WINDOW = 100
"""Images of a camera that are compared together, so that a few persons' clothes do not count as light."""
LIMIT = 1.0
"""How far their mean colour may be off, in standard deviations of single images."""


class LightWatch:
    """Counts the images of each camera.

    Args:
        light: [cameras, 2, 3] mean and standard deviation of the mean colours at the adaptation.
    """

    def __init__(self, light: Tensor) -> None:
        self._light = light.numpy()
        self._sums = np.zeros((len(light), 3))
        self._counts = np.zeros(len(light), int)
        self._told: set[int] = set()

    def changed(self, pixels: np.ndarray, rows: Sequence[int]) -> list[int]:
        """The cameras whose light turns out to have changed with these images. Each camera is reported once.

        Args:
            pixels: uint8 [B, H, W, 3]. rows: for each image, the number of its camera; larger numbers are ignored.
        """
        found = []
        for color, row in zip(pixels.mean(axis=(1, 2)), rows, strict=True):
            if row >= len(self._counts) or row in self._told:
                continue
            self._sums[row] += color
            self._counts[row] += 1
            if self._counts[row] < WINDOW:
                continue
            mean, spread = self._light[row]
            if (np.abs(self._sums[row] / self._counts[row] - mean) > LIMIT * spread + 1).any():
                self._told.add(row)
                found.append(row)
            self._sums[row], self._counts[row] = 0, 0
        return found
