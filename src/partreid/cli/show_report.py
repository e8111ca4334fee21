"""``partreid show report``: one page with everything about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, show_progress
from partreid.cli.options import (
    BatchSize,
    Data,
    Device,
    Labels,
    LimitIds,
    Model,
    PrecisionOption,
    QuerySets,
    runtime_config,
)
from partreid.datasets.readers import read_dataset
from partreid.errors import DataError
from partreid.files import write_text
from partreid.labels.locate import AUTO
from partreid.reports.evaluate import REPORT_FILE, evaluate


def report(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path(REPORT_FILE),
    query: QuerySets = None,
    limit_ids: LimitIds = None,
    labels: Labels = AUTO,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Write one self-contained HTML page about a run: training, scores, distances, rankings, attention, configuration.

    `partreid evaluate --out FOLDER` writes it too, beside its other results.
    """
    runtime = runtime_config(device, precision, 0, batch_size)
    dataset = read_dataset(data, labels=None, limit_ids=limit_ids)
    found = evaluate(model, dataset, query=query, labels=labels, runtime=runtime, progress=show_progress)
    write_text(out, found.report().page(), error=DataError)
    console.print(f"Written: {out}", markup=False, soft_wrap=True, highlight=False)
