"""Panoramas as light and background: equirectangular images of radiance, from a folder of the user's.

Radiance files (.hdr) are read here, OpenEXR's (.exr) by the library OpenEXR. ``.exr.js`` is an OpenEXR file in base64
within a JavaScript module, as the npm package ``@pmndrs/assets`` brings Poly Haven's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.readers.common import LeftOutWarning
from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.light import Light, harmonics_of, map_directions
from partreid.errors import DataError, needs_extra

SUFFIXES = (".exr", ".exr.js", ".hdr")
_MOST_BYTES = 512 * 2**20
_MOST_PIXELS = 8192 * 4096
_KEPT_ROWS = 1024
"""Higher panoramas are reduced to this number of rows, at which a person at ten metres covers 55."""
_LIT_ROWS = 64
"""Height of the map that the light is computed from."""
_GREY = np.array([0.2126, 0.7152, 0.0722])
_SUN_RADIUS = 0.10
"""Greatest radius of the sun around the brightest place in radians."""
_SUN_SHARE = 0.12
"""Least share of a level surface's light that comes from the brightest place if that place is a sun."""
_BALANCED = 0.7
"""Share of the light's tint that the camera's white balance removes: 1 would be all."""
_WHITE = 1.2
"""Mean light on upright and level white surfaces after scaling, because panoramas have no common unit."""


@dataclass(frozen=True)
class PanoramaFile:
    """A panorama's file, and the SHA-256 of its bytes."""

    path: Path
    sha256: str


def find_panoramas(folder: str | Path) -> list[PanoramaFile]:
    """The panoramas in a folder, by name; other files are ignored with a warning.

    Raises:
        DataError: the folder is missing, holds no panorama, or a file cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"Panoramas: {folder} is no folder. Give a folder with {', '.join(SUFFIXES)} files.")
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    chosen = [p for p in files if p.name.lower().endswith(SUFFIXES)]
    if not chosen:
        raise DataError(
            f"Panoramas: {folder} holds no {', '.join(SUFFIXES)} file. Poly Haven has such panoramas (CC0)."
        )
    others = [p.name for p in files if p not in chosen]
    if others:
        first = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        warnings.warn(f"Panoramas: ignored in {folder}: {first}.", LeftOutWarning, stacklevel=2)
    return [PanoramaFile(p, hashlib.sha256(_bytes_of(p)).hexdigest()) for p in chosen]


def read_panorama(path: Path) -> Floats:
    """Linear radiance [h, w, 3] of an equirectangular panorama, at most 1024 rows.

    Raises:
        DataError: the file is damaged, too large, no panorama, or black.
        MissingDependencyError: the file is in OpenEXR's format, and OpenEXR is not installed.
    """
    content = _bytes_of(path)
    name = path.name.lower()
    if name.endswith(".exr.js"):
        found = re.search(rb"base64,([A-Za-z0-9+/=]+)", content)
        try:
            content = base64.b64decode(found[1], validate=True) if found else b""
        except binascii.Error as error:
            raise DataError(f"Panorama {path}: its base64 is damaged ({error}).") from None
    pixels = _radiance_picture(content, path) if name.endswith(".hdr") else _exr(content, path)
    if np.isnan(pixels).any():
        raise DataError(f"Panorama {path} holds values that are no numbers (NaN).")
    # The sun may be beyond what half floats hold.
    pixels = np.clip(pixels, 0, 65504).astype(np.float32)
    if not pixels.max() > 0:
        raise DataError(f"Panorama {path} is black.")
    return _reduced(pixels, _KEPT_ROWS)


def light_of(panorama: Floats, heading: float) -> tuple[Light, Floats]:
    """The light under a panorama, for a camera that looks to ``heading`` (radians, clockwise).

    The brightest region becomes the sun, if it is strong enough.

    Returns:
        The light, and the panorama [h, w, 3], turned to that heading and in the light's units.
    """
    turned = np.roll(panorama, -round(heading / (2 * np.pi) * panorama.shape[1]), axis=1)
    small = _reduced(turned, _LIT_ROWS).astype(float)
    ambient, sun, colour, softness = _without_sun(small)
    harmonics = harmonics_of(ambient)
    mean = _mean_light(harmonics, sun, colour)
    scale = _WHITE / float(mean @ _GREY) * (float(mean @ _GREY) / mean) ** _BALANCED
    turned = turned * scale.astype(np.float32)
    rows = len(small)
    horizon = (ambient[int(0.42 * rows) : int(0.52 * rows)] * scale).mean(axis=(0, 1))
    light = Light(
        harmonics=(harmonics * scale).astype(np.float32),
        sun=sun,
        sun_colour=np.minimum(colour * scale, 2.5).astype(float),
        softness=softness,
        sky=lambda rays: look_up(turned, rays),
        haze=np.minimum(0.6 * float(horizon @ _GREY) + 0.4 * horizon, 0.7),
    )
    return light, turned


def look_up(panorama: Floats, directions: Floats) -> Floats:
    """Radiance [N, 3] along unit directions [N, 3], interpolated between pixels."""
    height, width = panorama.shape[:2]
    azimuth = np.arctan2(directions[:, 0], directions[:, 1]) / np.float32(2 * np.pi)
    u = (azimuth % 1) * width - 0.5
    v = np.clip(np.arccos(np.clip(directions[:, 2], -1, 1)) / np.float32(np.pi) * height - 0.5, 0, height - 1.001)
    left, top = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    x, y = (u - left).astype(np.float32)[:, None], (v - top).astype(np.float32)[:, None]
    a, b = left % width, (left + 1) % width
    below = np.minimum(top + 1, height - 1)
    upper = panorama[top, a] * (1 - x) + panorama[top, b] * x
    lower = panorama[below, a] * (1 - x) + panorama[below, b] * x
    return np.asarray(upper * (1 - y) + lower * y, np.float32)


def _without_sun(
    radiance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """The map without its sun, the unit vector to the sun, its colour (0 without one), and its radius in radians."""
    directions, solid_angle = map_directions(*radiance.shape[:2])
    grey = radiance @ _GREY
    upper = np.where(directions[..., 2] > 0.08, grey, 0)
    peak = directions[np.unravel_index(int(upper.argmax()), upper.shape)]
    near = (directions @ peak > np.cos(_SUN_RADIUS)) & (upper > 0.15 * upper.max())
    around = np.median(radiance[(directions @ peak > np.cos(3 * _SUN_RADIUS)) & ~near], axis=0)
    extra = np.maximum(radiance - around, 0) * (near * solid_angle)[..., None]
    colour = extra.sum(axis=(0, 1)) / np.pi
    weight = extra @ _GREY
    level = float((np.maximum(directions[..., 2], 0) * grey * solid_angle).sum() / np.pi)
    if float(colour @ _GREY) * peak[2] < _SUN_SHARE * level:
        return radiance, np.array([0.0, 0.0, 1.0]), np.zeros(3), 0.3
    sun = (directions * weight[..., None]).sum(axis=(0, 1))
    sun /= np.linalg.norm(sun)
    spread = float(np.sqrt((weight * (1 - (directions @ sun))).sum() / weight.sum() * 2))
    return np.where(near[..., None], np.minimum(radiance, around), radiance), sun, colour, max(spread, 0.02)


def _mean_light(harmonics: Floats, sun: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean colour [3] of white surfaces that face up, to the four sides, and halfway between up and each side."""
    sides = [(0, 0, 1.0), *((np.cos(a), np.sin(a), z) for a in np.arange(4) * np.pi / 2 for z in (0.0, 1.0))]
    normals = np.array(sides) / np.linalg.norm(sides, axis=1, keepdims=True)
    light = Light(harmonics, sun, colour, 0.0, lambda rays: rays, np.zeros(3)).ambient(normals.astype(np.float32))
    sunny = np.clip(normals @ sun, 0, 1)[:, None] * colour
    return np.asarray((light + sunny).mean(axis=0), np.float64)


