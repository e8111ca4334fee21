"""The depthwise convolution that CPUs train quickly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Sides = tuple[int, int]


class DepthwiseConv2d(nn.Conv2d):
    """One kernel per channel: ``nn.Conv2d`` with a faster gradient on CPUs, the same state dict and the same result.

    PyTorch convolves with oneDNN on CPUs. It has a fast gradient of depthwise weights only for kernels at most 3
    columns wide. For 5×5 it uses plain loops, which are 15 times slower and took a fifth of a training step of
    EfficientNet-Lite0. Here the gradient of a wide kernel is assembled from narrow ones. The three middle columns come
    from a 5×3 kernel. Each outer column comes from a 5×1 kernel over maps that are shifted against each other. The same
    products are summed, so the result is the same up to rounding.

    In bfloat16 PyTorch's own gradient of a wide kernel takes as long as the rest of a training step. So under autocast
    a wide kernel trains in float32, while everything around it uses bfloat16.

    Args:
        conv: the depthwise convolution, without bias, that is replaced. Its weights are taken over.
        pad: applied first, if the convolution's own padding is not the same on all sides.
    """

    def __init__(self, conv: nn.Conv2d, *, pad: nn.Module | None = None) -> None:
        assert conv.in_channels == conv.out_channels == conv.groups
        assert conv.bias is None
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=False,
            device="meta",  # on "meta" no random numbers are drawn for weights that are replaced at once
        )
        self.weight = conv.weight
        self.pad = pad or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H', W']."""
        x = self.pad(x)
        width = self.kernel_size[1]
        trained = torch.is_grad_enabled() and self.weight.requires_grad
        if x.device.type != "cpu" or width <= 3 or not trained:
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._wide(x.float()).to(torch.get_autocast_dtype("cpu"))
        return self._wide(x)

    def _wide(self, x: Tensor) -> Tensor:
        height, width = self.kernel_size
        if self.stride != (1, 1) or self.padding != (height // 2, width // 2):
            return super().forward(x)
        result: Tensor = _WideDepthwise.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return result


class _WideDepthwise(torch.autograd.Function):
    """Depthwise convolution that keeps the size, with the weight gradient described above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            padding = (weight.shape[2] // 2, weight.shape[3] // 2)
            of_input = _convolution_backward(gradient, x, weight, padding, of_input=True)
        return of_input, _weight_gradient(gradient, x, weight)


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """[C, 1, h, w], column by column from the middle."""
    rows, centre = weight.shape[2] // 2, weight.shape[3] // 2
    result = torch.zeros_like(weight)
    middle = slice(centre - 1, centre + 2)
    result[..., middle] = _convolution_backward(gradient, x, weight[..., middle], (rows, 1), of_input=False)
    for shift in range(2, min(centre + 1, x.shape[3])):  # beyond the map's width there is only padding
        for column, seen, met in (
            (centre - shift, gradient[..., shift:], x[..., :-shift]),
            (centre + shift, gradient[..., :-shift], x[..., shift:]),
        ):
            one = slice(column, column + 1)
            seen, met = (maps.contiguous(memory_format=torch.channels_last) for maps in (seen, met))
            result[..., one] = _convolution_backward(seen, met, weight[..., one], (rows, 0), of_input=False)
    return result


def _convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, padding: Sides, *, of_input: bool) -> Tensor:
    """One of the two gradients of a depthwise convolution. The weight's gradient only needs the weight's shape."""
    wanted = [of_input, not of_input, False]
    gradients = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], len(weight), wanted
    )
    result: Tensor = gradients[0] if of_input else gradients[1]
    return result
