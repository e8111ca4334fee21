"""``partreid show rankings``: what was found for queries, and why (paper, Figures 3 and 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console
from partreid.cli.figure_data import RankingStyle, ranking_row
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
from partreid.cli.searched import query_sets, search_set
from partreid.cli.show_common import (
    AsPage,
    Best,
    Cells,
    Choice,
    Images,
    Random,
    Seed,
    Worst,
    output_path,
    write_figure,
)
from partreid.datasets.readers import read_dataset
from partreid.errors import ShapeError, nearest
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO

ALL = "all"
"""What ``--by`` calls the comparison of all slots."""


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
    from partreid.reports.blocks import READING, ranking_block, slot_legend
    from partreid.reports.html import Section, page
    from partreid.viz.rankings import draw_rankings

    path, as_page = output_path(out, "rankings", page=html)
    dataset = read_dataset(data, labels=None, limit_ids=limit_ids)
    (name,) = query_sets(dataset, [query] if query else query_sets(dataset)[:1])
    choice = Choice(image or (), best, worst, random, seed)
    runtime = runtime_config(device, precision, 0, batch_size)
    models = {source: PartExtractor.from_pretrained(source, runtime=runtime) for source in [model, *(against or [])]}
    # A mistyped name is found before the images are embedded, which may take minutes.
    choice.check(dataset.queries[name])
    ways = {source: {way: slots_by_name(way, one.slots) for way in by or [ALL]} for source, one in models.items()}
    searched = {source: search_set(one, dataset, name, labels) for source, one in models.items()}
    first = searched[model]
    rows = []
    for index in choice.pick(first.query.images, first.result):
        for source, one in searched.items():
            for way, slots in ways[source].items():
                title = " · ".join([*([_model_name(source)] if against else []), *([f"by {way}"] if by else [])])
                style = RankingStyle(top, junk=junk, attention=attention, slots=slots, title=title)
                rows.append(ranking_row(one, index, style))
    every = first.query.embeddings.slots
    for source, one in searched.items():
        told = f"{_model_name(source)}. {one.how}" if against else str(one.how)
        console.print(told, style="dim", markup=False, highlight=False, soft_wrap=True)
    scores = (
        f"{_model_name(source)}: rank-1 {100 * one.result.rank(1):.1f} %, mAP {100 * one.result.mean_ap:.1f} %"
        for source, one in searched.items()
    )
    title = f"{dataset.name}, {name} · {' · '.join(scores)}"
    write_figure(
        path,
        lambda: draw_rankings(rows, every, title=title, smooth=not cells),
        lambda: page(
            title,
            [Section("Rankings", [ranking_block(row, every, smooth=not cells) for row in rows], "rankings")],
            lead=READING,
            pinned=slot_legend(every),
        ),
        as_page=as_page,
    )


def slots_by_name(way: str, slots: tuple[str, ...]) -> tuple[str, ...] | None:
    """The slots that ``--by`` names, None for all.

    Raises:
        ShapeError: there is no such slot.
    """
    if way == ALL:
        return None
    wanted = tuple(way.split("+"))
    for slot in wanted:
        if slot not in slots:
            raise ShapeError(f"--by {way}: the model has no slot {slot!r}. {nearest(slot, (*slots, ALL))}")
    return wanted


def _model_name(source: str) -> str:
    return Path(source).resolve().name if Path(source).exists() else source
