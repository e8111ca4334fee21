"""Global weighted average pooling of a feature map under attention maps (Eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional._checks import require_attention, require_float
from partreid.objects import guided
from partreid.types.numbers import require_whole

MIN_MASS = 1e-6
"""Smallest sum of an attention map that Eq. 3 divides by; a map of zeros gives a vector of zeros."""


def foreground_map(attention: Tensor) -> Tensor:
    """M_f, the pixel-wise maximum over the part maps (paper §3.2.1).

    Args:
        attention: [B, K+1, H, W], channel 0 = background.

    Returns:
        [B, 1, H, W].

    Raises:
        ShapeError: the attention has another shape or type, or has no part.

    Example:
        >>> foreground_map(torch.rand(2, 6, 16, 8)).shape
        torch.Size([2, 1, 16, 8])
    """
    return require_attention(attention)[:, 1:].amax(dim=1, keepdim=True)


def weighted_average_pool(features: Tensor, maps: Tensor) -> Tensor:
    """Eq. 3: f_i = Σ G·M_i / Σ M_i for every map, as one batched matrix product.

    The [B, M, C, H, W] product is never built. The sum of a map is clamped at :data:`MIN_MASS`.

    Args:
        features: [B, C, H, W], the feature map G.
        maps: [B, M, H, W], weights >= 0.

    Returns:
        [B, M, C].

    Raises:
        ShapeError: the batch or the map size differ.

    Example:
        >>> g = torch.randn(2, 32, 16, 8)
        >>> whole = torch.ones(2, 1, 16, 8)
        >>> torch.allclose(weighted_average_pool(g, whole)[:, 0], g.mean(dim=(2, 3)), atol=1e-6)
        True
    """
    return weighted_sum_pool(features, average_weights(_same_size(features, maps)))


def mean_pool(features: Tensor, maps: Tensor) -> Tensor:
    """Mean over all H·W pixels of G·M_i, not divided by ΣM_i: the foreground pooling of the published weights.

    Shapes and errors as in :func:`weighted_average_pool`.
    """
    return weighted_sum_pool(features, mean_weights(_same_size(features, maps)))


def average_weights(maps: Tensor) -> Tensor:
    """M_i / ΣM_i of Eq. 3, [B, M, H, W]; a sum is clamped at :data:`MIN_MASS`."""
    return maps / maps.sum(dim=(2, 3), keepdim=True).clamp(min=MIN_MASS)


def mean_weights(maps: Tensor) -> Tensor:
    """M_i / (H·W), [B, M, H, W]: the weights of :func:`mean_pool`."""
    return maps / (maps.shape[2] * maps.shape[3])


def weighted_sum_pool(features: Tensor, weights: Tensor) -> Tensor:
    """Σ G·W_i for every map of weights, [B, C, H, W] and [B, M, H, W] → [B, M, C]."""
    return torch.bmm(weights.flatten(2), features.flatten(2).transpose(1, 2))


@guided
def stripe_maps(stripes: int, size: tuple[int, int]) -> Tensor:
    """Horizontal stripes of equal height (PCB, Sun et al. 2018) for a map of any height.

    A row that two stripes share counts in each stripe with the fraction that lies in it.

    Args:
        stripes: their number, at most H. size: (H, W).

    Returns:
        float32 [1, stripes, H, W].

    Raises:
        ShapeError: there are more stripes than rows, or ``size`` is not a size.

    Example:
        >>> stripe_maps(2, (3, 1))[0, :, :, 0]
        tensor([[1.0000, 0.5000, 0.0000],
                [0.0000, 0.5000, 1.0000]])
    """
    if len(size) != 2:
        raise ShapeError(f"Expected the size (H, W) of a map, got {size}.")
    height, width = (require_whole("H and W", side, least=1) for side in size)
    if not 1 <= require_whole("stripes", stripes) <= height:
        raise ShapeError(f"Expected 1 to {height} stripes for a map of {height} rows, got {stripes}.")
    edges = torch.arange(stripes + 1) * height / stripes
    rows = torch.arange(height)
    upper = torch.maximum(edges[:-1, None], rows[None])
    lower = torch.minimum(edges[1:, None], rows[None] + 1)
    return (lower - upper).clamp(min=0)[None, :, :, None].expand(-1, -1, -1, width)


def _same_size(features: Tensor, maps: Tensor) -> Tensor:
    require_float(features, "features [B, C, H, W]")
    if maps.ndim != 4 or maps.is_complex() or features.shape[0] != maps.shape[0]:
        raise ShapeError(
            f"Expected features [B, C, H, W] and maps [B, M, H, W] of the same batch, "
            f"got {tuple(features.shape)} and {tuple(maps.shape)}."
        )
    if features.shape[2:] != maps.shape[2:]:
        raise ShapeError(
            f"Feature map {tuple(features.shape[2:])} and attention maps {tuple(maps.shape[2:])} differ in size."
        )
    return maps.to(features.dtype)
