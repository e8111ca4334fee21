"""Histograms of the distances between images of one person, and between images of different persons.

They are computed block by block, like the scores, so that memory does not grow with queries × gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.evaluation.evaluator import EvaluationConfig, Identities, MatchedIdentities
from partreid.objects import Guided
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, check_comparable
from partreid.types._id_values import Ids
from partreid.types.numbers import require_whole

_BYTES = 40  # per pair: its distance, its bin, and whether the two show one person in one view


@dataclass(frozen=True, eq=False, repr=False)
class DistanceDistribution(Guided):
    """Distances of all query-gallery pairs that count; junk (same person and view, or person -1) is left out.

    Attributes:
        edges: [N+1] of equal bins from 0 on, in the distance's own unit.
        same, different: [N] comparable pairs in each bin, of one person and of two.
        not_comparable: numbers of pairs of one person, and of two, that share no visible slot, so that their distance
            is infinite.
    """

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray
    not_comparable: tuple[int, int]

    @property
    def pairs(self) -> tuple[int, int]:
        """Pairs of one person, and of two, comparable or not."""
        same, different = self.not_comparable
        return int(self.same.sum()) + same, int(self.different.sum()) + different

    @property
    def separation(self) -> float:
        """How often a pair of one person is nearer than a pair of two persons: 1 = always, 0.5 = chance.

        The area under the ROC curve of the distance. Equal bins, and two infinite distances, count half. NaN if one
        kind of pair is missing.
        """
        same, different = (
            np.append(counts, missing).astype(np.float64)
            for counts, missing in zip((self.same, self.different), self.not_comparable, strict=True)
        )
        total = same.sum() * different.sum()
        farther = different[::-1].cumsum()[::-1] - different
        return float((same * (farther + different / 2)).sum() / total) if total else float("nan")

    def coarse(self, bins: int = 50) -> DistanceDistribution:
        """The same distribution with at most about ``bins`` non-empty bins, for drawing.

        Raises:
            ShapeError: ``bins`` is below 1.
        """
        require_whole("bins", bins, least=1)
        used = np.flatnonzero(self.same + self.different)
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        step = -(-(last - first) // bins)
        starts = np.arange(first, last, step)
        stop = min(int(starts[-1]) + step, len(self.same))
        same, different = (np.add.reduceat(counts[:stop], starts) for counts in (self.same, self.different))
        return DistanceDistribution(self.edges[[*starts, stop]], same, different, self.not_comparable)


def distance_distribution(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    query_ids: Identities | tuple[Ids, Ids | None],
    gallery_ids: Identities | tuple[Ids, Ids | None],
    *,
    matching: MatchingConfig | None = None,
    options: EvaluationConfig | None = None,
    bins: int = 2048,
) -> DistanceDistribution:
    """Histograms of the distances (Eq. 9) of all pairs that count. Use ``embeddings.select`` for a single slot.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], from the same model.
        query_ids, gallery_ids: as in ``evaluate_embeddings``; the same pairs are junk.
        matching: how to compare; as the model was made for where None. options: memory.
        bins: number of equal bins up to the largest distance that the vectors' lengths allow.

    Raises:
        ShapeError: slots or widths do not fit, a value is NaN, or there is no pair.

    Example:
        >>> e = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
        >>> found = distance_distribution(e, e, ([1, 2, 3], None), ([1, 2, 3], None))
        >>> found.pairs, found.separation
        ((3, 6), 1.0)
    """
    matching, options = MatchingConfig.given(matching), EvaluationConfig.given(options)
    check_comparable(query, gallery)
    matching = matching.resolved(query, gallery)
    bins = require_whole("bins", bins, least=1, most=2**24)
    matched = MatchedIdentities.of(query_ids, gallery_ids, sizes=(len(query), len(gallery)))
    query, gallery, ids = matched.without_junk(query, gallery)
    if not len(query) or not len(gallery):
        raise ShapeError(f"Expected at least one pair, got {len(query)} queries and {len(gallery)} gallery images.")
    query, gallery = matching.prepare(query), matching.prepare(gallery)
    matching = matching.prepared
    edges = np.linspace(0, _largest(query, gallery, normalize=bool(matching.normalize)), bins + 1)
    counts = np.zeros((2, bins + 1), np.int64)  # of different persons, of the same; the last bin: not comparable
    budget = options.memory_budget_mib * 2**20 // 2
    rows = max(1, budget // (_BYTES * len(gallery)))
    for start in range(0, len(query), rows):
        some = slice(start, start + rows)
        distances = matching.distances(query[some], gallery, memory_budget=budget)
        same = _equal(ids.pids, some)
        counted = torch.ones_like(same) if ids.views is None else ~(same & _equal(ids.views, some))
        position = (distances / edges[-1] * bins).clamp(max=bins - 1).nan_to_num().to(torch.int32)
        position[distances.isinf()] = bins
        for kind, members in enumerate((~same & counted, same & counted)):
            counts[kind] += torch.bincount(position[members], minlength=bins + 1).cpu().numpy()
    return DistanceDistribution(edges, counts[1, :bins], counts[0, :bins], (int(counts[1, bins]), int(counts[0, bins])))


def _largest(query: PartEmbeddings, gallery: PartEmbeddings, *, normalize: bool) -> float:
    """No slot's distance exceeds the sum of the two lengths, and no weighted mean the largest slot's distance."""
    if normalize:
        return 2.0
    longest = [e.vectors.float().norm(dim=2).amax(dim=0) for e in (query, gallery)]
    return max(float((longest[0] + longest[1]).max()), 1e-12)


def _equal(numbers: tuple[np.ndarray, np.ndarray], some: slice) -> Tensor:
    """[q, G]: whether some of the queries and the gallery's images have the same number."""
    query, gallery = (torch.from_numpy(side) for side in numbers)
    return query[some, None] == gallery[None]
