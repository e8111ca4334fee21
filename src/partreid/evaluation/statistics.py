"""The uncertainty of scores: bootstrap intervals over queries, and the difference of two models over the same queries.

The gallery is not resampled, and queries count as independent. Because queries of one person are alike, the true
interval is somewhat wider.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import NamedTuple

import numpy as np

from partreid.errors import DataError, ShapeError
from partreid.objects import Guided
from partreid.types import EvaluationResult
from partreid.types.numbers import require_whole

_CHUNK = 4_000_000  # resampled indices held at once


class Interval(NamedTuple):
    """A range that contains the true value with the stated confidence."""

    low: float
    high: float


@dataclass(frozen=True, repr=False)
class PairedDifference(Guided):
    """Second result minus first, over the same queries.

    Attributes:
        metric: "rank1" or "mAP". mean: the difference of the two scores. interval: its bootstrap interval; if it does
            not contain 0, the difference is unlikely to be chance.
    """

    metric: str
    mean: float
    interval: Interval

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return not self.interval.low <= 0 <= self.interval.high


def bootstrap_interval(
    values: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a mean (Efron & Tibshirani 1993, §13.3).

    Args:
        values: [N], one per query, without NaN and infinity.
        groups: [N] whole numbers: values with the same number are drawn together, like those of one person. None = draw
            each value separately.
        samples: resamplings. seed: theirs; the same seed draws the same queries for every metric.
        confidence: fraction of the resampled means inside.

    Raises:
        ShapeError: there is no value, a value is not finite, the number of groups differs, or an option is out of
            range.

    Example:
        >>> bootstrap_interval(np.array([1.0, 1.0, 1.0]))
        Interval(low=1.0, high=1.0)
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiub" or np.ma.is_masked(values):
        raise ShapeError(f"Expected [N] numbers, none of them masked, got {given.dtype} of shape {given.shape}.")
    values = given.astype(np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ShapeError(f"Expected [N] finite numbers, without NaN, at least one, got shape {values.shape}.")
    samples = require_whole("samples", samples, least=1, most=2**27)
    seed = require_whole("seed", seed)
    if isinstance(confidence, bool) or not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ShapeError(f"confidence must lie in (0, 1), got {confidence!r:.80}.")
    sums, counts = (values, None) if groups is None else _by_group(values, groups)
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    step = max(1, _CHUNK // len(sums))
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = rng.integers(0, len(sums), (rows, len(sums)))
        means[start : start + rows] = sums[drawn].sum(axis=1) / (
            len(values) if counts is None else counts[drawn].sum(axis=1)
        )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _by_group(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each group."""
    numbers = np.asarray(groups)
    if numbers.shape != values.shape or numbers.dtype.kind not in "iu" or np.ma.is_masked(groups):
        raise ShapeError(f"Expected {len(values)} whole numbers as groups, got {numbers.dtype} {numbers.shape}.")
    place = np.unique(numbers, return_inverse=True)[1]
    return np.bincount(place, values), np.bincount(place)


def with_confidence(result: EvaluationResult, *, samples: int = 1000, seed: int = 0) -> EvaluationResult:
    """The result with 95 % intervals of "rank1" and "mAP".

    Raises:
        ShapeError: ``samples`` is below 1, or the result has no scores per query.
    """
    intervals = {
        metric: bootstrap_interval(values[_counted(result)], samples=samples, seed=seed)
        for metric, values in _per_query(result).items()
    }
    return replace(result, confidence=intervals)


def paired_difference(
    first: EvaluationResult, second: EvaluationResult, *, samples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> dict[str, PairedDifference]:
    """``second`` minus ``first`` for rank-1 and mAP, resampling the queries of both together.

    Both must come from the same queries in the same order, and from the same gallery.

    Returns:
        "rank1" and "mAP".

    Raises:
        DataError: the two results counted different queries, or used another protocol or gallery.
        ShapeError: an option is out of range.
    """
    if first.protocol != second.protocol:
        raise DataError(f"The results used different protocols: {first.protocol!r} and {second.protocol!r}.")
    if not np.array_equal(_counted(first), _counted(second)):
        raise DataError(
            f"The results counted different queries ({first.num_queries} of {len(first.average_precision)} and "
            f"{second.num_queries} of {len(second.average_precision)}). Evaluate both on the same queries and gallery."
        )
    if first.num_gallery != second.num_gallery:
        raise DataError(
            f"The results ranked galleries of {first.num_gallery} and {second.num_gallery} images. Evaluate both on "
            "the same gallery."
        )
    counted, before, after = _counted(first), _per_query(first), _per_query(second)
    differences = {metric: (after[metric] - before[metric])[counted] for metric in before}
    return {
        metric: PairedDifference(
            metric,
            float(values.mean()),
            bootstrap_interval(values, samples=samples, seed=seed, confidence=confidence),
        )
        for metric, values in differences.items()
    }


def _counted(result: EvaluationResult) -> np.ndarray:
    return np.asarray(~np.isnan(result.average_precision))


def _per_query(result: EvaluationResult) -> dict[str, np.ndarray]:
    if len(result.first_match) != len(result.average_precision):
        raise ShapeError(
            f"The result holds {len(result.average_precision)} average precisions but {len(result.first_match)} first "
            "matches. Make results with evaluate_ranking or evaluate_embeddings."
        )
    return {"rank1": (result.first_match == 1).astype(np.float64), "mAP": result.average_precision}
