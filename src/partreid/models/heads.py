"""The part classifier (Eq. 1), and the layers after pooling: embedding heads, BN necks and classifiers (Eq. 6)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.models.backbones.base import join_maps, upsampled

_WEIGHT_STD = 0.001
"""Standard deviation of a new part or identity classifier's weights."""


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
        nn.init.normal_(self.classifier.weight, std=_WEIGHT_STD)
        nn.init.zeros_(self.classifier.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Scores [B, K+1, H, W] of the joined map; their softmax over dim 1 is M of Eq. 1.

        A 1×1 convolution and upsampling are both linear, so their order does not matter. Each map is convolved at its
        own size with its own channels' weights. Then K+1 scores are upsampled instead of a thousand channels.

        Args:
            maps: [B, C_s, H_s, W_s] from fine to coarse, as :func:`~partreid.models.backbones.base.join_maps` joins
                them.
        """
        if len(maps) > 1 and self.training and isinstance(self.bn, nn.BatchNorm2d):
            maps = [join_maps(maps, align_corners=False)]  # the batch's statistics are those of the joined map
        scores: Tensor | None = None
        first = 0
        for features in maps:
            mine = slice(first, first := first + features.shape[1])
            part = _convolved(
                self._normed(features, mine),
                self.classifier.weight[:, mine],
                self.classifier.bias if scores is None else None,
            )
            scores = part if scores is None else scores + upsampled(part, scores)
        assert scores is not None
        return scores

    def _normed(self, features: Tensor, mine: slice) -> Tensor:
        """The part of the joined map's norm that belongs to these features' channels."""
        norm = self.bn
        if not isinstance(norm, nn.BatchNorm2d) or features.shape[1] == norm.num_features:
            normed: Tensor = norm(features)
            return normed
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, variance = norm.running_mean[mine], norm.running_var[mine]
        return F.batch_norm(features, mean, variance, norm.weight[mine], norm.bias[mine], eps=norm.eps)


def _convolved(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not (torch.is_grad_enabled() and features.is_contiguous(memory_format=torch.channels_last)):
        return F.conv2d(features, weight, bias)
    # A convolution's product without a copy of the map; its backward takes half the time.
    flat = weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(features.permute(0, 2, 3, 1), flat, bias).permute(0, 3, 1, 2)


class EmbeddingHead(nn.Module):
    """Linear + BatchNorm1d + ReLU from C to D channels (published weights; none in the paper).

    One head serves one region, [B, C], or all parts together, [B, K, C]. Then its statistics are over B·K vectors.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, dim), nn.BatchNorm1d(dim), nn.ReLU(inplace=True))
        nn.init.normal_(self.layers[0].weight, std=0.01)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[0].bias)  # type: ignore[arg-type]

    def forward(self, vectors: Tensor) -> Tensor:
        """[..., C] → [..., D]."""
        projected: Tensor = self.layers(vectors.flatten(0, -2))
        return projected.view(*vectors.shape[:-1], -1)


class BNNeck(nn.Module):
    """BatchNorm1d with its bias frozen at 0, then a linear identity classifier without bias.

    Args:
        dim: width of the vector. num_identities: training identities.
    """

    def __init__(self, dim: int, num_identities: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(dim)
        self.bn.bias.requires_grad_(False)
        with warnings.catch_warnings():  # PyTorch would warn of zero identities
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.classifier = nn.Linear(dim, num_identities, bias=False)
            nn.init.normal_(self.classifier.weight, std=_WEIGHT_STD)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, D] → normalised vectors [B, D]; ``classifier`` makes identity logits of them."""
        normalized: Tensor = self.bn(vectors)
        return normalized
