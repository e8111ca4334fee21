"""HRNet-W32 and IBN-a against plain functions that follow the key names, and HRNet's published key list."""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn

from partreid.models.backbones import build_backbone
from partreid.models.backbones.resnet import InstanceBatchNorm
from tests.golden.official import FOLDER

PREFIX = "backbone_appearance_feature_extractor."


def test_hrnet_has_the_published_keys_in_their_order() -> None:
    published = json.loads((FOLDER / "official_hr32_k8.keys.json").read_text())
    wanted = {k.removeprefix(PREFIX): tuple(v) for k, v in published.items() if k.startswith(PREFIX)}
    assert sum(key.startswith("cls_head.") for key in wanted) == 7
    with torch.device("meta"):
        ours = {key: tuple(value.shape) for key, value in build_backbone("hrnet_w32").state_dict().items()}
    assert list(ours.items()) == [(k, v) for k, v in wanted.items() if not k.startswith("cls_head.")]


def test_hrnet_equals_plain_functions() -> None:
    backbone = build_backbone("hrnet_w32").eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn_like(module.bias)
            module.running_var = torch.rand_like(module.bias) + 0.5
            module.weight.data = torch.rand_like(module.bias) + 0.5
            module.bias.data = 0.1 * torch.randn_like(module.bias)
    images = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        expected = ByHand(backbone.state_dict()).features(images)
        features = backbone(images)
    assert features.shape == expected.shape == (1, 1920, 24, 16)
    assert torch.allclose(features, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


class ByHand:
    """HRNet written out from its paper's figure, straight from a state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv_bn(self, x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        s = self.state
        weight = s[f"{conv}.weight"]
        x = nn.functional.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        scale = s[f"{bn}.weight"] / (s[f"{bn}.running_var"] + 1e-5).sqrt()
        shift = s[f"{bn}.bias"] - s[f"{bn}.running_mean"] * scale
        return x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    def blocks(self, x: Tensor, key: str) -> Tensor:
        index = 0
        while f"{key}.{index}.conv1.weight" in self.state:
            block = f"{key}.{index}"
            short = x
            if f"{block}.downsample.0.weight" in self.state:
                short = self.conv_bn(x, f"{block}.downsample.0", f"{block}.downsample.1")
            depth = 3 if f"{block}.conv3.weight" in self.state else 2
            for i in range(1, depth + 1):
                x = self.conv_bn(x, f"{block}.conv{i}", f"{block}.bn{i}")
                x = x if i == depth else x.relu()
            x = (x + short).relu()
            index += 1
        assert index, key
        return x

    def fused(self, branches: list[Tensor], key: str, target: int) -> Tensor:
        total = torch.zeros_like(branches[target])
        for source, x in enumerate(branches):
            layer = f"{key}.fuse_layers.{target}.{source}"
            if source > target:
                x = self.conv_bn(x, f"{layer}.0", f"{layer}.1")
                x = x.repeat_interleave(2 ** (source - target), 2).repeat_interleave(2 ** (source - target), 3)
            for step in range(target - source):
                x = self.conv_bn(x, f"{layer}.{step}.0", f"{layer}.{step}.1", stride=2)
                x = x if step == target - source - 1 else x.relu()
            total = total + x
        return total.relu()

    def features(self, images: Tensor) -> Tensor:
        x = self.conv_bn(images, "conv1", "bn1", stride=2).relu()
        x = self.blocks(self.conv_bn(x, "conv2", "bn2", stride=2).relu(), "layer1")
        branches = [
            self.conv_bn(x, "transition1.0.0", "transition1.0.1").relu(),
            self.conv_bn(x, "transition1.1.0.0", "transition1.1.0.1", stride=2).relu(),
        ]
        for stage, modules in ((2, 1), (3, 4), (4, 3)):
            if stage > 2:
                key = f"transition{stage - 1}.{stage - 1}.0"
                branches.append(self.conv_bn(branches[-1], f"{key}.0", f"{key}.1", stride=2).relu())
            for module in range(modules):
                key = f"stage{stage}.{module}"
                branches = [self.blocks(x, f"{key}.branches.{i}") for i, x in enumerate(branches)]
                branches = [self.fused(branches, key, target) for target in range(len(branches))]
        maps = [self.blocks(x, f"incre_modules.{i}") for i, x in enumerate(branches)]
        return torch.cat([aligned(x, maps[0].shape[2:]) for x in maps], dim=1)


def aligned(x: Tensor, size: torch.Size) -> Tensor:
    """Linear interpolation in which the first and last nodes of both grids coincide."""
    for dim, length in ((2, size[0]), (3, size[1])):
        nodes = x.shape[dim]
        weights = torch.zeros(length, nodes)
        for i in range(length):
            place = i * (nodes - 1) / (length - 1)
            below = min(int(place), nodes - 1)
            weights[i, below] += 1 - (place - below)
            if place > below:
                weights[i, below + 1] += place - below
        x = torch.tensordot(x, weights, dims=([dim], [1])).movedim(-1, dim)
    return x


def test_ibn_a_normalises_the_first_half_by_image_and_the_second_by_batch() -> None:
    layer = InstanceBatchNorm(6).train()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(4, 6, 5, 3) * 3 + 1
    first, second = x[:, :3], x[:, 3:]

    def standard(x: Tensor, dims: tuple[int, ...]) -> Tensor:
        return (x - x.mean(dims, keepdim=True)) / (x.var(dims, keepdim=True, correction=0) + 1e-5).sqrt()

    normal = torch.cat([standard(first, (2, 3)), standard(second, (0, 2, 3))], dim=1)
    weight = torch.cat([layer.IN.weight, layer.BN.weight]).view(1, 6, 1, 1)
    bias = torch.cat([layer.IN.bias, layer.BN.bias]).view(1, 6, 1, 1)
    assert torch.allclose(layer(x), normal * weight + bias, atol=1e-5)


def test_resnet50_ibn_a_has_its_authors_keys() -> None:
    with torch.device("meta"):
        plain = set(build_backbone("resnet50").state_dict())
        ours = {key: tuple(value.shape) for key, value in build_backbone("resnet50_ibn_a").state_dict().items()}
    blocks = {1: 3, 2: 4, 3: 6}
    norms = {f"layer{stage}.{block}.bn1" for stage, count in blocks.items() for block in range(count)}
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    fields = [*(f"BN.{name}" for name in ("weight", "bias", *buffers)), "IN.weight", "IN.bias"]
    kept = {key for key in plain if key.rpartition(".")[0] not in norms}
    assert set(ours) == kept | {f"{norm}.{field}" for norm in norms for field in fields}
    assert ours["layer3.5.bn1.IN.weight"] == ours["layer3.5.bn1.BN.running_var"] == (128,)
