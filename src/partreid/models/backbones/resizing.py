"""Operations of network files that pad or resize a map. Cases in which programs differ are refused."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.models.backbones.operations import sides

LARGEST_SIDE = 2**16
"""Largest side of a map after resizing."""


def pad(x: Tensor, before: Sequence[int], after: Sequence[int], value: float | None = None, *, mode: str) -> Tensor:
    """Padding on every axis: "constant", "reflect" or "replicate".

    Raises:
        ValueError: "reflect" or "replicate" would pad another axis than height and width, or remove cells.
    """
    if len(before) != x.ndim or len(after) != x.ndim:
        raise ValueError(f"expected padding for {x.ndim} axes, got {len(before)} and {len(after)} numbers")
    if mode == "constant":
        return F.pad(x, sides(before, after), value=value or 0.0)
    if any((*before[:-2], *after[:-2])) or min((*before, *after)) < 0 or x.ndim not in (3, 4):
        raise ValueError(f"padding by {mode} is supported for height and width only, and not below 0")
    return F.pad(x, sides(before[-2:], after[-2:]), mode=mode)


def scaled(x: Tensor, scales: Sequence[float], *, exactly: bool) -> list[int]:
    """Height and width times these factors.

    Raises:
        ValueError: a factor does not give whole numbers. Programs then place cells differently.
    """
    told = [int(size) * scale for size, scale in zip(x.shape[2:], scales, strict=True)]
    if not all(0 < one <= LARGEST_SIDE for one in told):
        raise ValueError(f"height and width times {list(scales)}; at most {LARGEST_SIDE} is allowed")
    if any(one - floor(one) > (0 if exactly else 1e-4) for one in told):
        raise ValueError(f"height and width times {list(scales)} are no whole numbers, which is not supported")
    return [floor(one) for one in told]


def resize(x: Tensor, size: Sequence[int], *, mode: str, coordinates: str, nearest: str = "") -> Tensor:
    """Height and width become ``size``.

    Args:
        mode: "nearest" or "linear". coordinates: half_pixel, pytorch_half_pixel, align_corners or asymmetric.
        nearest: round_prefer_floor, round_prefer_ceil, floor or ceil.

    Raises:
        ValueError: this combination cannot be computed exactly here.
    """
    if x.ndim != 4 or len(size) != 2 or min(size) < 1:
        raise ValueError(f"expected a map and a height and width, got {x.ndim} dimensions and {list(size)}")
    if max(size) > LARGEST_SIDE:
        raise ValueError(f"a height or width of {max(size)}; at most {LARGEST_SIDE} is allowed")
    if mode == "linear":
        if coordinates == "pytorch_half_pixel" and min(size) == 1:
            raise ValueError("to height or width 1 in pytorch_half_pixel is not supported")
        return F.interpolate(x, tuple(size), mode="bilinear", align_corners=coordinates == "align_corners")
    for axis, after in zip((2, 3), size, strict=True):
        before = int(x.shape[axis])
        if before != after:
            up, down = after % before == 0, before % after == 0 and (before // after).bit_count() == 1
            if not up and not down:  # there, rounding decides
                raise ValueError(f"from {before} to {after} cells by the nearest is not supported")
            places = [_nearest(i, before, after, coordinates, nearest) for i in range(after)]
            x = x.index_select(axis, torch.tensor(places, device=x.device))
    return x


def _nearest(place: int, before: int, after: int, coordinates: str, nearest: str) -> int:
    """Which of ``before`` cells is copied to the cell ``place`` of ``after`` cells."""
    if coordinates == "align_corners":
        at = place * (before - 1) / (after - 1) if after > 1 else 0.0
    elif coordinates == "asymmetric":
        at = place * before / after
    elif coordinates == "pytorch_half_pixel" and after == 1:
        at = 0.0
    else:
        at = (place + 0.5) * before / after - 0.5
    rounded = {"floor": floor(at), "ceil": ceil(at), "round_prefer_floor": ceil(at - 0.5)}
    return min(max(rounded.get(nearest, floor(at + 0.5)), 0), before - 1)
