"""Euclidean distances from a matrix product, |a|² + |b|² - 2ab, with the near-duplicates computed again.

The error of the product is a few units in the last place *of the squared lengths*: harmless between unlike vectors,
ruinous between near-duplicates. So each pair whose squared distance is at most 1 % of |a|² + |b|² is computed again
from the difference a - b.
"""

from __future__ import annotations

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.types import PartEmbeddings

_RECOMPUTE_BELOW = 1e-2


def squared_lengths(embeddings: PartEmbeddings, *, dtype: torch.dtype, memory_budget: int) -> Tensor:
    """[N, S] squared lengths of the vectors, some images at a time.

    Args:
        embeddings: [N, S, D]. dtype: to compute in. memory_budget: bytes to work in.

    Raises:
        ShapeError: a number is not finite, or a squared length does not fit ``dtype``.

    Example:
        >>> e = PartEmbeddings(torch.full((1, 1, 4), 2.0), torch.ones(1, 1), ("foreground",))
        >>> squared_lengths(e, dtype=torch.float32, memory_budget=1000)
        tensor([[16.]])
    """
    count, slots, width = embeddings.vectors.shape
    result = torch.empty(count, slots, dtype=dtype, device=embeddings.vectors.device)
    step = max(1, memory_budget // (2 * slots * width * dtype.itemsize))
    for some in (slice(start, start + step) for start in range(0, count, step)):
        torch.linalg.vector_norm(embeddings.vectors[some].to(dtype), dim=2, out=result[some])
    result.square_()
    # One comparison finds what is too long, infinite or NaN; only then is looked which it is.
    if not bool((result < torch.finfo(dtype).max / 4).all()):
        embeddings.validate()
        raise ShapeError(
            f"A vector is too long: its squared length does not fit {dtype}. "
            "Normalise the embeddings, or convert them with .to(dtype=torch.float64)."
        )
    return result


def euclidean(
    products: Tensor, vectors: tuple[Tensor, Tensor], lengths: tuple[Tensor, Tensor], *, memory: int
) -> Tensor:
    """Distances of each vector to each of another set, in the place of their products.

    Args:
        products: [Q, G] -2ab, overwritten. vectors: a [Q, D] and b [G, D]. lengths: [Q] and [G], squared.
        memory: about how many numbers the second computation of near-duplicates may hold at once.

    Returns:
        ``products``, which now holds the distances.

    Example:
        >>> x = torch.tensor([[0.0, 3.0], [4.0, 0.0]])
        >>> euclidean(-2 * x @ x.T, (x, x), (x.square().sum(1),) * 2, memory=100)
        tensor([[0., 5.],
                [5., 0.]])
    """
    if not products.numel():
        return products
    squared = products.add_(lengths[1]).add_(lengths[0][:, None])
    # The least of each row, one pass, tells which rows to look into.
    least = squared.amin(dim=1).sub_(lengths[0], alpha=_RECOMPUTE_BELOW)
    limit = lengths[1].max() * _RECOMPUTE_BELOW
    distances = squared.sqrt_()  # NaN where rounding made a square negative, as it does to near-duplicates alone
    if bool(least.min() <= limit):
        _compute_again(distances, vectors, lengths, (least <= limit).nonzero()[:, 0], memory)
    return distances


def _compute_again(
    distances: Tensor, vectors: tuple[Tensor, Tensor], lengths: tuple[Tensor, Tensor], rows: Tensor, memory: int
) -> None:
    """Put exact distances in the place of those of near-duplicates; only these ``rows`` hold any."""
    a, b = vectors
    height, step = max(1, memory // (16 * len(b))), max(1, memory // (8 * a.shape[1]))
    for top in range(0, len(rows), height):
        some = rows[top : top + height]
        near = (lengths[0][some, None] + lengths[1]).mul_(_RECOMPUTE_BELOW).sqrt_()
        which, columns = (~(distances[some] > near)).nonzero(as_tuple=True)
        for start in range(0, len(which), step):
            i, j = some[which[start : start + step]], columns[start : start + step]
            distances[i, j] = torch.linalg.vector_norm(a[i] - b[j], dim=1)
