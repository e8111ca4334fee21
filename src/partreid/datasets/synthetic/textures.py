"""Procedural colour: noise and the patterns of cloth, ground and walls, as functions of places on a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Cloth:
    """A fabric. Colours are sRGB in [0, 1]; ``scale`` is the pattern's period in metres."""

    colour: tuple[float, float, float]
    second: tuple[float, float, float]
    pattern: str = "plain"
    scale: float = 0.08

    def at(self, u: Array, v: Array, front: NDArray[np.bool_]) -> Array:
        """Colour [N, 3] at places u around the body and v upwards (metres); ``front`` marks the wearer's front."""
        share = np.clip(_share(self, u, v, front), 0, 1)[:, None]
        folds = 1 + 0.16 * (noise(u * 14, v * 9) - 0.5) + 0.08 * (noise(u * 40, v * 31) - 0.5)
        mix = np.asarray(self.colour, np.float32) * (1 - share) + np.asarray(self.second, np.float32) * share
        return np.asarray(mix * folds[:, None], np.float32)


def _share(cloth: Cloth, u: Array, v: Array, front: NDArray[np.bool_]) -> NDArray[np.floating]:
    """How much of the second colour [N] there is."""
    s = cloth.scale
    share: NDArray[np.generic] = np.zeros(len(u), np.float32)
    match cloth.pattern:
        case "stripes":
            share = _wave(v / s)
        case "pinstripes":
            share = np.asarray((u / (0.35 * s)) % 1 < 0.25, np.float32) * np.float32(0.6)
        case "checks":
            share = 0.5 * _wave(v / s) + 0.5 * _wave(u / s)
        case "block":
            share = v > 0.30
        case "logo":
            share = front & (np.abs(u) < 1.1 * s) & (np.abs(v - 0.34) < s)
        case "gradient":
            share = (v + 0.1) / 0.6
        case "camouflage":
            share = noise(u / s, v / s) > 0.5
        case "dots":
            share = np.hypot((u / s) % 1 - 0.5, (v / s) % 1 - 0.5) < 0.3
    return share.astype(np.float32)


def _wave(x: Array) -> Array:
    return np.asarray((x % 1) < 0.5, np.float32)


def noise(u: Array, v: Array) -> Array:
    """Smooth value noise in [0, 1] with period 1 between lattice values, the same for the same place."""
    iu, iv = np.floor(u), np.floor(v)
    fu, fv = (u - iu).astype(np.float32), (v - iv).astype(np.float32)
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    a, b = iu.astype(np.int64), iv.astype(np.int64)
    low = hash01(a, b) * (1 - fu) + hash01(a + 1, b) * fu
    high = hash01(a, b + 1) * (1 - fu) + hash01(a + 1, b + 1) * fu
    return np.asarray(low * (1 - fv) + high * fv, np.float32)


def hash01(a: NDArray[np.int64], b: NDArray[np.int64]) -> Array:
    """A number in [0, 1) for each pair of integers."""
    x = (a.astype(np.uint32) * np.uint32(374761393)) ^ (b.astype(np.uint32) * np.uint32(668265263))
    x = (x ^ (x >> np.uint32(13))) * np.uint32(1274126177)
    x ^= x >> np.uint32(16)
    return np.asarray((x & np.uint32(0xFFFF)).astype(np.float32) / np.float32(65536))
