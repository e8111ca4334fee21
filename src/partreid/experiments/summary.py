"""A table of an experiment: scores over seeds beside the paper's, whether its claims hold here, and the files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from partreid.errors import DataError
from partreid.evaluation.statistics import Interval, bootstrap_interval
from partreid.experiments.execute import Plan
from partreid.experiments.rows import Claim, Experiment, PaperScore, Row
from partreid.experiments.runs import Scores
from partreid.files import write_text
from partreid.objects import Guided
from partreid.reports.tables import as_csv, as_latex

COLUMNS = ("row", "paper: rank-1 / mAP", "rank-1", "mAP", "95 % of mAP", "seeds")
"""Heads of a table of :func:`cells`."""
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


def summarize(experiment: Experiment, scores: Mapping[str, Mapping[int, Scores]]) -> Summary:
    """Aggregate an experiment.

    Args:
        experiment: its definition. scores: by name of the row, then by seed; what is missing is not done yet.

    Raises:
        DataError: rows or seeds were scored on other queries.
    """
    rows = tuple(_row(row, scores.get(row.name, {})) for row in experiment.rows)
    claims = [_claim(claim, scores) for claim in experiment.claims]
    return Summary(experiment, rows, tuple(c for c in claims if c is not None), _order(rows))


def _row(row: Row, by_seed: Mapping[int, Scores]) -> RowSummary:
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


def _claim(claim: Claim, scores: Mapping[str, Mapping[int, Scores]]) -> ClaimSummary | None:
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
    return np.asarray(below + (equal - 1) / 2)


def _stacked(values: Sequence[np.ndarray], name: str) -> np.ndarray:
    if len({len(one) for one in values}) > 1:
        raise DataError(f"The seeds of {name} were scored on {sorted(map(len, values))} queries. Score them again.")
    return np.stack(values)


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)


def as_markdown(summary: Summary, plan: Plan) -> str:
    """A page: how it was run, the table, and the paper's claims tried."""
    one, base = summary.experiment, plan.base
    sets = ", ".join(
        f"{d.name} ({len(d.train)} training images of {len(d.train_identities)} identities, {len(d.query)} queries "
        f"of the query set {next(iter(d.queries))!r}, {len(d.gallery)} in the gallery)"
        for d in plan.datasets.values()
    )
    lines = [
        f"# {one.title} ({one.name})",
        "",
        f"Data: {sets}. Paper: {one.data}.",
        f"Base: {base.model.backbone}, {base.preprocess.height}×{base.preprocess.width}, parts {base.model.parts}, "
        f"{base.optimizer.epochs} epochs, start {base.pretrained}.",
        "Rank-1 and mAP in percent: mean ± standard deviation over the seeds; 95 % bootstrap interval over the "
        "queries, each averaged over the seeds.",
        "",
        _line(COLUMNS),
        "|" + "---|" * len(COLUMNS),
        *(_line(cells(row)) for row in summary.rows),
        "",
        *(f"* {note}" for note in (*one.notes, *ways(summary))),
        "",
        f"## Does the paper's order hold? {outcome(summary)}",
        "",
        _line(("should rank before", "mAP difference", "95 %", "seeds in favour", "verdict")),
        "|---|---|---|---|---|",
        *(_line(_claim_cells(claim)) for claim in summary.claims),
    ]
    return "\n".join(lines) + "\n"


def write_tables(summary: Summary, plan: Plan) -> list[Path]:
    """Write a table as Markdown, JSON, CSV and LaTeX into the plan's folder; the files.

    Raises:
        DataError: a file cannot be written.
    """
    one = summary.experiment
    texts = {
        ".md": as_markdown(summary, plan),
        ".json": json.dumps(as_json(summary), indent=2) + "\n",
        ".csv": as_csv([_flat(row) for row in summary.rows]),
        ".tex": as_latex(COLUMNS, map(cells, summary.rows), note=f"{one.title} ({one.name}), %"),
    }
    files = {plan.out / f"{one.name}{suffix}": text for suffix, text in texts.items()}
    for file, text in files.items():
        write_text(file, text, error=DataError)
    return list(files)


def _flat(row: RowSummary) -> dict[str, object]:
    """A row for a CSV file, in percent."""
    values: dict[str, object] = {"row": row.name, "seeds": len(row.seeds)}
    for name, metric in (("rank1", row.rank1), ("mAP", row.mean_ap)):
        low, high = (None, None) if metric is None else metric.interval
        mean, std = (None, None) if metric is None else (metric.mean, metric.std)
        values |= {name: mean, f"{name}_std": std, f"{name}_low": low, f"{name}_high": high}
    paper = row.paper or (None, None)
    return values | {"paper_rank1": paper[0], "paper_mAP": paper[1]}


def as_json(summary: Summary) -> dict[str, Any]:
    """All scores, in percent; NaN becomes null."""
    rows = []
    for row in summary.rows:
        content = asdict(row)
        content["mAP"] = content.pop("mean_ap")
        content["paper"] = row.paper and {"rank1": row.paper.rank1, "mAP": row.paper.mean_ap}
        rows.append(content)
    content = {
        "experiment": summary.experiment.name,
        "rows": rows,
        "claims": [asdict(claim) for claim in summary.claims],
        "order": summary.order,
    }
    cleaned: dict[str, Any] = _without_nan(content)
    return cleaned


def ways(summary: Summary) -> list[str]:
    """How images were compared, a sentence for each way with the rows that were scored so."""
    rows: dict[str, list[str]] = {}
    for row in summary.rows:
        if row.compared:
            rows.setdefault(row.compared, []).append(row.name)
    return [way if len(rows) == 1 else f"{way} Rows: {', '.join(names)}." for way, names in rows.items()]


def outcome(summary: Summary) -> str:
    """How the paper's claims came out, in a sentence."""
    counts = Counter(claim.verdict for claim in summary.claims)
    text = (
        f"Of {len(summary.claims)} claims {counts['holds']} hold, {counts['undecided']} are undecided, "
        f"{counts['reversed']} are reversed."
    )
    if summary.order is not None:
        text += f" Rank correlation with the paper's mAP: {summary.order:+.2f}."
    return text


def cells(row: RowSummary) -> tuple[str, ...]:
    """A row as text, under :data:`COLUMNS`."""
    paper = "–" if row.paper is None else f"{row.paper.rank1:.1f} / {row.paper.mean_ap:.1f}"
    if row.rank1 is None or row.mean_ap is None:
        return (row.name, paper, "–", "–", "–", "0")
    low, high = row.mean_ap.interval
    return (row.name, paper, _spread(row.rank1), _spread(row.mean_ap), f"{low:.1f} to {high:.1f}", str(len(row.seeds)))


def _spread(metric: Metric) -> str:
    return f"{metric.mean:.1f}" + ("" if math.isnan(metric.std) else f" ± {metric.std:.1f}")


def _claim_cells(claim: ClaimSummary) -> tuple[str, ...]:
    low, high = claim.interval
    return (
        f"{claim.claim.better} before {claim.claim.worse}",
        f"{claim.difference:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
        f"{claim.seeds_for} of {claim.seeds}",
        claim.verdict,
    )


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data
