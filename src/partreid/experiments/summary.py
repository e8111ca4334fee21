"""A table of an experiment: scores over seeds beside the paper's, and whether the paper's claims hold here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from partreid.errors import DataError
from partreid.evaluation.statistics import Interval, bootstrap_interval
from partreid.experiments.rows import Claim, Experiment, PaperScore, Row
from partreid.experiments.runs import Scores
from partreid.objects import Guided

SAMPLES = 2000
"""Resamplings of the queries behind every interval."""

Verdict = Literal["holds", "reversed", "undecided"]


@dataclass(frozen=True)
class Metric:
    """A score over seeds, in percent.

    Attributes:
        mean: over the seeds. std: standard deviation between seeds (n - 1), NaN for one seed.
        interval: 95 % bootstrap interval over the queries, each query's score averaged over the seeds.
    """

    mean: float
    std: float
    interval: Interval


@dataclass(frozen=True)
class RowSummary:
    """One row, compared as ``compared`` says; ``rank1`` and ``mean_ap`` are None where no seed is done."""

    name: str
    paper: PaperScore | None
    seeds: tuple[int, ...]
    rank1: Metric | None
    mean_ap: Metric | None
    compared: str = ""


@dataclass(frozen=True)
class ClaimSummary:
    """A claim of the paper, tried.

    Attributes:
        claim: who should be better. difference: in mAP, percent, over the seeds that both rows have done.
        interval: its 95 % bootstrap interval over the queries. seeds_for: seeds in which the difference is positive.
        seeds: seeds compared. verdict: whether the interval lies above 0, below, or holds it.
    """

    claim: Claim
    difference: float
    interval: Interval
    seeds_for: int
    seeds: int
    verdict: Verdict


@dataclass(frozen=True, repr=False)
class Summary(Guided):
    """A whole table.

    Attributes:
        experiment: its definition. rows: in its order. claims: those whose rows are done.
        order: Spearman's rank correlation of the rows' mAP with the paper's, None below three rows in common.
    """

    experiment: Experiment
    rows: tuple[RowSummary, ...]
    claims: tuple[ClaimSummary, ...]
    order: float | None


RowScores = Mapping[int, Scores]
"""Scores of one row by seed."""


def summarize(experiment: Experiment, scores: Mapping[str, RowScores]) -> Summary:
    """Aggregate an experiment.

    Args:
        experiment: its definition. scores: by name of the row, then by seed; what is missing is not done yet.

    Raises:
        DataError: rows or seeds were scored on other queries.
    """
    rows = tuple(_row(row, scores.get(row.name, {})) for row in experiment.rows)
    claims = [_claim(claim, scores) for claim in experiment.claims]
    return Summary(experiment, rows, tuple(c for c in claims if c is not None), _order(rows))


def _row(row: Row, by_seed: RowScores) -> RowSummary:
    seeds = tuple(sorted(by_seed))
    if not seeds:
        return RowSummary(row.name, row.paper, (), None, None)
    rank1 = _metric(_stacked([by_seed[seed].rank1 for seed in seeds], row.name))
    mean_ap = _metric(_stacked([by_seed[seed].ap for seed in seeds], row.name))
    ways = " / ".join(dict.fromkeys(by_seed[seed].compared for seed in seeds if by_seed[seed].compared))
    return RowSummary(row.name, row.paper, seeds, rank1, mean_ap, ways)


def _metric(values: np.ndarray) -> Metric:
    """``values``: [seeds, queries] in [0, 1]."""
    means = 100 * values.mean(axis=1)
    std = float(means.std(ddof=1)) if len(means) > 1 else float("nan")
    return Metric(float(means.mean()), std, _percent(bootstrap_interval(values.mean(axis=0), samples=SAMPLES)))


def _claim(claim: Claim, scores: Mapping[str, RowScores]) -> ClaimSummary | None:
    better, worse = scores.get(claim.better, {}), scores.get(claim.worse, {})
    seeds = sorted(better.keys() & worse.keys())
    if not seeds:
        return None
    names = f"{claim.better} and {claim.worse}"
    first, second = (_stacked([one[seed].ap for seed in seeds], names) for one in (better, worse))
    if first.shape != second.shape:
        raise DataError(f"{names} were scored on {first.shape[1]} and {second.shape[1]} queries. Score them again.")
    differences = first - second
    interval = _percent(bootstrap_interval(differences.mean(axis=0), samples=SAMPLES))
    verdict: Verdict = "holds" if interval.low > 0 else "reversed" if interval.high < 0 else "undecided"
    per_seed = differences.mean(axis=1)
    return ClaimSummary(claim, 100 * float(per_seed.mean()), interval, int((per_seed > 0).sum()), len(seeds), verdict)


def _order(rows: Sequence[RowSummary]) -> float | None:
    pairs = [(row.paper.mean_ap, row.mean_ap.mean) for row in rows if row.paper and row.mean_ap]
    if len(pairs) < 3:
        return None
    ours, theirs = (_ranks(np.array(values)) for values in zip(*pairs, strict=True))
    if ours.std() == 0 or theirs.std() == 0:
        return None
    return float(np.corrcoef(ours, theirs)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values all get the mean of theirs."""
    below = (values[None] < values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    ranks: np.ndarray = below + (equal - 1) / 2
    return ranks


def _stacked(values: Sequence[np.ndarray], name: str) -> np.ndarray:
    if len({len(one) for one in values}) > 1:
        raise DataError(f"The seeds of {name} were scored on {sorted(map(len, values))} queries. Score them again.")
    return np.stack(values)


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)
