"""From distances to likelihood ratios, for tracks whose distances differ from those of the calibration's images.

Merging images averages their noise away, and other cameras blur or darken. So all distances shift, and an unadapted
calibration would call strangers one person. But in a large set of tracks nearly all pairs *are* strangers. So distances
are shifted and scaled until the strangers have the same distances as the strangers of the calibration. Speaker
verification does the same (z-norm).
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partreid.retrieval.calibration import UPPER, MatchCalibration

FEWEST = 30
"""Distances are only adapted from this number of pairs on."""

_OWN = 500  # with so many pairs, a number of slots is fitted separately
_FARTHEST = 30.0  # larger log-likelihood ratios are limited to this, which is practically certain
_BINS, _ENDS = 8000, (-40.0, 40.0)
_WIDEST = 3.0  # how much wider the nearer half of strangers may be than the farther one
_PAIRS_BEFORE = 200  # by how many pairs the calibration's own prior counts
_ROUNDS, _STEPS = 4, 200


def logistic(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities from log odds, which may be -infinity."""
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))
    return found


def _wider_half(offset: float, slope: float, middle: float, spread: float) -> float:
    """How much wider the nearer half of a calibration's strangers is than the farther half. Both halves are assumed to
    be normal, and the mean likelihood ratio of strangers must be 1. The halves differ because distances end at 0.

    Args:
        offset, slope: of the log-likelihood ratio. middle, spread: the strangers' median, and the farther half's width.
    """
    level, steep = offset - slope * middle, slope * spread

    def mean(width: float) -> float:  # over one half: exp(level + steep * width * |z|) for a standard normal z
        return math.exp(min(700.0, level + (steep * width) ** 2 / 2)) * (1 + math.erf(steep * width / math.sqrt(2)))

    low, high = 1.0, _WIDEST
    for _ in range(40):
        width = (low + high) / 2
        low, high = (width, high) if mean(-1.0) + mean(width) < 2 else (low, width)
    return low


