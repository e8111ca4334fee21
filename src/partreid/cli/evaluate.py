"""``partreid evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import partreid
from partreid import processes
from partreid.cli import options as opt
from partreid.cli import reassociation as again
from partreid.cli.console import console, scores_table, show_progress, slots_table

if TYPE_CHECKING:
    from partreid import Evaluation, ReIDDataset


def evaluate(
    model: opt.Model,
    data: opt.DataSets = None,
    more: opt.MoreData = None,
    limit_ids: opt.LimitIds = None,
    query: opt.QuerySets = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results as JSON, CSV and LaTeX, figures and the report. If there are several sets, each "
            "has its own folder inside.",
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamplings for 95 % intervals in the table; 0 = none. Files always have them.")
    ] = 0,
    rerank: Annotated[bool, typer.Option("--rerank", help="Also show scores with k-reciprocal re-ranking.")] = False,
    reassociation: again.Sequences = None,
    gaps: again.Gaps = None,
    levels: again.Levels = None,
    visibility_of: again.VisibilityOf = None,
    every: again.Every = None,
    skip_damaged: again.SkipDamaged = False,
    mirror: opt.Mirror = False,
    overrides: opt.TestOverrides = None,
    calibration: opt.Calibration = None,
    adaptation: opt.Adaptation = None,
    labels: opt.Labels = "auto",
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Search every query in the gallery and print rank-k, mAP and mINP, overall and per embedding.

    Each query is one image, without re-ranking unless --rerank is given. Gallery images of the query's person *and*
    camera are ignored. If cameras are unknown, only the query's own file is ignored. Several sets are evaluated
    separately. --reassociation measures something else on sequences: is a person found again some frames later among
    the people in that frame?

    On several devices, `torchrun --nproc-per-node 4 -m partreid evaluate ...` shares out the embedding.
    """
    how: dict[str, Any] = {
        "mirror": mirror,
        "overrides": overrides or (),
        "calibration": calibration,
        "adaptation": adaptation,
        "runtime": opt.runtime_config(device, precision, batch_size=batch_size),
    }
    asked = again.asked(gaps=gaps, levels=levels, by=visibility_of, every=every, skip_damaged=skip_damaged or None)
    again.refuse_idle(reassociation, asked, of_retrieval=limit_ids or query or rerank, retrieval=data or more)
    if data or more or reassociation is None:
        datasets = partreid.read_datasets(opt.all_datasets(data, more), labels=None, limit_ids=limit_ids)
        evaluate_and_print(model, datasets, out, query=query, labels=labels, bootstrap=bootstrap, rerank=rerank, **how)
    if reassociation is not None and processes.is_first():
        again.reassociate_and_print(model, reassociation, out, bootstrap=bootstrap, **asked, **how)
    processes.leave()


def evaluate_and_print(
    model: str | Path, datasets: Sequence[ReIDDataset], out: Path | None, **options: Any
) -> dict[str, Evaluation]:
    """:func:`partreid.evaluate` on several sets; the tables, and the rules behind them, are printed."""
    from partreid.evaluation import PROTOCOLS

    found = partreid.evaluate(model, datasets, out=out, progress=show_progress, **options)
    rows = {(name, query): scores for name, one in found.items() for query, scores in one.scores.items()}
    if not rows:  # of several processes, only the first has scores
        return found
    console.print(scores_table(rows))
    for name, one in found.items():
        console.print(slots_table(one.scores, dataset=name if len(found) > 1 else ""))
    results = [result for scores in rows.values() for result in (scores.result, scores.reranked) if result is not None]
    for protocol in dict.fromkeys(result.protocol for result in results):
        console.print(PROTOCOLS[protocol], style="dim")
    console.print(str(next(iter(found.values())).how), style="dim")
    if out is not None:
        console.print(f"Results, images and report.html: {out}")
    return found
