"""From hits to a photograph: light, lens, sensor, processing, and JPEG compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.light import Light
from partreid.datasets.synthetic.optics import Optics
from partreid.datasets.synthetic.raytrace import Hits, Scene

_SUN_FAR, _SKY_FAR = 60.0, 0.9
"""Greatest distance in metres at which a thing shades the sun, and at which it covers the sky."""
_BOUNCED = 0.25
"""Share of the ambient light that remains where the sky is covered, because what covers it reflects light."""
_NEAR_FEET = 1.5
_METERED = 0.22
"""Mean linear light at which a camera's exposure is 1."""
_HAZE_FAR = 80.0
"""Distance in metres from which haze grows no more, because a ray that hits nothing has no distance."""


@dataclass(frozen=True)
class Grid:
    """N rays as ``samples`` times height × width pixels."""

    samples: int
    height: int
    width: int


def shade(
    scene: Scene, camera: Camera, directions: Floats, hits: Hits, feet: Floats, grid: Grid, rng: np.random.Generator
) -> Floats:
    """Linear light [N, 3] of each ray. ``feet``: [P, 2] places on the ground near which bodies cover the sky."""
    albedo, normal = _attributes(scene, hits, directions)
    light = camera.light
    hit = hits.mesh >= 0
    is_thing = hit & (hits.mesh < 1 + len(scene.others))
    place = camera.origin.astype(np.float32) + directions * hits.distance[:, None]
    start = place + np.float32(0.015) * normal
    near_feet = np.zeros(len(directions), bool)
    for x, y in feet:
        near_feet |= np.hypot(place[:, 0] - x, place[:, 1] - y) < _NEAR_FEET
    near_feet &= hit & (place[:, 2] < 0.05)
    # The sky is traced for one ray of each pixel only, because it is averaged over the neighbours.
    one = grid.height * grid.width
    sky = _sky_seen(scene, start[:one], normal[:one], (is_thing | near_feet)[:one], rng)
    open_sky = np.tile(_averaged(sky, is_thing[:one], (grid.height, grid.width)), grid.samples)
    ambient = light.ambient(normal) * (_BOUNCED + (1 - _BOUNCED) * open_sky)[:, None]
    out = albedo * (
        ambient + light.sun_colour.astype(np.float32) * _sun_seen(scene, light, start, normal, hit, rng)[:, None]
    )
    nothing = np.flatnonzero(~hit)
    if len(nothing):
        out[nothing] = light.sky(directions[nothing])
    clear = np.exp(-np.float32(camera.optics.haze) * np.minimum(hits.distance, _HAZE_FAR))[:, None]
    return np.asarray(out * clear + light.haze.astype(np.float32) * (1 - clear), np.float32)


