"""``partreid show attention``: where the network looks for each part (paper, Figure 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import show_progress
from partreid.cli.options import (
    BatchSize,
    Data,
    Device,
    Labels,
    LimitIds,
    Model,
    PrecisionOption,
    QuerySet,
    runtime_config,
)
from partreid.cli.show_common import (
    AsPage,
    Best,
    Cells,
    Images,
    Random,
    Seed,
    Worst,
    output_path,
    save_drawing,
)
from partreid.datasets.readers import read_dataset
from partreid.labels.locate import AUTO


def attention(
    model: Model,
    data: Data,
    image: Images = None,
    best: Best = 0,
    worst: Worst = 0,
    random: Random = 0,
    seed: Seed = 0,
    cells: Cells = False,
    query: QuerySet = None,
    limit_ids: LimitIds = None,
    labels: Labels = AUTO,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, .png or .html. Default: attention.png.")
    ] = None,
    html: AsPage = False,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Draw the attention map of every part, and below it what the label says, where an image has one.

    Six queries spread evenly over the set, unless you ask for others. Green frame: the part counts as visible.
    """
    from partreid.reports.drawings import draw_attention_of
    from partreid.reports.figures import QueryChoice

    path = output_path(out, "attention", page=html)
    drawing = draw_attention_of(
        model,
        read_dataset(data, labels=None, limit_ids=limit_ids),
        queries=QueryChoice(image or (), best, worst, random, seed),
        query_set=query,
        smooth=not cells,
        labels=labels,
        runtime=runtime_config(device, precision, 0, batch_size),
        progress=show_progress,
    )
    save_drawing(drawing, path)
