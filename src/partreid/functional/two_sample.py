"""Whether two samples of vectors come from one distribution: the energy test (Székely and Rizzo 2004)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from partreid.errors import ShapeError
from partreid.lazy import torch
from partreid.types.numbers import require_whole

if TYPE_CHECKING:
    from torch import Tensor


def energy_test(first: Tensor, second: Tensor, *, permutations: int = 999, seed: int = 0) -> float:
    """The p-value of the energy distance 2·E|X - Y| - E|X - X'| - E|Y - Y'|. Vectors are permuted between the samples.

    Args:
        first, second: [N, D] and [M, D] independent vectors. permutations: their number n; the smallest possible
            p-value is 1 / (n + 1). seed: of the permutations.

    Returns:
        A probability above 0. It is small if two samples of one distribution are rarely so far apart.

    Raises:
        ShapeError: the tensors are not [N, D] and [M, D] with at least two rows and finite numbers each, or an option
            is no whole number.

    Example:
        >>> points = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> energy_test(points[:30], points[30:]) > 0.05, energy_test(points[:30], points[30:] + 1) < 0.01
        (True, True)
    """
    permutations = require_whole("permutations", permutations, least=1)
    seed = require_whole("seed", seed)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ShapeError(
            "Expected two samples [N, D] and [M, D] of at least 2 vectors, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    every = torch.cat([first.double(), second.double()])
    if not torch.isfinite(every).all():
        raise ShapeError("Expected finite vectors, got NaN or infinity.")
    count, ones = len(every), len(first)
    apart = torch.cdist(every, every)
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack(
        [torch.arange(count), *(torch.randperm(count, generator=generator) for _ in range(permutations))]
    )
    shares = torch.full(order.shape, -1 / (count - ones), dtype=torch.float64)
    shares.scatter_(1, order[:, :ones], 1 / ones)
    energy = -((shares @ apart) * shares).sum(dim=1)
    return float((energy[1:] >= energy[0] * (1 - 1e-9)).sum() + 1) / (permutations + 1)
