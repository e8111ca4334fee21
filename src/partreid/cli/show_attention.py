"""``partreid show attention``: where the network looks for each part (paper, Figure 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.figure_data import attention_rows, drawn_labels
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
from partreid.cli.searched import query_sets, search_set, with_needed_labels
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
from partreid.inference.extractor import PartExtractor
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
    from partreid.reports.blocks import attention_block, slot_legend
    from partreid.reports.html import Section, page
    from partreid.viz.attention import attention_note, draw_attention

    path, as_page = output_path(out, "attention", page=html)
    choice = Choice(image or (), best, worst, random, seed)
    dataset = read_dataset(data, labels=None, limit_ids=limit_ids)
    (name,) = query_sets(dataset, [query] if query else query_sets(dataset)[:1])
    extractor = PartExtractor.from_pretrained(model, runtime=runtime_config(device, precision, 0, batch_size))
    dataset = with_needed_labels(extractor, dataset, labels)
    images = dataset.queries[name]
    choice.check(images)
    result = search_set(extractor, dataset, name, labels).result if choice.ranked else None
    shown = drawn_labels(dataset, [images[i] for i in choice.pick(images, result)], labels)
    rows = attention_rows(extractor, shown)
    title = f"{dataset.name}, {name}: part attention maps"
    write_figure(
        path,
        lambda: draw_attention(rows, extractor.slots, title=title, smooth=not cells),
        lambda: page(
            title,
            [Section("Attention", [attention_block(row, extractor.slots, smooth=not cells) for row in rows], "maps")],
            lead=attention_note(rows, smooth=not cells),
            pinned=slot_legend(extractor.slots),
        ),
        as_page=as_page,
    )
