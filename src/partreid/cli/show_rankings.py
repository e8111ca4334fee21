"""``partreid show rankings``: what was found for queries, and why (paper, Figures 3 and 4)."""

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


def rankings(
    model: Model,
    data: Data,
    image: Images = None,
    best: Best = 0,
    worst: Worst = 0,
    random: Random = 0,
    seed: Seed = 0,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Results to show for each query.")] = 8,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Rank by this slot alone, by several (head+torso), or by all; a line for each."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Another model, shown in lines below; repeatable.")
    ] = None,
    junk: Annotated[
        bool, typer.Option("--junk", help="Show images of the query's person and camera too; scores leave them out.")
    ] = False,
    attention: Annotated[bool, typer.Option(help="Draw attention maps over the images.")] = True,
    cells: Cells = False,
    query: QuerySet = None,
    limit_ids: LimitIds = None,
    labels: Labels = AUTO,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, .png or .html. Default: rankings.png.")
    ] = None,
    html: AsPage = False,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Draw queries with what was found for each: attention, distance of each slot, right or wrong.

    Six queries spread evenly from the best to the worst, unless you ask for others. `--by head --by all` draws the
    paper's Figure 3, `--against OTHER_RUN` its Figure 4.
    """
    from partreid.reports.drawings import draw_rankings_of
    from partreid.reports.figures import QueryChoice

    path = output_path(out, "rankings", page=html)
    drawing = draw_rankings_of(
        model,
        read_dataset(data, labels=None, limit_ids=limit_ids),
        queries=QueryChoice(image or (), best, worst, random, seed),
        query_set=query,
        against=against or (),
        by=by or (),
        top=top,
        junk=junk,
        attention=attention,
        smooth=not cells,
        labels=labels,
        runtime=runtime_config(device, precision, 0, batch_size),
        progress=show_progress,
    )
    for name, how in drawing.compared:
        told = f"{name}. {how}" if against else str(how)
        console.print(told, style="dim", markup=False, highlight=False, soft_wrap=True)
    save_drawing(drawing, path)
