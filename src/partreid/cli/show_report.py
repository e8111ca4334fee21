"""``partreid show report``: one page with everything about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, show_progress
from partreid.cli.options import BatchSize, Data, Device, PrecisionOption, runtime_config
from partreid.cli.show_common import Labels, Model
from partreid.labels.locate import AUTO
from partreid.reports.evaluate import REPORT_FILE, evaluate


def report(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path(REPORT_FILE),
    query_set: Annotated[
        list[str] | None, typer.Option("--query-set", help="Query set; repeatable. Default: all.")
    ] = None,
    labels: Labels = AUTO,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Write one self-contained HTML page about a run: training, scores, distances, rankings, attention, configuration.

    `partreid evaluate --out FOLDER` writes it too, beside its other results.
    """
    from partreid.reports.drawings import write_page

    runtime = runtime_config(device, precision, 0, batch_size)
    found = evaluate(model, data, query=query_set, labels=labels, runtime=runtime, progress=show_progress)
    write_page(out, found.report().page())
    console.print(f"Written: {out}", markup=False, soft_wrap=True, highlight=False)
