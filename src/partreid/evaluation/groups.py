"""How well a model finds groups of queries, and whether one group is found less well than all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from partreid.errors import ShapeError
from partreid.evaluation.statistics import Interval, bootstrap_interval
from partreid.objects import Guided
from partreid.types.numbers import require_whole

FEWEST_PERSONS = 10
"""Of fewer persons an interval says nothing: the bootstrap knows only those it has."""


@dataclass(frozen=True, repr=False)
class Estimate(Guided):
    """A figure, and an interval that contains the true value with the stated confidence."""

    value: float
    interval: Interval


@dataclass(frozen=True, repr=False)
class GroupScore(Guided):
    """The scores of one group of queries.

    Attributes:
        name: of the group. queries, persons: their numbers.
        scores: mean of each metric with its interval; empty if there are fewer than :data:`FEWEST_PERSONS` persons.
        differences: the group's mean minus that of all other queries that belong to a group; empty if either side has
            too few persons.
    """

    name: str
    queries: int
    persons: int
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    differences: Mapping[str, Estimate] = field(default_factory=dict)


def score_groups(
    values: Mapping[str, np.ndarray],
    persons: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    *,
    samples: int = 4000,
    seed: int = 0,
) -> list[GroupScore]:
    """Scores of each group of queries, with 95 % bootstrap intervals over persons.

    All intervals of the differences together hold with 95 % (Bonferroni). Otherwise, among many groups, one would seem
    worse by chance. Two groups are one comparison.

    Args:
        values: by metric, [N] of each query, NaN for one that does not count; in [0, 1], as
            ``result.average_precision`` is. persons: [N] whole numbers, the person of each query; images of one person
            are alike.
        groups: [N] whole numbers: the position in ``names``, -1 for a query whose group is unknown.
        names: of the groups. samples: resamplings. seed: theirs.

    Returns:
        One for each name, in their order.

    Raises:
        ShapeError: no metric, other lengths, a group without a name, or an option out of range.

    Example:
        >>> right = np.array([1.0] * 10 + [0.0] * 10)
        >>> day, night = score_groups({"rank1": right}, np.arange(20), np.repeat([0, 1], 10), ["day", "night"])
        >>> night.differences["rank1"].value
        -1.0
    """
    persons, groups = _whole("persons", persons), _whole("groups", groups)
    samples, seed = require_whole("samples", samples, least=1, most=2**20), require_whole("seed", seed)
    found = {metric: np.asarray(one) for metric, one in values.items()}
    if not found or any(one.dtype.kind != "f" or one.shape != persons.shape for one in found.values()):
        raise ShapeError(f"Expected metrics of [{len(persons)}] numbers, got {[one.shape for one in found.values()]}.")
    if groups.shape != persons.shape or (len(groups) and not -1 <= groups.min() <= groups.max() < len(names)):
        raise ShapeError(f"Expected {len(persons)} places in {len(names)} names, or -1, got {groups!r:.80}.")
    if any(np.isinf(one).any() or np.ma.is_masked(one) for one in found.values()):
        raise ShapeError("Expected scores in [0, 1] or NaN, got infinity or masked values.")
    counted = ~np.logical_or.reduce([np.isnan(one) for one in found.values()]) & (groups >= 0)
    found = {metric: one[counted].astype(np.float64) for metric, one in found.items()}
    persons, groups = persons[counted], groups[counted]
    members = [groups == place for place in range(len(names))]
    compared = [_enough(persons[inside]) and _enough(persons[~inside]) for inside in members]
    comparisons = 1 if len(members) == 2 else max(1, sum(compared))
    rows = []
    for name, inside, other in zip(names, members, compared, strict=True):
        some = persons[inside]
        scores = {
            metric: Estimate(
                float(one[inside].mean()), bootstrap_interval(one[inside], groups=some, samples=samples, seed=seed)
            )
            for metric, one in found.items() if _enough(some)
        }  # fmt: skip
        differences = {
            metric: _difference(one, inside, persons, samples, seed, 1 - 0.05 / comparisons)
            for metric, one in found.items() if other
        }  # fmt: skip
        rows.append(GroupScore(name, int(inside.sum()), len(np.unique(some)), scores, differences))
    return rows


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    numbers = np.asarray(values)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or np.ma.is_masked(values):
        raise ShapeError(f"{name}: expected [N] whole numbers, got {numbers.dtype} of shape {numbers.shape}.")
    return numbers


def _enough(persons: np.ndarray) -> bool:
    return len(np.unique(persons)) >= FEWEST_PERSONS


def _difference(
    values: np.ndarray, inside: np.ndarray, persons: np.ndarray, samples: int, seed: int, confidence: float
) -> Estimate:
    """Mean inside minus mean outside. Persons are drawn with all their queries, whichever side these are on."""
    place = np.unique(persons, return_inverse=True)[1]
    sums, counts = (
        [np.bincount(place, side * weight) for side in (inside, ~inside)] for weight in (values, np.ones_like(values))
    )
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums[0]), np.full(len(sums[0]), 1 / len(sums[0])), size=samples)
    with np.errstate(invalid="ignore"):  # a resample may leave one side empty
        means = [(drawn @ total) / (drawn @ count) for total, count in zip(sums, counts, strict=True)]
    low, high = np.nanquantile(means[0] - means[1], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(values[inside].mean() - values[~inside].mean()), Interval(float(low), float(high)))
