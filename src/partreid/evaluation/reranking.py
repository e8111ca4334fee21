"""Re-ranking with part distances: neighbourhoods of queries and gallery from blocks of Eq. 9."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from partreid.base_config import ConfigModel
from partreid.errors import ShapeError
from partreid.functional._reranking import (
    encode_neighbourhoods,
    jaccard_distances,
    nearest_neighbours,
    reciprocal_pairs,
)
from partreid.functional.distance import MEMORY_BUDGET, paired_distances
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings
from partreid.types.numbers import require_whole

_BLOCK_BYTES = 24  # per distance of a block: itself, a copy without the image itself, and room for the selection


class RerankingConfig(ConfigModel):
    """k-reciprocal re-ranking (Zhong et al. 2017, the paper's reference [44]). The defaults are theirs.

    The paper reports all its figures without it (§4.1).
    """

    k1: Annotated[int, Field(ge=1)] = 20
    """Neighbours that each image may have."""

    k2: Annotated[int, Field(ge=1)] = 6
    """Nearest images over which a neighbourhood is averaged, the image itself included; 1 averages none."""

    weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Weight of the distance itself in the final one, the rest is the Jaccard distance; 1 keeps the order as it was."""


class Reranker:
    """New distances between queries and a gallery, from the neighbourhoods of all these images.

    A pair that shares no visible slot is never a neighbour, and its final distance stays infinite: if both are near a
    third image, they might show one person, but they were not compared, and infinity means this everywhere in partreid.

    Memory, with N = Q + G images: a second copy of the embeddings, 8·(k1 + 1) bytes per image for the neighbour lists,
    and 16 bytes for each stored weight. An image has at most k2·(k1 + 1)·(k1/2 + 1) weights and usually a few hundred;
    for a while they exist twice. ``memory_budget`` comes in addition. Time grows with N².

    Args:
        query: [Q, S, D]. gallery: [G, S, D], from the same model.
        matching: how to compare. config: the method's constants.
        memory_budget: bytes to work in.

    Raises:
        ShapeError: slots or widths differ, or a value is not finite.

    Example:
        >>> e = PartEmbeddings(torch.tensor([[[0.0]], [[1.0]], [[3.0]]]), torch.ones(3, 1), ("foreground",))
        >>> plain = MatchingConfig().distances(e[:1], e[1:])
        >>> reranker = Reranker(e[:1], e[1:], matching=MatchingConfig(), config=RerankingConfig(k1=1, k2=1))
        >>> reranker.rerank(plain, first=0)
        tensor([[0.3369, 1.0000]])
    """

    def __init__(
        self,
        query: PartEmbeddings,
        gallery: PartEmbeddings,
        *,
        matching: MatchingConfig,
        config: RerankingConfig,
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        self.config = config
        everyone = matching.prepare(PartEmbeddings.cat([query, gallery]))
        neighbours, self._scale = _neighbours(everyone, matching, config.k1, memory_budget)
        rows, columns = reciprocal_pairs(neighbours)
        distances = _pair_distances(everyone, matching, (rows, columns), memory_budget) / self._scale[rows]
        encoding = encode_neighbourhoods(neighbours, (rows, columns), distances, k2=config.k2)
        self._queries, self._gallery = encoding[: len(query)], encoding[len(query) :].transposed()

    def rerank(self, distances: Tensor, *, first: int) -> Tensor:
        """Final distances (their Eq. 12) of some queries.

        Args:
            distances: [q, G] under the same matching, of queries ``first``, ``first + 1``, ...

        Returns:
            [q, G] in [0, 1], of the same type and device; infinity where ``distances`` is.

        Raises:
            ShapeError: the shape does not fit this re-ranker's queries and gallery, or a distance is NaN.
        """
        first = require_whole("first", first)
        queries, gallery = len(self._queries), self._gallery.width
        if (
            distances.ndim != 2
            or not distances.is_floating_point()
            or distances.shape[1] != gallery
            or not 0 <= first <= queries - len(distances)
        ):
            raise ShapeError(
                f"Expected floating-point distances [q, {gallery}] of some of {queries} queries, got "
                f"{distances.dtype} {tuple(distances.shape)} from query {first} on."
            )
        if torch.isnan(distances.sum()) and torch.isnan(distances).any():
            raise ShapeError("A distance is NaN. Use infinity for images that cannot be compared.")
        some = slice(first, first + len(distances))
        scale = torch.from_numpy(self._scale[some]).to(distances)[:, None]
        jaccard = torch.from_numpy(jaccard_distances(self._queries[some], self._gallery)).to(distances)
        weight = self.config.weight
        mixed = (1 - weight) * jaccard + weight * (distances / scale)
        return torch.where(torch.isinf(distances), distances, mixed)


def _neighbours(
    everyone: PartEmbeddings, matching: MatchingConfig, count: int, memory_budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """[N, 1 + k] neighbour lists, and [N] the largest finite distance of each image (1 where there is none)."""
    lists, scales = [], []
    rows = matching.prepared.rows(everyone, everyone, memory_budget=memory_budget)
    for some in rows.blocks(beside=_BLOCK_BYTES * len(everyone)):
        distances = rows.write(some, rows.room(some.stop - some.start))
        lists.append(nearest_neighbours(distances, first=some.start, count=count).cpu().numpy())
        scales.append(distances.masked_fill_(torch.isinf(distances), 0).amax(dim=1).cpu().numpy())
    scale = np.concatenate(scales)
    return np.concatenate(lists), np.where(scale > 0, scale, 1)


def _pair_distances(
    everyone: PartEmbeddings, matching: MatchingConfig, pairs: tuple[np.ndarray, np.ndarray], memory_budget: int
) -> np.ndarray:
    """[M] distances of chosen pairs; 0 from an image to itself, though it may show no slot at all."""
    rows, columns = pairs
    found = np.empty(len(rows), np.float32)
    step = max(1, memory_budget // (6 * 8 * everyone.width * len(everyone.slots)))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        block = paired_distances(
            everyone[rows[some]],
            everyone[columns[some]],
            normalize=matching.normalize,
            visibility=matching.visibility,
            weights=matching.weights,
        )
        found[some] = block.cpu().numpy()
    return np.where(rows == columns, np.float32(0), found)
