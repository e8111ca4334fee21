"""From hits to a photograph: light, then the lens, the sensor and the JPEG."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.raytrace import Hits, Scene


def shade(scene: Scene, hits: Hits, camera: Camera, directions: Floats, feet: Floats) -> Floats:
    """Linear light [N, 3] of each ray. ``feet``: [P, 2] places on the ground that darken it by contact."""
    albedo = np.zeros((len(directions), 3), np.float32)
    surfaces = scene.surfaces
    for number in np.unique(hits.surface[hits.surface >= 0]):
        where = np.flatnonzero(hits.surface == number)
        albedo[where] = surfaces[number](hits.coords[where])
    albedo = np.square(np.clip(albedo, 0.01, 1))  # a gamma of 2 is close enough, and fast
    facing = np.clip(hits.normal @ camera.sun.astype(np.float32), 0, 1) * hits.lit
    sky_share = 0.65 + 0.35 * hits.normal[:, 2]
    place = camera.origin.astype(np.float32) + directions * hits.distance[:, None]
    low = (hits.kind >= 0) & (place[:, 2] < 0.03)
    contact = np.ones(len(directions), np.float32)
    for x, y in feet:
        square = (place[low, 0] - x) ** 2 + (place[low, 1] - y) ** 2
        contact[low] *= 1 - np.float32(0.45) * np.exp(-square / np.float32(0.045))
    light = (sky_share * contact)[:, None] * np.float32(camera.ambient) + (np.float32(camera.sun_strength) * facing)[
        :, None
    ]
    out = np.where((hits.kind >= 0)[:, None], albedo * light, np.float32(camera.sky))
    return np.asarray(out, np.float32)


def develop(
    light: Floats, camera: Camera, rng: np.random.Generator, image_size: tuple[int, int], samples: int
) -> NDArray[np.uint8]:
    """The sensor's image, uint8 [H, W, 3], from light [samples·H·W, 3]."""
    height, width = image_size
    pixels = light.reshape(samples, height, width, 3).mean(axis=0)
    sigma = camera.blur * rng.uniform(0.6, 1.5) * height / 128
    pixels = _blur(_blur(pixels, sigma, 0), sigma, 1)
    if rng.random() < 0.2:
        pixels = _blur(pixels, rng.uniform(0.5, 1.3) * height / 128, 1)  # motion across the view
    pixels = pixels * camera.gain * (camera.exposure * rng.uniform(0.88, 1.12))
    value = np.sqrt(np.clip(pixels, 0, 1.3))
    value = np.where(value > 0.8, 0.8 + 0.2 * np.tanh((value - 0.8) / 0.2), value)  # highlights roll off
    value = 0.45 + (value - 0.45) * camera.contrast
    grey = value @ np.array([0.299, 0.587, 0.114])
    value = grey[..., None] + (value - grey[..., None]) * camera.saturation
    grain = rng.normal(0, camera.noise / 255, (height, width, 1)) + rng.normal(0, 0.4 * camera.noise / 255, value.shape)
    return np.asarray(np.clip(np.round((value + grain) * 255), 0, 255), np.uint8)


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes with halved chroma, as cameras write them."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420"))


def _blur(pixels: NDArray[np.floating], sigma: float, axis: int) -> NDArray[np.floating]:
    """Gaussian blur along an axis; the border is repeated."""
    reach = max(1, int(np.ceil(2.5 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps /= taps.sum()
    pad = [(0, 0)] * pixels.ndim
    pad[axis] = (reach, reach)
    padded = np.pad(pixels, pad, mode="edge")
    size = pixels.shape[axis]
    out = np.zeros_like(pixels)
    for k, tap in enumerate(taps):
        window = [slice(None)] * pixels.ndim
        window[axis] = slice(k, k + size)
        out += tap * padded[tuple(window)]
    return out
