"""What every backbone offers."""

from __future__ import annotations

from torch import Tensor, nn


class Backbone(nn.Module):
    """A feature extractor.

    Attributes:
        channels: C of the feature map.
        output_stride: picture pixels per cell of the feature map.
        classifier_keys: state-dict prefixes of an ImageNet file's classifier, which is not used here.
    """

    channels: int
    output_stride: int
    classifier_keys: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → [B, C, H/output_stride, W/output_stride]."""
        raise NotImplementedError
