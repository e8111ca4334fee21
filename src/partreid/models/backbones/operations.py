"""What the operations of network files compute: plain functions of tensors, and of sizes, which are lists of whole numbers.

A value is a tensor, or what a network file reckons with besides: a whole number, or a list of them (shapes, axes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Value: TypeAlias = Any
"""A tensor, a whole number or a list of whole numbers."""

Pads: TypeAlias = tuple[int, ...]
"""Rows and columns added around an image: (top, left, bottom, right)."""

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d}


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
    groups: int = 1,
) -> Tensor:
    """A 1-d or 2-d convolution."""
    x, padding = padded(x, pads)
    return _CONVOLUTIONS[x.ndim](x, weight, bias, tuple(stride), padding, tuple(dilation), groups)


def padded(x: Tensor, pads: Pads, value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
    """The map and the padding that is left for the operation itself; what is not the same on both sides is added here."""
    half = len(pads) // 2
    before, after = pads[:half], pads[half:]
    if before == after:
        return x, tuple(before)
    sides = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return F.pad(x, sides, value=value), (0,) * half


def max_pool(x: Tensor, *, kernel: Sequence[int], stride: Sequence[int], pads: Pads, ceil: bool = False) -> Tensor:
    """The largest value under a window."""
    x, padding = padded(x, pads, value=float("-inf"))
    return F.max_pool2d(x, tuple(kernel), tuple(stride), padding, ceil_mode=ceil)


def average_pool(
    x: Tensor, *, kernel: Sequence[int], stride: Sequence[int], pads: Pads, ceil: bool = False, count_pads: bool = False
) -> Tensor:
    """The mean under a window; padding counts as zeros only with ``count_pads``."""
    padding = tuple(pads[: len(pads) // 2])
    return F.avg_pool2d(x, tuple(kernel), tuple(stride), padding, ceil_mode=ceil, count_include_pad=count_pads)


def instance_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, axes: Sequence[int] = (2, 3), eps: float
) -> Tensor:
    """Every image and channel by itself to mean 0 and deviation 1; then scaled and shifted, by [C] each, if given."""
    variance, mean = torch.var_mean(x, dim=tuple(axes), correction=0, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight.view(-1, 1, 1)
    shift = -mean * scale if bias is None else bias.view(-1, 1, 1) - mean * scale
    return torch.addcmul(shift, x, scale)


def reshape(x: Value, shape: Sequence[int], *, zero_copies: bool = True) -> Value:
    """A tensor in another shape, for any number of images.

    Files that were made for one image often say so: a leading 1 that is the number of images follows ``x`` here.
    """
    shape = [x.shape[i] if size == 0 and zero_copies else size for i, size in enumerate(shape)]
    if shape and shape[0] == 1 and x.shape[0] != 1 and -1 not in shape[1:]:
        shape[0] = x.shape[0]
    elif shape and shape[0] == 1 and x.shape[0] != 1:
        shape[0], shape[shape.index(-1)] = x.shape[0], -1
    return x.reshape(shape)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x where it is positive, else slope·x; the slope stands for all channels or for each, in whatever shape."""
    return F.prelu(x, slope.flatten())


def matmul(a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """a·b, each transposed first if asked."""
    a = a.transpose(-1, -2) if transpose_a else a
    return torch.matmul(a, b.transpose(-1, -2) if transpose_b else b)


def gather(x: Value, index: Value, axis: int | list[int] = 0) -> Value:
    """Entries of a list, or of one axis of a tensor."""
    (axis,) = axis if isinstance(axis, list) else [axis]
    if isinstance(x, Tensor):
        chosen = torch.tensor(index, device=x.device)
        picked = x.index_select(axis, chosen.reshape(-1))
        return picked if chosen.ndim == 1 else picked.squeeze(axis)
    return [x[i] for i in index] if isinstance(index, list) else x[index]


def concat(*values: Value, axis: int) -> Value:
    """Tensors, or lists, one behind the other."""
    if isinstance(values[0], Tensor):
        return torch.cat(values, dim=axis)
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


def shape_of(x: Tensor) -> list[int]:
    """The sizes of a tensor."""
    return list(x.shape)