def _sun_seen(
    scene: Scene, light: Light, start: Floats, normal: Floats, where: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """Share [N] of the sun's light on places [N, 3], from one ray to a random point of the sun's disc."""
    out = np.zeros(len(start), np.float32)
    if not light.sun_colour.any():
        return out
    jitter = rng.random((len(start), 3), np.float32) - np.float32(0.5)
    towards = _unit(light.sun.astype(np.float32) + np.float32(2 * light.softness) * jitter)
    facing = np.clip(_dot(normal, towards), 0, 1)
    asked = np.flatnonzero(where & (facing > 0))
    out[asked] = facing[asked] * scene.free(start[asked], towards[asked], _SUN_FAR)
    return out


def _sky_seen(
    scene: Scene, start: Floats, normal: Floats, where: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """1 if the sky is free in one random direction, drawn by the cosine, else 0; 1 also where ``where`` is false."""
    out = np.ones(len(start), np.float32)
    asked = np.flatnonzero(where)
    away = _unit(normal[asked] * np.float32(1.02) + _unit(rng.standard_normal((len(asked), 3), np.float32)))
    out[asked] = scene.free(start[asked], away, _SKY_FAR)
    return out


def develop(
    light: Floats, moving: Floats, grid: Grid, optics: Optics, rng: np.random.Generator,
    *, motion: float, image_size: tuple[int, int],
) -> bytes:  # fmt: skip
    """The bytes of the image's file.

    Args:
        light: [N, 3] linear, from a grid of as many pixels as the sensor has for the box. moving: [N] 1 where the
            light is from somebody who moves.
        motion: how far that person moves sideways while the shutter is open, in pixels of an image 128 high.
        image_size: height and width of the file's image.
    """
    height, width = grid.height, grid.width
    pixels = light.reshape(grid.samples, height, width, 3).mean(axis=0)
    if motion:
        share = moving.reshape(grid.samples, height, width, 1).mean(axis=0)
        reach = max(1, round(motion * height / 128))
        still = _filled(pixels, share) * (1 - _smeared(share, reach))
        pixels = _smeared(pixels * share, reach) + still
    sigma = rng.uniform(*optics.blur) * height / 128
    pixels = blurred(pixels, sigma)
    value = toned(pixels, optics, optics.exposure * metered(pixels) * rng.uniform(0.85, 1.15))
    value = sharpened(value + darkness(value) * noise(rng, optics, (height, width)), optics)
    image = np.asarray(np.clip(np.round(value * 255), 0, 255), np.uint8)
    for _ in range(optics.passes):
        image = simplejpeg.decode_jpeg(encode_jpeg(image, round(rng.uniform(*optics.quality))))
    if image.shape[:2] != image_size:
        how = Image.Resampling.BICUBIC if optics.smooth else Image.Resampling.BILINEAR
        image = np.asarray(Image.fromarray(image).resize(image_size[::-1], how))
    return encode_jpeg(image, optics.last_quality)


def blurred(pixels: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """An image [H, W, n] out of focus by a standard deviation in pixels."""
    return _blur(_blur(pixels, sigma, 0), sigma, 1)


def metered(pixels: NDArray[np.floating]) -> float:
    """The exposure that a camera chooses for linear light: it compensates for half of the light that it measures."""
    return float(np.clip(np.sqrt(_METERED / max(float(pixels.mean()), 1e-3)), 0.6, 2.0))


def toned(pixels: NDArray[np.floating], optics: Optics, exposure: float) -> NDArray[np.floating]:
    """The camera's values in about [0, 1] for linear light [H, W, 3]. ``exposure``: 1 is neutral."""
    return _tones(pixels * optics.gain * exposure, optics)


def noise(rng: np.random.Generator, optics: Optics, size: tuple[int, int]) -> NDArray[np.floating]:
    """The sensor's noise [H, W, 3] for places where :func:`darkness` is 1."""
    grain = rng.normal(0, optics.noise / 255, (*size, 1))
    speckle = _blur(rng.normal(0, optics.speckle * optics.noise / 255, (*size, 3)), 0.6, 1)
    return np.asarray(grain + 1.5 * speckle)


def darkness(value: NDArray[np.floating]) -> NDArray[np.floating]:
    """How strong noise is, [H, W, 1], in a picture of values [H, W, 3]."""
    return np.asarray(np.sqrt(np.clip(1.25 - value.mean(axis=-1, keepdims=True), 0.25, 1)))


def sharpened(value: NDArray[np.floating], optics: Optics) -> NDArray[np.floating]:
    """A picture with the halo that the camera's sharpening leaves around edges."""
    return value + optics.sharpening * (value - blurred(value, 1.0)) if optics.sharpening else value


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes with halved chroma, as cameras write them."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420"))


def _attributes(scene: Scene, hits: Hits, directions: Floats) -> tuple[Floats, Floats]:
    """Linear albedo [N, 3] and the unit normal [N, 3] towards the camera, where each ray hits."""
    albedo = np.zeros((len(directions), 3), np.float32)
    normal = np.zeros((len(directions), 3), np.float32)
    normal[:, 2] = 1
    for number, mesh in enumerate(scene.meshes):
        where = np.flatnonzero(hits.mesh == number)
        if not len(where):
            continue
        face = hits.face[where]
        u, v = hits.uv[where].T
        corners = [(mesh.faces[face, k], share[:, None]) for k, share in enumerate((u, v, 1 - u - v))]
        coords = sum(mesh.coords[corner] * share for corner, share in corners)
        normal[where] = sum(mesh.normals[corner] * share for corner, share in corners)
        surface = mesh.surface[face]
        for one in np.unique(surface):
            of_it = np.flatnonzero(surface == one)
            albedo[where[of_it]] = mesh.surfaces[one](coords[of_it])
    normal = _unit(normal)
    normal *= np.where(_dot(normal, directions) > 0, np.float32(-1), np.float32(1))[:, None]
    return np.square(np.clip(albedo, 0.01, 1)), normal  # a gamma of 2 is close enough, and fast


def _dot(a: Floats, b: Floats) -> Floats:
    """Products [N] of vectors [N, 3]."""
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2], np.float32)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.sqrt(_dot(vectors, vectors)), np.float32(1e-9))[:, None], np.float32)


def _averaged(values: Floats, group: NDArray[np.bool_], shape: tuple[int, int]) -> Floats:
    """For each pixel the mean of values [H·W] over the 5×5 pixels around it that belong to the same group."""
    result = np.zeros_like(values)
    for mask in (group, ~group):
        member = mask.astype(np.float32).reshape(shape)
        mean = _box(values.reshape(shape) * member) / np.maximum(_box(member), np.float32(1))
        result += mean.ravel() * mask
    return result


def _box(pixels: Floats) -> Floats:
    """Sum over 5×5 pixels."""
    height, width = pixels.shape
    padded = np.pad(pixels, 2)
    rows = sum((padded[k : k + height] for k in range(1, 5)), start=padded[:height])
    return np.asarray(sum((rows[:, k : k + width] for k in range(1, 5)), start=rows[:, :width]), np.float32)


def _tones(light: NDArray[np.floating], optics: Optics) -> NDArray[np.floating]:
    """The camera's tone curve: values in about [0, 1] from linear light."""
    value = np.sqrt(np.clip(light, 0, 1.6)) ** optics.gamma
    value = np.where(value > 0.75, 0.75 + 0.25 * np.tanh((value - 0.75) / 0.25), value)  # highlights roll off
    value = 0.4 + (value - 0.4) * optics.contrast
    grey = value @ np.array([0.299, 0.587, 0.114])
    return np.asarray(grey[..., None] + (value - grey[..., None]) * optics.saturation)


def _smeared(pixels: NDArray[np.floating], reach: int) -> NDArray[np.floating]:
    """Mean over ``reach`` + 1 places along the rows."""
    padded = np.pad(pixels, [(0, 0), (reach // 2, reach - reach // 2), (0, 0)], mode="edge")
    width = pixels.shape[1]
    return np.asarray(sum(padded[:, k : k + width] for k in range(reach + 1)) / (reach + 1))


def _filled(pixels: NDArray[np.floating], moving: NDArray[np.floating]) -> NDArray[np.floating]:
    """The picture with moving pixels replaced by the mean of the other pixels in their row."""
    still = 1 - moving
    mean = (pixels * still).sum(axis=1, keepdims=True) / np.maximum(still.sum(axis=1, keepdims=True), 1e-3)
    return np.asarray(pixels * still + mean * moving)


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
