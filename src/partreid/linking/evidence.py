"""The evidence of every pair of tracks: the likelihood ratio that it shows one person rather than two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.linking.clocks import Clocks
from partreid.linking.distances import DistanceFit
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings

MEMORY = 4 * 2**30
"""Bytes that the evidence of all pairs may take."""

_ROWS = 256


@dataclass(frozen=True, eq=False, repr=False)
class Evidence(Guided):
    """The evidence of all pairs of N tracks.

    Attributes:
        ratio: [N, N] float32 log-likelihood ratio that two tracks are one person; 0 where no slot was compared,
            -infinity if this is impossible, and on the diagonal.
        pattern: [N] which slots a track shows, as a row of ``comparable``.
        comparable: [P, P] bool: whether tracks of two patterns share a slot.
        fit: from distances to ratios, and the fraction of the possible pairs that show one person.
        unknown: number of possible pairs that share no slot. impossible: number of impossible pairs.
    """

    ratio: NDArray[np.float32]
    pattern: NDArray[np.int64]
    comparable: NDArray[np.bool_]
    fit: DistanceFit
    unknown: int
    impossible: int

    @property
    def prior(self) -> float:
        """The prior for the ratios: :attr:`DistanceFit.prior`."""
        return self.fit.prior


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
        prior: the fraction of the possible pairs that show one person; None = estimate it.
        memory: bytes allowed for the result. advance: called with the number of tracks that were compared with all.

    Raises:
        DataError: there are too many tracks for the memory; or the calibration is for another model.
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
    calibration = calibration if prior is None else calibration.with_prior(prior)  # refuses an invalid prior
    rule = calibration.matching.resolved(embeddings)
    shown, rule = rule.prepare(embeddings), rule.prepared
    seen, pattern = np.unique((shown.visibility > 0).numpy(), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    slots = _compared(seen, shown, rule)
    ratio, fit = np.empty((count, count), np.float32), DistanceFit(calibration)
    unknown = impossible = 0

    def kinds_of(rows: NDArray[np.int64], start: int) -> NDArray[np.int64]:
        one_camera = clocks.one_camera(rows[:, None], np.arange(start, count)[None])
        return fit.kinds(slots[pattern[rows]][:, pattern[start:]], one_camera)

    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        block = rule.distances(shown[rows], shown[start:]).numpy()
        number, kinds = slots[pattern[rows]][:, pattern[start:]], kinds_of(rows, start)
        apart = clocks.apart(rows, count)[:, start:]
        later = np.arange(start, count)[None] > rows[:, None]
        some = later & ~apart
        fit.add(block[some & (number > 0)], kinds[some & (number > 0)])
        impossible += int((later & apart).sum())
        unknown += int((some & (number == 0)).sum())
        block[apart] = -np.inf
        ratio[rows, start:] = block
        advance(len(rows))
    fit.fit(prior)
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        block, number = ratio[rows, start:], slots[pattern[rows]][:, pattern[start:]]
        found = np.where(number > 0, fit.ratio(block, kinds_of(rows, start)), 0)
        found[np.isneginf(block)] = -np.inf
        ratio[rows, start:] = found
        ratio[start:, rows] = found.T
    np.fill_diagonal(ratio, -np.inf)
    return Evidence(ratio, pattern, slots > 0, fit, unknown, impossible)


def _compared(seen: NDArray[np.bool_], like: PartEmbeddings, rule: MatchingConfig) -> NDArray[np.int64]:
    """[P, P] the number of slots that two patterns share."""
    visibility = torch.from_numpy(seen.astype(np.float32))
    example = PartEmbeddings(torch.zeros(*visibility.shape, 1), visibility, like.slots)
    found: NDArray[np.int64] = rule.comparable(example, example).numpy()
    return found
