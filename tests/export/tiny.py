"""A network that is exported in a second, and images for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from partreid.models.backbones import Backbone, FineMap
from partreid.models.bpbreid import BPBReID
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig

PREPROCESS = PreprocessConfig(height=64, width=32, mean=(0.3, 0.5, 0.6), std=(0.2, 0.3, 0.25))


class TinyBackbone(Backbone):
    """Maps of 8, 12 and 16 channels at strides 4, 8 and 16, each behind one convolution and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 12, 16)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 5, stride, 2, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o, stride in zip(widths, widths[1:], (4, 2, 2), strict=False)
        )
        self.channels, self.output_stride, self.input_multiple = 16, 16, 16
        self.stage_channels = {4: 8, 8: 12, 16: 16}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        maps = {}
        for stride, layer in zip(self.stage_channels, self.layers, strict=True):
            images = maps[stride] = layer(images)
        return maps


def tiny_checkpoint(*, map_stride: int | None = None, **fields: Any) -> Checkpoint:
    """Random weights with statistics of their own, and attention that tells parts apart."""
    torch.manual_seed(3)
    config = ModelConfig(**{"backbone": "resnet18", "parts": "five", "map_stride": map_stride} | fields)
    backbone: Backbone = TinyBackbone()
    if map_stride is not None:
        backbone = FineMap(backbone, map_stride)
    model = build_network(config, 3, backbone=backbone)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 2)
    if isinstance(model, BPBReID):
        nn.init.normal_(model.part_classifier.classifier.weight, std=1.5)
    return Checkpoint(model.eval(), PREPROCESS)


def random_pixels(count: int) -> np.ndarray:
    """Blocks of colour, uint8 [count, 64, 32, 3]."""
    blocks = np.random.default_rng(0).integers(0, 256, (count, 8, 4, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)
