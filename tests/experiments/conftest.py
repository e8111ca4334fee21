"""A backbone of two layers, so that every row of every table trains in a moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch import Tensor, nn

from partreid.models.backbones import BACKBONES, Backbone, BackboneEntry
from partreid.training.train_config import TrainConfig
from tests.conftest import tiny_config


class TinyBackbone(Backbone):
    """Two convolutions to stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.output_stride, self.input_multiple = 8, 16, 16
        self.stage_channels = {4: 4, 16: 8}
        self.first = nn.Conv2d(3, 4, 4, stride=4)
        self.second = nn.Conv2d(4, 8, 4, stride=4)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Strides 4 and 16."""
        fine = self.first(images).relu()
        return {4: fine, 16: self.second(fine).relu()}


@pytest.fixture
def tiny() -> Iterator[TrainConfig]:
    """One epoch of a very small network; K = 5, map 16×8."""
    BACKBONES.register("tiny", BackboneEntry(lambda _: TinyBackbone()))
    yield tiny_config("model.backbone=tiny", "model.map_stride=4", "optimizer.epochs=1")
    BACKBONES.unregister("tiny")