class DistanceFit:
    """Fits the distances of strangers, and the number of pairs that show one person. Pairs of one camera and of two
    cameras are fitted separately, because common light and background make strangers alike.

    Args:
        calibration: its curves, prior, and strangers.

    Attributes:
        prior: the fraction of the pairs of two cameras that show one person; of all pairs, if one of the two kinds is
            rare. share: the fraction of all pairs. pairs: number of added pairs.
        adapted: whether distances are shifted and scaled. They are not if there are few pairs, or if the calibration
            does not contain the distances of its strangers.
    """

    def __init__(self, calibration: MatchCalibration) -> None:
        count = len(calibration.offsets)
        usual = np.array(calibration.strangers or [(0.0, 1.0)] * count)
        columns = (calibration.offsets, calibration.slopes, usual[:, 0], usual[:, 1])
        # By kind: 0, 1, ... slots of two cameras, then the same of one.
        self._offsets, self._slopes, self._middle, self._spread = (
            np.array([1.0, *values] * 2, dtype=np.float64) for values in columns
        )
        self._slots, self._knows_strangers = count + 1, bool(calibration.strangers)
        # How much wider the nearer half of strangers is than the farther one.
        lines = zip(self._offsets, self._slopes, self._middle, self._spread, strict=True)
        self._wider = np.array([_wider_half(*line) for line in lines])
        self._shift, self._scale = np.zeros(2 * self._slots), np.ones(2 * self._slots)
        self._even = np.zeros(2 * self._slots)
        self._heights = np.zeros((2 * self._slots, _BINS), np.int64)
        self._priors, self._prior_before = np.full(2, calibration.prior), calibration.prior
        self.share, self.adapted = calibration.prior, False

    @property
    def pairs(self) -> int:
        """The number of added pairs."""
        return int(self._heights.sum())

    @property
    def prior(self) -> float:
        """The fraction of the pairs of two cameras that show one person."""
        return float(self._priors[0])

    def kinds(self, slots: NDArray[np.int64], one_camera: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The kinds of pairs: a number for the compared slots and for whether one camera saw both."""
        return slots + self._slots * one_camera

    def add(self, distances: NDArray[np.float32], kinds: NDArray[np.int64]) -> None:
        """Add pairs: [N] finite distances and [N] kinds."""
        places = np.clip((self._standard(distances, kinds) - _ENDS[0]) * (_BINS / (_ENDS[1] - _ENDS[0])), 0, _BINS - 1)
        flat = np.bincount(kinds * _BINS + places.astype(np.int64), minlength=self._heights.size)
        self._heights += flat.reshape(self._heights.shape)

    def fit(self, prior: float | None) -> None:
        """Fit the distances of strangers in the added pairs, and the priors if none is given.

        All pairs except the nearest ones count as strangers; the prior gives the number of the nearest. Pairs are not
        weighted by their probability of being strangers, because then any prior would fit.
        """
        self._priors[:] = self._prior_before if prior is None else prior
        self.adapted = self._knows_strangers and self.pairs >= FEWEST
        halves = [slice(0, self._slots), slice(self._slots, 2 * self._slots)]
        if any(self._heights[half].sum() < _OWN for half in halves):
            halves = [slice(0, 2 * self._slots)]
        chance, shares = np.zeros(self._heights.shape), [float(one) for one in self._priors[: len(halves)]]
        kinds = np.arange(len(self._heights))[:, None]
        for _ in range(_ROUNDS if self.adapted else 1):
            if self.adapted:
                for half, share in zip(halves, shares, strict=True):
                    self._place_strangers(half, share)
            odds = np.exp(np.clip(self._ratio_of(self._centres[None], kinds), -_FARTHEST, _FARTHEST))
            for k, half in enumerate(halves):
                if prior is None:
                    self._priors[k:] = self._likeliest_prior(self._heights[half], odds[half])
                shares[k] = self._priors[k]
                chance[half] = odds[half] * self._priors[k] / (odds[half] * self._priors[k] + 1 - self._priors[k])
        self.share = float((self._heights * chance).sum() / max(1, self.pairs)) if prior is None else prior

    def ratio(self, distances: NDArray[np.float32], kinds: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-likelihood ratios that pairs show one person, for use with :attr:`prior`.

        Args:
            distances: of pairs that compared a slot or more. kinds: of the same pairs.
        """
        with np.errstate(invalid="ignore"):
            found = np.clip(self._ratio_of(self._standard(distances, kinds), kinds), -_FARTHEST, _FARTHEST)
        log_odds = np.log(self._priors / (1 - self._priors))
        found += (log_odds[1] - log_odds[0]) * (kinds >= self._slots)
        return found.astype(np.float32)

    @cached_property
    def _centres(self) -> NDArray[np.float64]:
        edges = np.linspace(*_ENDS, _BINS + 1, dtype=np.float64)
        return (edges[1:] + edges[:-1]) / 2

    def _standard(self, distances: NDArray[np.float32], kinds: NDArray[np.int64]) -> NDArray[np.float64]:
        """How far pairs lie from the calibration's strangers, in their spreads."""
        found: NDArray[np.float64] = (distances - self._middle[kinds]) / self._spread[kinds]
        return found

    def _ratio_of(self, standard: NDArray[np.float64], kinds: NDArray[np.int64]) -> NDArray[np.float64]:
        moved = self._middle[kinds] + self._spread[kinds] * (standard - self._shift[kinds]) / self._scale[kinds]
        found: NDArray[np.float64] = self._offsets[kinds] - self._slopes[kinds] * moved - self._even[kinds]
        return found

    def _place_strangers(self, half: slice, same: float) -> None:
        """The strangers' distances for each number of slots that many pairs have; for the others, of all together.

        Args:
            half: kinds. same: the share of these pairs that is of one person.
        """
        whole = self._heights[half].sum(axis=0)
        for kind in range(half.start, half.stop):
            heights = self._heights[kind] if self._heights[kind].sum() >= _OWN else whole
            total = np.cumsum(heights)
            wanted = [(same + share * (1 - same)) * total[-1] for share in (0.5, UPPER)]
            middle, upper = (float(self._centres[np.searchsorted(total, one)]) for one in wanted)
            self._shift[kind], self._scale[kind] = (middle, upper - middle) if upper > middle else (0.0, 1.0)
            self._even[kind] = 0.0
            # The mean likelihood ratio of strangers is 1. Pairs of one person hide the strangers' nearer half. So this
            # half is assumed to mirror the farther one, wider by the same factor as the calibration's.
            far = (self._centres > middle) & (heights > 0)
            if far.any():
                mirrored = np.stack([self._centres, middle - self._wider[kind] * (self._centres - middle)])[:, far]
                ratios = np.exp(np.clip(self._ratio_of(mirrored, np.array(kind)), -_FARTHEST, _FARTHEST))
                self._even[kind] = math.log(np.average(ratios.mean(axis=0), weights=heights[far]))

    def _likeliest_prior(self, heights: NDArray[np.int64], odds: NDArray[np.float64]) -> float:
        """The prior by expectation-maximisation. Few pairs are weak evidence, so the calibration's prior counts as some
        additional pairs."""
        found, total = self._prior_before, int(heights.sum()) + _PAIRS_BEFORE
        for _ in range(_STEPS):
            expected = float((heights * (odds * found / (odds * found + 1 - found))).sum())
            before, found = found, (expected + _PAIRS_BEFORE * self._prior_before) / total
            if abs(found - before) < 1e-6 * before:
                break
        return min(max(found, 1e-9), 0.5)
