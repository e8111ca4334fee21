"""The operations of network files as plain functions of tensors.

A value is a tensor, a number or a list of numbers, because network files also compute with plain numbers
(``file_numbers.py``). All functions stand at module level, so that a network made of them can be copied and pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Value: TypeAlias = Any
"""A tensor, a number or a list of numbers."""

Pads: TypeAlias = tuple[int, ...] | str
"""Rows and columns added around an image: (top, left, bottom, right). Or "upper" or "lower": as many as give the size
⌈size/stride⌉; an odd row or column is added after ("upper") or before ("lower") the image."""

SAME_SIZE: frozenset[Callable[..., Value]] = frozenset(
    {torch.relu, torch.sigmoid, torch.tanh, torch.erf, torch.exp, torch.log, torch.sqrt, torch.abs, torch.reciprocal,
     F.hardswish, F.hardsigmoid, F.mish, F.softplus}
)  # fmt: skip
"""Functions whose result has the size of their operand."""

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d}
_MAXIMA: dict[int, Callable[..., Tensor]] = {3: F.max_pool1d, 4: F.max_pool2d}
_MEANS: dict[int, Callable[..., Tensor]] = {3: F.avg_pool1d, 4: F.avg_pool2d}


def _chosen(functions: dict[int, Callable[..., Tensor]], x: Tensor) -> Callable[..., Tensor]:
    if x.ndim not in functions:
        raise ValueError(f"expected 3 or 4 dimensions, got a value of {x.ndim}")
    return functions[x.ndim]


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
    """A 1-d or 2-d convolution; empty strides and dilations are 1, empty pads are 0."""
    if (
        not isinstance(pads, str)
        and not any(pads)
        and x.shape[2:] == weight.shape[2:]
        and x.shape[1] == groups == len(weight)
    ):
        # One kernel per channel, as large as the map, is a weighted sum. A convolution would be many times slower.
        total = (x * weight.transpose(0, 1)).sum(dim=tuple(range(2, x.ndim)), keepdim=True)
        return total if bias is None else total + bias.view(-1, *(1,) * (x.ndim - 2))
    function = _chosen(_CONVOLUTIONS, x)
    ones = (1,) * (x.ndim - 2)
    stride, dilation = tuple(stride) or ones, tuple(dilation) or ones
    x, padding = _padded(x, _explicit(x, pads, weight.shape[2:], stride, dilation))
    return function(x, weight, bias, stride, padding, dilation, groups)


def grouped_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, **how: Any) -> Tensor:
    """A convolution whose weights [G, O, I, ...] have an axis of groups."""
    return convolution(x, weight.flatten(0, 1), bias, groups=weight.shape[0], **how)


def _explicit(
    x: Tensor, pads: Pads, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Padding in numbers."""
    if not isinstance(pads, str):
        if len(pads) not in (0, 2 * len(x.shape[2:])):
            raise ValueError(f"padding of {len(pads)} numbers for {x.ndim} dimensions")
        return pads or (0, 0) * (x.ndim - 2)
    before, after = [], []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        whole = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        less, more = whole // 2, whole - whole // 2
        before.append(less if pads == "upper" else more)
        after.append(more if pads == "upper" else less)
    return (*before, *after)


