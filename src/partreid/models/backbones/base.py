"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Backbone(nn.Module, ABC):
    """A feature extractor. One of your own: docs/extending.md; what holds for all: tests/models/backbone_contract.py.

    Attributes:
        channels: C of the feature map.
        output_stride: image pixels per cell of the feature map.
        input_multiple: height and width of images must be multiples of it.
        stage_channels: channels of the features that :meth:`stages` returns, by their stride.
        unused_keys: state-dict prefixes of an ImageNet file that are not used here, its classifier above all.
        key_prefix: what stands before an ImageNet file's keys in this module's state dict.
    """

    channels: int
    output_stride: int
    input_multiple: int
    stage_channels: dict[int, int]
    unused_keys: tuple[str, ...] = ()
    key_prefix: str = ""

    @abstractmethod
    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, [B, C_s, H/s, W/s]: the deepest of each stride, the feature map among them."""

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """ImageNet weights by the names of their file, where a Python package brings or fetches them; None = nowhere.

        Raises:
            CheckpointError: they cannot be had.
        """
        return None

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → the feature map G, [B, C, H/output_stride, W/output_stride]."""
        return self.stages(images)[self.output_stride]


def join_maps(maps: Sequence[Tensor], *, align_corners: bool) -> Tensor:
    """Feature maps from fine to coarse, upsampled to the finest (bilinear) and concatenated, [B, ΣC, H, W]."""
    finest, *coarser = maps
    size = finest.shape[2:]
    upsampled = [F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners) for x in coarser]
    return torch.cat([finest, *upsampled], dim=1)
