"""OSNet (Zhou et al., ICCV 2019), its IBN and its AIN variant (Zhou et al., TPAMI 2021), with torchreid's key names.

These small networks were made for people: every block sees several scales at once. Unlike networks made for ImageNet,
they end in an embedding of the whole image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.models.backbones.base import Backbone
from partreid.models.backbones.osnet_names import Kind

Norm = Literal["none", "inside", "after"]
"""Where a block has an instance norm: nowhere, inside its branch, or after the sum of branch and shortcut."""

_NORMS: dict[Kind, tuple[tuple[Norm, Norm], ...]] = {
    "plain": (("none", "none"), ("none", "none"), ("none", "none")),
    "ibn": (("after", "after"), ("none", "none"), ("none", "none")),
    "ain": (("inside", "inside"), ("none", "inside"), ("inside", "none")),  # found by its authors' search
}
_STEM, *_STAGES = 64, 256, 384, 512  # channels at width 1
_STREAMS = ("conv2a", "conv2b", "conv2c", "conv2d")


class OSNet(Backbone):
    """The network without its classifier: a stem; three stages of two blocks and a 1×1 convolution; the embedding.

    Args:
        kind: without instance norms, or with them as in OSNet-IBN or OSNet-AIN.
        width: channels as a fraction of the full network's.
    """

    unused_keys = ("classifier.",)

    def __init__(self, kind: Kind, width: float) -> None:
        super().__init__()
        inputs = int(width * _STEM)
        norm = nn.BatchNorm2d(inputs) if kind == "plain" else InstanceNorm(inputs)
        self.conv1 = _named(conv=_conv(3, inputs, 7, stride=2), bn=norm, relu=nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage_channels = {}
        self._path: list[tuple[str, str, str]] = []
        for number, (channels, norms) in enumerate(zip(_STAGES, _NORMS[kind], strict=True), start=2):
            outputs = int(width * channels)
            blocks = [OSBlock(kind, i, outputs, where) for i, where in zip((inputs, outputs), norms, strict=True)]
            last = self._add_stage(number, kind, blocks, _conv_bn_relu(outputs, outputs))
            self._path.append((f"conv{number}.0", f"conv{number}.1", last))
            self.stage_channels[2**number] = inputs = outputs
        self.channels, self.output_stride, self.input_multiple = inputs, 16, 16
        self.vector_dim = 512
        self.fc = nn.Sequential(nn.Linear(inputs, self.vector_dim), nn.BatchNorm1d(self.vector_dim), nn.ReLU())
        self._draw_weights()

    def _add_stage(self, number: int, kind: Kind, blocks: Sequence[nn.Module], last: nn.Module) -> str:
        """Add a stage under the names of the zoo's files. Returns the name of its 1×1 convolution, which differs."""
        inner = number < 4 and kind != "ain"
        self.add_module(f"conv{number}", nn.Sequential(*blocks, *([nn.Sequential(last)] if inner else [])))
        if inner:
            return f"conv{number}.2.0"
        if number == 4:
            self.conv5 = last
            return "conv5"
        self.add_module(f"pool{number}", nn.Sequential(last))
        return f"pool{number}.0"

    def _draw_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride 4, 8 and 16: the outputs of each stage's 1×1 convolution."""
        x = self.maxpool(self.conv1(images))
        features: dict[int, Tensor] = {}
        for stride, path in zip(self.stage_channels, self._path, strict=True):
            x = F.avg_pool2d(x, 2) if features else x
            for name in path:
                x = self.get_submodule(name)(x)
            features[stride] = x
        return features

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """The embedding by which the zoo's networks compare images, [B, 512]. No number in it is negative.

        Args:
            stages: of :meth:`stages`.
        """
        embedding: Tensor = self.fc(stages[self.output_stride].mean(dim=(2, 3)))
        return embedding


class OSBlock(nn.Module):
    """Four streams of 1, 2, 3 and 4 light convolutions see four scales. They are gated, summed and added to the input.

    Args:
        kind: decides the names of the streams.
        inputs: channels of the input. outputs: channels of the output; the streams have a quarter of them.
        norm: where the block has an instance norm.
    """

    def __init__(self, kind: Kind, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        width = outputs // 4
        self.conv1 = _conv_bn_relu(inputs, width)
        streams = [nn.Sequential(*(_light_conv(width) for _ in range(depth))) for depth in (1, 2, 3, 4)]
        if kind == "ain":
            self.conv2 = nn.ModuleList(_named(layers=stream) for stream in streams)
        else:
            for name, stream in zip(_STREAMS, (streams[0][0], *streams[1:]), strict=True):
                self.add_module(name, stream)
        self._streams = [f"conv2.{i}" for i in range(4)] if kind == "ain" else _STREAMS
        self.gate = ChannelGate(width)
        self.conv3 = _named(conv=_conv(width, outputs)) if norm == "inside" else _conv_bn(width, outputs)
        self.downsample = nn.Identity() if inputs == outputs else _conv_bn(inputs, outputs)
        if norm != "none":
            self.IN = InstanceNorm(outputs)
        self._norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        narrow = self.conv1(x)
        first, *others = (self.gate(self.get_submodule(name)(narrow)) for name in self._streams)
        branch = self.conv3(sum(others, start=first))
        if self._norm == "inside":
            branch = self.IN(branch)
        out = branch + self.downsample(x)
        if self._norm == "after":
            out = self.IN(out)
        return F.relu(out, inplace=True)


class ChannelGate(nn.Module):
    """Multiplies each channel by a gate in 0..1, which is computed from the means of all channels over the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same shape."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class InstanceNorm(nn.InstanceNorm2d):
    """PyTorch's instance norm, but a channels-last map stays channels-last. Otherwise each later convolution would
    convert it back.

    Measured on one thread with OSNet-AIN ×1.0 in batches of 32: 110 instead of 132 ms for an image's training step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same shape."""
        kept = x.is_contiguous(memory_format=torch.channels_last)
        return super().forward(x).contiguous(memory_format=torch.channels_last if kept else torch.contiguous_format)


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def _conv(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def _conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    return _named(conv=_conv(inputs, outputs), bn=nn.BatchNorm2d(outputs))


def _conv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    return _named(**dict(_conv_bn(inputs, outputs).named_children()), relu=nn.ReLU(inplace=True))


def _light_conv(channels: int) -> nn.Sequential:
    """A cheap 3×3 convolution: 1×1 over all channels without a norm, then 3×3 on each channel by itself."""
    return _named(
        conv1=_conv(channels, channels),
        conv2=_conv(channels, channels, 3, groups=channels),
        bn=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
    )