def _padded(x: Tensor, pads: tuple[int, ...], value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
    """The map, and the padding that the operation does itself. Unequal padding is applied to the map at once."""
    half = len(pads) // 2
    before, after = pads[:half], pads[half:]
    if before == after:
        return x, before
    return F.pad(x, sides(before, after), value=value), (0,) * half


def sides(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Padding in PyTorch's order: from the last axis to the first, before and after."""
    return [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]


def _is_whole(x: Tensor, kernel: Sequence[int], stride: Sequence[int], pads: tuple[int, ...]) -> bool:
    """Whether windows end where the padded map ends, so that rounding up or down is the same."""
    half = len(pads) // 2
    spans = [size + pads[i] + pads[half + i] - kernel[i] for i, size in enumerate(x.shape[2:])]
    return all(span % s == 0 for span, s in zip(spans, stride, strict=True))


def max_pool(
    x: Tensor,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int] = (),
    ceil: bool = False,
) -> Tensor:
    """The largest value under a window.

    Raises:
        ValueError: rounding up adds a window that only covers padding, or a dilated window has padding. Programs give
            different results in these cases.
    """
    function = _chosen(_MAXIMA, x)
    ones = (1,) * (x.ndim - 2)
    stride, dilation = tuple(stride) or ones, tuple(dilation) or ones
    if isinstance(pads, str) and set(dilation) != {1}:
        raise ValueError("a dilated window that pads itself is not supported")
    pads = _explicit(x, pads, kernel, stride, dilation)
    half = len(pads) // 2
    spread = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    ceil = ceil and not _is_whole(x, spread, stride, pads)
    if ceil:
        for i, size in enumerate(x.shape[2:]):
            last = -(-(size + pads[i] + pads[half + i] - spread[i]) // stride[i]) * stride[i]
            if last >= size + pads[i]:
                raise ValueError("its last window, from rounding up, lies in the padding alone")
    if pads[:half] == pads[half:] and all(2 * p <= k for p, k in zip(pads, kernel, strict=False)):
        return function(x, tuple(kernel), tuple(stride), pads[:half], tuple(dilation), ceil_mode=ceil)
    x = F.pad(x, sides(pads[:half], pads[half:]), value=float("-inf"))
    return function(x, tuple(kernel), tuple(stride), 0, tuple(dilation), ceil_mode=ceil)


def average_pool(
    x: Tensor, *, kernel: Sequence[int], stride: Sequence[int], pads: Pads, ceil: bool = False, count_pads: bool = False
) -> Tensor:
    """The mean under a window; padding counts as zeros only with ``count_pads``.

    Raises:
        ValueError: rounding up adds a window that is not full. Programs give different means for it.
    """
    function = _chosen(_MEANS, x)
    stride = tuple(stride) or (1,) * (x.ndim - 2)
    pads = _explicit(x, pads, kernel, stride, (1,) * len(kernel))
    if ceil and not _is_whole(x, kernel, stride, pads):
        raise ValueError("its last window, from rounding up, is not full")
    half = len(pads) // 2
    window = (tuple(kernel), tuple(stride))
    if pads[:half] == pads[half:] and all(2 * p <= k for p, k in zip(pads, kernel, strict=False)):
        return function(x, *window, pads[:half], count_include_pad=count_pads)
    around = sides(pads[:half], pads[half:])
    mean = function(F.pad(x, around), *window)
    return mean if count_pads else mean / function(F.pad(x.new_ones(1, 1, *x.shape[2:]), around), *window)


def global_mean(x: Tensor) -> Tensor:
    """The mean of every channel."""
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_max(x: Tensor) -> Tensor:
    """The largest value of every channel."""
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def reduce(x: Tensor, axes: int | list[int] | None = None, *, how: str, keep: bool) -> Tensor:
    """One number of each slice along axes, None = all of them: ``how`` is "mean", "sum", "amax", "amin" or "norm"."""
    dim = tuple(range(x.ndim)) if axes is None else tuple(axes if isinstance(axes, list) else [axes])
    if not dim:
        raise ValueError("it names no axes")
    if how == "norm":
        length: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=keep)
        return length
    answer: Tensor = getattr(x, how)(dim=dim, keepdim=keep)
    return answer


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    """Batch normalisation by stored statistics. They do not change, in training either.

    Raises:
        ValueError: there is not one statistic per channel.
    """
    if any(one.shape != x.shape[1:2] for one in (weight, bias, mean, variance)):
        raise ValueError(
            f"expected {x.shape[1]} numbers each, got {[list(o.shape) for o in (weight, bias, mean, variance)]}"
        )
    return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)


