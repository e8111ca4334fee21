"""ResNet (He et al. 2016) with torchvision's key names, and the last strides removed (Luo et al. 2019); IBN-a.

The last stride is removed by *stride*, not replaced by dilation: 256×128 gives a 16×8 map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partreid.models.backbones.base import Backbone


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution and its batch norm. Apart from its stride the convolution keeps the size; it has no bias."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv, nn.BatchNorm2d(outputs)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions (ResNet-18)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(inputs, planes, 3, stride)
        self.conv2, self.bn2 = conv_bn(planes, planes, 3)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, planes, H/stride, W/stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)) + identity)
        return out


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride, as torchvision has it), 1×1 (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(inputs, planes, 1)
        self.conv2, self.bn2 = conv_bn(planes, planes, 3, stride)
        self.conv3, self.bn3 = conv_bn(planes, planes * self.expansion, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, 4·planes, H/stride, W/stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(self.bn3(self.conv3(x)) + identity)
        return out


class ResNet(Backbone):
    """Stem and four stages, without the classifier.

    Args:
        block: BasicBlock or Bottleneck.
        depths: blocks per stage.
        output_stride: 32 keeps every stride; 16 removes the last stage's, 8 the last two.
    """

    unused_keys = ("fc.",)

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, int, int, int], output_stride: int
    ) -> None:
        super().__init__()
        self.channels = 512 * block.expansion
        self.output_stride = self.input_multiple = output_stride
        self.conv1, self.bn1 = conv_bn(3, 64, 7, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self._strides = (1, 2, 2 if output_stride >= 16 else 1, 2 if output_stride >= 32 else 1)
        self.stage_channels = {}
        inputs, reached = 64, 4
        for stage, (depth, stride) in enumerate(zip(depths, self._strides, strict=True), start=1):
            planes = 64 * 2 ** (stage - 1)
            reached *= stride
            self.stage_channels[reached] = planes * block.expansion
            self.add_module(f"layer{stage}", residual_stage(block, inputs, planes, depth, stride))
            inputs = planes * block.expansion

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, from 4 on."""
        features = {4: self.maxpool(self.relu(self.bn1(self.conv1(images))))}
        stride = 4
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(features[stride])
            stride *= self._strides[stage - 1]
            features[stride] = x
        return features


def residual_stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, depth: int, stride: int
) -> nn.Sequential:
    """``depth`` blocks. The first has the stride, and a projection on its shortcut if the shape changes."""
    outputs = planes * block.expansion
    downsample = nn.Sequential(*conv_bn(inputs, outputs, 1, stride)) if stride > 1 or inputs != outputs else None
    blocks: list[nn.Module] = [block(inputs, planes, stride, downsample)]
    blocks += [block(outputs, planes, 1, None) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def resnet18(output_stride: int) -> ResNet:
    """ResNet-18: 512 channels. Small; for tests."""
    return ResNet(BasicBlock, (2, 2, 2, 2), output_stride)


def resnet50(output_stride: int) -> ResNet:
    """ResNet-50: 2048 channels (paper §4.2)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), output_stride)


class InstanceBatchNorm(nn.Module):
    """IBN-a (Pan et al. 2018): instance norm on the first half of the channels, batch norm on the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.IN = nn.InstanceNorm2d(half, affine=True)
        self.BN = nn.BatchNorm2d(channels - half)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same shape."""
        half = self.IN.num_features
        return torch.cat([self.IN(x[:, :half]), self.BN(x[:, half:])], dim=1)


def resnet50_ibn_a(output_stride: int) -> ResNet:
    """ResNet-50-IBN-a (paper §4.2, "RI"): the first norm of every block in stages 1 to 3; key names of its authors."""
    network = resnet50(output_stride)
    for stage in (1, 2, 3):
        for block in network.get_submodule(f"layer{stage}").children():
            assert isinstance(block, Bottleneck)
            block.register_module("bn1", InstanceBatchNorm(block.conv1.out_channels))
    return network
