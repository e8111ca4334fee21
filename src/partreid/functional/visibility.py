"""Which parts an image shows, read off its attention maps (Eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional._checks import require_float, require_share

DEFAULT_THRESHOLD = 0.4
"""λ_v of Eq. 4."""


def threshold_visibility(attention: Tensor, *, threshold: float = DEFAULT_THRESHOLD) -> Tensor:
    """Eq. 4: part i is visible if the maximum of M_i exceeds ``threshold``.

    Args:
        attention: [B, K+1, H, W], channel 0 = background.
        threshold: λ_v, in [0, 1].

    Returns:
        [B, K], 0 or 1, in the attention's floating type.

    Raises:
        ShapeError: the attention is no such tensor, or λ_v lies outside [0, 1].

    Example:
        >>> threshold_visibility(torch.tensor([0.1, 0.7, 0.2]).view(1, 3, 1, 1))
        tensor([[1., 0.]])
    """
    require_share("threshold", threshold)
    return (_check(attention)[:, 1:].amax(dim=(2, 3)) > threshold).to(attention.dtype)


def argmax_visibility(attention: Tensor) -> Tensor:
    """The published weights' rule: part i is visible if it wins the argmax over all K+1 classes at some pixel.

    Shapes as in :func:`threshold_visibility`; a tie goes to the lowest class.
    """
    attention = _check(attention)
    classes = torch.arange(attention.shape[1], device=attention.device).view(1, -1, 1)
    winners = attention.argmax(dim=1).flatten(1).unsqueeze(1)
    return (winners == classes).any(dim=2)[:, 1:].to(attention.dtype)


def continuous_visibility(attention: Tensor) -> Tensor:
    """The maximum of M_i itself, in [0, 1]: Eq. 4 without its threshold, which matching may still apply.

    Shapes as in :func:`threshold_visibility`.
    """
    return _check(attention)[:, 1:].amax(dim=(2, 3))


def _check(attention: Tensor) -> Tensor:
    if require_float(attention, "attention [B, K+1, H, W]").shape[1] < 2:
        raise ShapeError(f"Expected attention [B, K+1, H, W] with K >= 1, got {tuple(attention.shape)}.")
    return attention
