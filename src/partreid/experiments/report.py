"""A summary as Markdown, JSON, CSV and LaTeX, and in pieces for a table."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.experiments.execute import Plan
from partreid.experiments.summary import ClaimSummary, Metric, RowSummary, Summary
from partreid.files import atomic_file
from partreid.reports.tables import as_csv, as_latex

COLUMNS = ("row", "paper: rank-1 / mAP", "rank-1", "mAP", "95 % of mAP", "seeds")
"""Heads of a table of :func:`cells`."""


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
        *(_line(_claim(claim)) for claim in summary.claims),
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
    for suffix, text in texts.items():
        with atomic_file(plan.out / f"{one.name}{suffix}", error=DataError) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [plan.out / f"{one.name}{suffix}" for suffix in texts]


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


def _claim(claim: ClaimSummary) -> tuple[str, ...]:
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
