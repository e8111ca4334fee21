"""``partreid evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from partreid import processes
from partreid.cli.console import console, scores_table, show_progress, slots_table
from partreid.cli.options import (
    BatchSize,
    Calibration,
    DataSets,
    Device,
    Labels,
    LimitIds,
    Mirror,
    Model,
    MoreData,
    PrecisionOption,
    QuerySets,
    TestOverrides,
    all_datasets,
    runtime_config,
)
from partreid.datasets.readers import read_datasets
from partreid.evaluation.protocols import PROTOCOLS
from partreid.labels.locate import AUTO
from partreid.reports.evaluate import REPORT_FILE, Evaluation
from partreid.reports.evaluate import evaluate as evaluate_model


def evaluate(
    model: Model,
    data: DataSets = None,
    more: MoreData = None,
    limit_ids: LimitIds = None,
    query: QuerySets = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results as JSON, CSV and LaTeX, figures and the report; each of several sets has a folder "
            "in it.",
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamplings for 95 % intervals in the table; 0 = none. Files always have them.")
    ] = 0,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Show scores with k-reciprocal re-ranking beside those without.")
    ] = False,
    mirror: Mirror = False,
    overrides: TestOverrides = None,
    calibration: Calibration = None,
    labels: Labels = AUTO,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Search every query in the gallery and print rank-k, mAP and mINP, overall and per embedding.

    Single query, no re-ranking unless asked for; gallery images of the query's person *and* camera are ignored, and
    where cameras are unknown, the very same file. Several sets are evaluated each by itself.

    On several devices: `torchrun --nproc-per-node 4 -m partreid evaluate ...` lets each embed a part.
    """
    found = evaluate_model(
        model,
        read_datasets(all_datasets(data, more), labels=None, limit_ids=limit_ids),
        query=query,
        labels=labels,
        mirror=mirror,
        overrides=overrides or (),
        calibration=calibration,
        bootstrap=bootstrap,
        rerank=rerank,
        runtime=runtime_config(device, precision, 0, batch_size),
        out=out,
        progress=show_progress,
    )
    show_evaluations(found, out)
    processes.leave()


def show_evaluations(found: Mapping[str, Evaluation], out: Path | None) -> None:
    """The tables of a model on several data sets, by the sets' names, and the rules behind them."""
    found = {name: one for name, one in found.items() if one}  # of several processes, only the first has scores
    if not found:
        return
    rows = {(name, query): scores for name, one in found.items() for query, scores in one.scores.items()}
    console.print(scores_table(rows))
    for name, one in found.items():
        console.print(slots_table(one.scores, dataset=name if len(found) > 1 else ""))
    results = [result for scores in rows.values() for result in (scores.result, scores.reranked) if result is not None]
    for protocol in dict.fromkeys(result.protocol for result in results):
        console.print(PROTOCOLS[protocol], style="dim")
    console.print(str(next(iter(found.values())).how), style="dim", markup=False, highlight=False)
    if out is not None:
        console.print(f"Results, images and {REPORT_FILE}: {out}", markup=False)
