"""Pairwise distances within a batch, and its hardest pairs (paper §3.3.2; batch-hard of Hermans et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional._checks import require_float, require_identities

# Below this squared distance (relative to the vectors' own squared lengths), a float32 difference of products is only
# rounding noise. The distance then counts as 0 and passes no gradient.
_RELATIVE_NOISE = 1e-7


def pairwise_distances(vectors: Tensor) -> Tensor:
    """Euclidean distance of every pair in a batch, slot by slot; finite gradient where vectors coincide.

    Args:
        vectors: [B, K, D].

    Returns:
        [K, B, B]. The distance of equal vectors is 0 with gradient 0, because the square root has no gradient there.
        The distance of a vector that is not finite is NaN or infinite.

    Raises:
        ShapeError: the vectors have another shape or type.

    Example:
        >>> pairwise_distances(torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]]))[0]
        tensor([[0., 5.],
                [5., 0.]])
    """
    require_float(vectors, "vectors [B, K, D]")
    slots = vectors.transpose(0, 1)
    # Half precision under autocast would lose the difference of nearly equal lengths.
    with torch.autocast(device_type=vectors.device.type, enabled=False):
        slots = slots if slots.dtype == torch.float64 else slots.float()
        squares = slots.square().sum(dim=2)
        lengths = squares.unsqueeze(2) + squares.unsqueeze(1)
        squared = lengths - 2 * torch.bmm(slots, slots.transpose(1, 2))
        apart = ~((squared <= _RELATIVE_NOISE * lengths) & (lengths < torch.inf))  # NaN and infinity do not count as 0
        return torch.where(apart, squared, 1.0).sqrt() * apart


class HardPairs(NamedTuple):
    """Hardest distances per anchor. ``positive``, ``negative``: [..., B]; ``valid``: [B] bool."""

    positive: Tensor
    negative: Tensor
    valid: Tensor


def batch_hard(distances: Tensor, pids: Tensor, *, comparable: Tensor | None = None) -> HardPairs:
    """The farthest image of the same identity and the nearest of another, for every anchor (Eq. 8).

    Args:
        distances: [..., B, B].
        pids: [B] identities, whole numbers of at least 0.
        comparable: [B, B] bool, False for pairs to ignore; None = use all.

    Returns:
        Hard distances [..., B]. ``valid`` is False for an anchor without a positive (other than itself) or
        without a negative; its distances are meaningless and must be left out.

    Raises:
        ShapeError: the shapes or types do not fit, or an identity is below 0 (checked on a CPU only).

    Example:
        >>> d = torch.tensor([[0., 1., 2.], [1., 0., 3.], [2., 3., 0.]])
        >>> batch_hard(d, torch.tensor([7, 7, 9])).valid
        tensor([ True,  True, False])
    """
    require_identities("pids", pids)
    if distances.shape[-2:] != (len(pids), len(pids)):
        raise ShapeError(f"Expected distances [..., {len(pids)}, {len(pids)}], got {tuple(distances.shape)}.")
    if not distances.is_floating_point() or not len(pids):
        raise ShapeError(f"Expected floating-point distances of at least one image, got {distances.dtype}.")
    if comparable is not None and (comparable.shape != distances.shape[-2:] or comparable.dtype != torch.bool):
        raise ShapeError(
            f"Expected comparable [{len(pids)}, {len(pids)}] of bool, got {comparable.dtype} {tuple(comparable.shape)}."
        )
    same = pids.unsqueeze(0) == pids.unsqueeze(1)
    positives, negatives = same & ~torch.eye(len(pids), dtype=torch.bool, device=pids.device), ~same
    if comparable is not None:
        positives, negatives = positives & comparable, negatives & comparable
    hardest_positive = distances.masked_fill(~positives, float("-inf")).amax(dim=-1)
    hardest_negative = distances.masked_fill(~negatives, float("inf")).amin(dim=-1)
    return HardPairs(hardest_positive, hardest_negative, positives.any(dim=1) & negatives.any(dim=1))