def _reduced(pixels: Floats, rows: int) -> Floats:
    """The means over square blocks, so that about ``rows`` rows remain."""
    step = len(pixels) // rows
    if step < 2:
        return pixels
    height, width = len(pixels) // step, pixels.shape[1] // step
    blocks = pixels[: height * step, : width * step].reshape(height, step, width, step, 3)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _bytes_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise DataError(f"Panorama {path} has {size:,} bytes; at most {_MOST_BYTES:,} are read.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Panorama {path} cannot be read: {error.strerror or error}.") from None


def _check_size(height: int, width: int, path: Path) -> None:
    if height < 32 or width != 2 * height:
        raise DataError(
            f"Panorama {path} is {width}×{height}; one of the whole sphere is twice as wide as high, at least 64×32."
        )
    if height * width > _MOST_PIXELS:
        raise DataError(f"Panorama {path} is {width}×{height}; at most 8192×4096 is read. Take a smaller version.")


def _exr(content: bytes, path: Path) -> Floats:
    with needs_extra("synth", "Reading OpenEXR panoramas"):
        import OpenEXR
    try:
        with OpenEXR.File(io.BytesIO(content), header_only=True) as file:
            low, high = file.header()["dataWindow"]
        width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
        _check_size(height, width, path)
        with OpenEXR.File(io.BytesIO(content), num_threads=0) as file:
            channels = file.channels()
            pixels = next((channels[name].pixels for name in ("RGB", "RGBA") if name in channels), None)
    except (RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"Panorama {path} is no OpenEXR file, or damaged: {error}.") from None
    if pixels is None:
        raise DataError(f"Panorama {path} has the channels {', '.join(channels)}; red, green and blue are needed.")
    return np.asarray(pixels[..., :3], np.float32)


def _radiance_picture(content: bytes, path: Path) -> Floats:
    """G. Ward's format, as Radiance writes it: a head of lines, then rows of runs of (r, g, b, exponent)."""
    head = re.match(rb"#\?[^\n]*\n(?:[^\n]+\n)*\n-Y (\d{1,6}) \+X (\d{1,6})\n", content[:4096])
    if head is None:
        raise DataError(f"Panorama {path} is no Radiance file whose rows go down and to the right.")
    height, width = int(head[1]), int(head[2])
    _check_size(height, width, path)
    values = np.zeros((height, 4, width), np.uint8)
    at = head.end()
    for row in values:
        if content[at : at + 4] != bytes([2, 2, width >> 8, width & 255]):
            raise DataError(f"Panorama {path} is damaged, or its rows are not run-length encoded.")
        at += 4
        for channel in row:
            at = _runs(content, at, channel, path)
    mantissa, exponent = values[:, :3].transpose(0, 2, 1), values[:, 3].astype(np.int32)
    return np.ldexp(mantissa.astype(np.float32), (exponent - 136)[..., None]).astype(np.float32)


def _runs(content: bytes, at: int, out: NDArray[np.uint8], path: Path) -> int:
    """Fill one row of one channel; returns where the next one begins."""
    x = 0
    while x < len(out):
        count = content[at] if at < len(content) else 0
        is_run = count > 128
        count = count - 128 if is_run else count
        taken = content[at + 1 : at + 2] * count if is_run else content[at + 1 : at + 1 + count]
        if not count or len(taken) != count or x + count > len(out):
            raise DataError(f"Panorama {path} is damaged: a run of its pixels ends outside its row.")
        out[x : x + count] = np.frombuffer(taken, np.uint8)
        x, at = x + count, at + (2 if is_run else 1 + count)
    return at
