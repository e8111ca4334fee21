"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A feature extractor.

    Attributes:
        channels: C of the feature map.
        output_stride: picture pixels per cell of the feature map.
        stage_channels: channels of the features that :meth:`stages` returns, by their stride.
        classifier_keys: state-dict prefixes of an ImageNet file's classifier, which is not used here.
        key_prefix: what stands before an ImageNet file's keys in this module's state dict.
    """

    channels: int
    output_stride: int
    stage_channels: dict[int, int]
    classifier_keys: tuple[str, ...] = ()
    key_prefix: str = ""

    @abstractmethod
    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, [B, C_s, H/s, W/s]: the deepest of each stride, the feature map among them."""

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → the feature map G, [B, C, H/output_stride, W/output_stride]."""
        return self.stages(images)[self.output_stride]