def instance_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    axes: Sequence[int] | None = None,
    eps: float,
) -> Tensor:
    """Normalise each channel of each image to mean 0 and deviation 1. Then scale and shift by [C] each, if given.

    Args:
        axes: over which mean and deviation are taken; None = all axes after the channels.
    """
    dim = tuple(range(2, x.ndim)) if axes is None else tuple(axes)
    if not dim:
        raise ValueError("it names no axes")
    variance, mean = torch.var_mean(x, dim=dim, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    tail = [1] * (x.ndim - 2)
    if weight is not None:
        scale = scale * weight.view(-1, *tail)
    shift = -mean * scale if bias is None else bias.view(-1, *tail) - mean * scale
    return torch.addcmul(shift, x, scale)


def mean_variance_norm(x: Tensor, axes: int | list[int], *affine: Tensor, eps: float) -> Tensor:
    """:func:`instance_norm` in OpenVINO's form, where the axes are an input."""
    if affine and x.ndim != 4:
        raise ValueError(f"expected a map, got a value of {x.ndim} dimensions")
    return instance_norm(x, *affine, axes=axes if isinstance(axes, list) else [axes], eps=eps)


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, eps: float, by_group: bool = False) -> Tensor:
    """Normalise groups of channels to mean 0 and deviation 1. Scale and shift have a number per channel or group."""
    if by_group:
        each = x.shape[1] // groups
        weight, bias = weight.repeat_interleave(each), bias.repeat_interleave(each)
    if x.ndim < 3 or weight.shape != x.shape[1:2] or bias.shape != weight.shape:
        raise ValueError(f"expected {x.shape[1]} numbers each, got {list(weight.shape)} and {list(bias.shape)}")
    return F.group_norm(x, groups, weight, bias, eps)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, axis: int, eps: float) -> Tensor:
    """Normalise all axes from ``axis`` on together to mean 0 and deviation 1."""
    return F.layer_norm(x, x.shape[axis:], weight, bias, eps)


def normalize_l2(x: Tensor, axes: int | list[int], *, eps: float, largest: bool) -> Tensor:
    """Divide by the length. eps is added to the squared length, or with ``largest`` is its lower limit."""
    squares = x.square().sum(dim=tuple(axes if isinstance(axes, list) else [axes]), keepdim=True)
    return x / torch.sqrt(squares.clamp_min(eps) if largest else squares + eps)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x if it is positive, else slope·x. The slope is one number, or one per channel.

    Raises:
        ValueError: the slope has another shape, for example one number per pixel.
    """
    flat = slope.numel() == 1 or (slope.ndim == x.ndim - 1 and slope.shape[0] == slope.numel())
    behind = slope.ndim == x.ndim and slope.shape[1] == slope.numel()
    if not (flat or behind) or slope.numel() not in (1, x.shape[1]):
        raise ValueError(f"a slope of the shape {tuple(slope.shape)} is not supported, only one of each channel")
    return F.prelu(x, slope.flatten())


def channel_prelu(x: Tensor, slope: Tensor) -> Tensor:
    """:func:`prelu` in OpenVINO's form, where a list of slopes has one per channel."""
    return prelu(x, slope.view(1, -1, *[1] * (x.ndim - 2)) if slope.ndim == 1 and x.ndim > 1 else slope)


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha·x + beta, limited to 0..1."""
    return torch.clamp(x * alpha + beta, 0, 1)


def swish(x: Tensor, beta: float = 1.0) -> Tensor:
    """x·sigmoid(beta·x)."""
    return F.silu(x) if beta == 1.0 else x * torch.sigmoid(x * beta)


def softmax(x: Tensor, *, axis: int) -> Tensor:
    """Along one axis."""
    x.size(axis)  # fails if there is no such axis, even before anything is computed
    return x.softmax(axis)


def softmax_of_rest(x: Tensor, *, axis: int) -> Tensor:
    """Softmax over all axes from ``axis`` on together, as in ONNX before operation set 13."""
    return x.flatten(axis).softmax(-1).view(x.shape)


def matmul(a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """a·b, each transposed first if asked."""
    a = a.transpose(-1, -2) if transpose_a else a
    return torch.matmul(a, b.transpose(-1, -2) if transpose_b else b)


def gemm(
    a: Tensor, b: Tensor, c: Tensor | float | None = None, *, alpha: float, beta: float, trans_a: bool, trans_b: bool
) -> Tensor:
    """alpha·a·b + beta·c, of matrices."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"expected two matrices, got {a.ndim} and {b.ndim} dimensions")
    product = matmul(a, b, transpose_a=trans_a, transpose_b=trans_b)
    product = product if alpha == 1 else product * alpha
    if c is None:
        return product
    return product + (c if beta == 1 else c * beta)


def flatten_from(x: Tensor, *, axis: int) -> Tensor:
    """Reshape to a matrix: the axes before ``axis``, and the others."""
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))
