"""What every pair of tracks says: how much likelier its looks are of one person than of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.linking.clocks import Clocks
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.retrieval.calibration import MatchCalibration
from partreid.types import PartEmbeddings

MEMORY = 4 * 2**30
"""Bytes that the evidence of all pairs may take."""

_ROWS = 256
_FARTHEST = 30.0  # log-likelihood ratios beyond say no more: they are as good as certain
_BINS = 6000
_PAIRS_BEFORE = 200  # by how many pairs the calibration's own prior counts


@dataclass(frozen=True, eq=False, repr=False)
class Evidence(Guided):
    """Of N tracks.

    Attributes:
        ratio: [N, N] float32 log-likelihood ratio that two tracks are one person; 0 where no slot was compared,
            -infinity where they cannot be, and on the diagonal.
        pattern: [N] which slots a track shows, as a row of ``comparable``.
        comparable: [P, P] bool: whether tracks of two patterns share a slot.
        prior: the fraction of the possible pairs that show one person, estimated from these pairs.
        unknown: pairs that are possible and share no slot. impossible: pairs that are not.
    """

    ratio: NDArray[np.float32]
    pattern: NDArray[np.int64]
    comparable: NDArray[np.bool_]
    prior: float
    unknown: int
    impossible: int

    def probability(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities of pairs by position; NaN where no slot was compared, 0 where they cannot be one person."""
        found = logistic(self.ratio[i, j].astype(np.float64) + np.log(self.prior / (1 - self.prior)))
        return np.where(self.comparable[self.pattern[i], self.pattern[j]], found, np.nan)


def logistic(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of log odds, -infinity among them."""
    return 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))


def gather_evidence(
    embeddings: PartEmbeddings,
    clocks: Clocks,
    calibration: MatchCalibration,
    *,
    prior: float | None = None,
    memory: int = MEMORY,
    advance: Advance = lambda count: None,
) -> Evidence:
    """Compare all pairs of N tracks.

    Args:
        embeddings: [N, S, D]. clocks: of the same tracks. calibration: from distances to probabilities.
        prior: the fraction of the possible pairs that show one person; estimated where None.
        memory: bytes that the result may take. advance: told how many tracks were compared with all.

    Raises:
        DataError: there are too many for the memory; or the calibration is another model's.
        ConfigError: ``prior`` is not between 0 and 1.
    """
    count = len(embeddings)
    if 4 * count * count > memory:
        raise DataError(
            f"All pairs of {count} tracks would take {4 * count * count / 2**30:.3g} GiB; at most "
            f"{int((memory / 4) ** 0.5)} tracks fit into {memory / 2**30:.3g} GiB. Link some hours or cameras at a "
            "time (--since, --until, --camera), or give more memory (link(memory=...))."
        )
    calibration.check_models(embeddings.model)
    even = calibration.with_prior(0.5 if prior is None else prior).with_prior(0.5)  # refuses a prior that is none
    shown, matching = (
        calibration.matching.resolved(embeddings).prepare(embeddings),
        calibration.matching.resolved(embeddings).prepared,
    )
    seen, pattern = np.unique((shown.visibility > 0).numpy(), axis=0, return_inverse=True)
    ratio = np.empty((count, count), np.float32)
    heights, unknown, impossible = np.zeros(_BINS, np.int64), 0, 0
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        distances = matching.distances(shown[rows], shown[start:]).double()
        compared = matching.comparable(shown[rows], shown[start:])
        chance = even.probability(distances, compared).numpy()
        with np.errstate(divide="ignore"):
            block = np.clip(np.log(chance) - np.log1p(-chance), -_FARTHEST, _FARTHEST)
        apart = clocks.apart(rows, count)[:, start:]
        later = np.arange(start, count)[None] > rows[:, None]
        some = later & ~apart & (compared.numpy() > 0)
        heights += np.histogram(block[some], _BINS, (-_FARTHEST, _FARTHEST))[0]
        impossible += int((later & apart).sum())
        unknown += int((later & ~apart & (compared.numpy() == 0)).sum())
        block[apart] = -np.inf
        ratio[rows, start:] = block
        ratio[start:, rows] = block.T
        advance(len(rows))
    np.fill_diagonal(ratio, -np.inf)
    found = _fitted_prior(heights, calibration.prior) if prior is None else prior
    return Evidence(ratio, pattern.reshape(-1), _comparable(seen, shown, calibration), found, unknown, impossible)


def _comparable(seen: NDArray[np.bool_], like: PartEmbeddings, calibration: MatchCalibration) -> NDArray[np.bool_]:
    """[P, P] whether tracks that show these slots share one."""
    visibility = torch.from_numpy(seen.astype(np.float32))
    example = PartEmbeddings(torch.zeros(*visibility.shape, 1), visibility, like.slots)
    matching = calibration.matching.prepared
    found: NDArray[np.bool_] = (matching.comparable(example, example) > 0).numpy()
    return found


def _fitted_prior(heights: NDArray[np.int64], start: float) -> float:
    """The fraction of pairs of one person under which the ratios are likeliest, by expectation-maximisation.

    Few pairs say little: the calibration's own prior counts as some more.
    """
    odds = np.exp((np.arange(_BINS) + 0.5) * (2 * _FARTHEST / _BINS) - _FARTHEST)
    prior, total = start, heights.sum() + _PAIRS_BEFORE
    for _ in range(1000):
        expected = heights @ (odds * prior / (odds * prior + 1 - prior)) + _PAIRS_BEFORE * start
        before, prior = prior, float(expected / total)
        if abs(prior - before) < 1e-6 * before:
            break
    return min(max(prior, 1e-9), 0.5)
