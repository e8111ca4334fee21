"""Part attention: the pixel-wise part classifier (paper §3.1.1, Eq. 1), and fixed attention (Table 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.models.heads import WEIGHT_STD


class PixelPartClassifier(nn.Module):
    """A 1×1 convolution over the feature map: scores of background and K parts at every pixel.

    Args:
        channels: C of the feature map.
        num_parts: K.
        batchnorm: a BatchNorm2d before the convolution (published weights).
    """

    def __init__(self, channels: int, num_parts: int, *, batchnorm: bool = False) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels) if batchnorm else nn.Identity()
        self.classifier = nn.Conv2d(channels, num_parts + 1, kernel_size=1)
        nn.init.normal_(self.classifier.weight, std=WEIGHT_STD)
        nn.init.zeros_(self.classifier.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] → scores [B, K+1, H, W]; their softmax over dim 1 is M of Eq. 1."""
        features = self.bn(features)
        conv = self.classifier
        if not (torch.is_grad_enabled() and features.is_contiguous(memory_format=torch.channels_last)):
            scores: Tensor = conv(features)
            return scores
        # The same product without a copy of the map; its backward takes half the time of the convolution's.
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(features.permute(0, 2, 3, 1), weight, conv.bias).permute(0, 3, 1, 2)


def fixed_attention(part_maps: Tensor) -> Tensor:
    """Attention that is not learned (Table 2, "w/o learnable attention"): softmax of E over the K parts at each pixel.

    E lies in [0, 1], so that for K = 8 no weight exceeds e / (e + 7) = 0.28 and every part has 1 / 8 of the background:
    this is not far from an average over the whole image.

    Args:
        part_maps: E, [B, K, H, W] in [0, 1].

    Returns:
        The same shape; sums to 1 over the parts.

    Example:
        >>> fixed_attention(torch.zeros(1, 4, 2, 2))[0, :, 0, 0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return part_maps.softmax(dim=1)
