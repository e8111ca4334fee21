"""The faults that cameras add to their images: lens, sensor, processing and compression."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Span = tuple[float, float]


@dataclass(frozen=True)
class Optics:
    """A camera's faults. A span is the least and the greatest value; each image draws its own between them.

    Attributes:
        gain: colour cast [3]. exposure, contrast, saturation: 1 = neutral. gamma: of the tone curve.
        blur: span of the defocus, a standard deviation in pixels of an image 128 high. motion: fraction of moving
        people that are smeared. noise: standard deviation in dark places, of 255. speckle: share of noise in colour.
        sharpening: of edges, with the halo that it leaves; 0 none.
        haze: share of the light that is lost in each metre of air.
        rows: span of the height in pixels at which a person's box is taken, before it is enlarged to the set's size.
        quality: span of the first JPEG's quality. passes: how often it is compressed before the file is written.
        smooth: whether cubic interpolation enlarges it, else linear. last_quality: of the file's JPEG.
    """

    gain: Vector
    exposure: float
    contrast: float
    saturation: float
    gamma: float
    blur: Span
    motion: float
    noise: float
    speckle: float
    sharpening: float
    haze: float
    rows: Span
    quality: Span
    passes: int
    smooth: bool
    last_quality: int


def make_optics(rng: np.random.Generator, hue: float, exposure: float, quality: float, sharpness: float) -> Optics:
    """Random optics with the given values, which were assigned to the camera.

    ``hue``: of the colour cast in radians. ``exposure``: 1 = neutral. ``quality``: of the JPEG.
    ``sharpness``: in [0, 1], which decides whether people are small or large in pixels.
    """
    cast = 1 + rng.uniform(0.01, 0.09) * np.array([cos(hue), cos(hue - 2 * pi / 3), cos(hue + 2 * pi / 3)])
    low = 40 + 90 * sharpness
    blur = rng.uniform(0.15, 0.5)
    return Optics(
        gain=cast,
        exposure=exposure,
        contrast=float(rng.uniform(1.0, 1.25)),
        saturation=float(rng.uniform(0.5, 0.95)),
        gamma=float(rng.uniform(0.85, 1.1)),
        blur=(blur, blur + rng.uniform(0.1, 0.7)),
        motion=float(rng.uniform(0.05, 0.5)),
        noise=float(rng.uniform(0.6, 4.0)),
        speckle=float(rng.uniform(0.1, 0.4)),
        sharpening=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.7 else 0.0,
        haze=float(rng.uniform(0.0, 0.002) if rng.random() < 0.75 else rng.uniform(0.002, 0.007)),
        rows=(low, low + rng.uniform(40, 150)),
        quality=(max(quality - 18, 25), quality),
        passes=int(rng.integers(1, 3)),
        smooth=bool(rng.random() < 0.6),
        last_quality=int(rng.integers(80, 96)),
    )
