"""``partreid labels``: make human parsing labels, and look at what is there."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from partreid.cli.console import console, plain_table
from partreid.cli.labels_make import make
from partreid.cli.labels_show import show
from partreid.cli.options import Data, Labels, Schema
from partreid.datasets.readers import with_labels
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import LabelError
from partreid.labels.fields import read_part_maps
from partreid.labels.grouping import LABEL_THRESHOLD, label_map
from partreid.labels.locate import AUTO, choose_label_folder, label_folders
from partreid.parts import get_part_schema

app = typer.Typer()
app.command()(make)
app.command()(show)


@app.command()
def info(
    data: Data,
    labels: Labels = AUTO,
    schema: Schema = "five",
    sample: Annotated[int, typer.Option(min=1, help="Training labels to read, evenly chosen.")] = 1000,
) -> None:
    """Show which label folders there are, their size, and how often each part is in them."""
    parts = get_part_schema(schema)
    dataset = read_images(data, labels=None)
    console.print(f"label folders: {', '.join(label_folders(dataset.root)) or 'none'}", markup=False)
    folder = choose_label_folder(dataset.root, labels)
    if folder is None:
        return
    dataset = with_labels(dataset, folder)
    paths = [image.label for image in dataset.train if image.label is not None]
    console.print(f"{folder}: labels of {len(paths)} of {len(dataset.train)} training images", markup=False)
    if not paths:
        return
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(sample, len(paths))).astype(int)]
    maps, damaged = [], []
    for path in chosen:
        try:
            maps.append(label_map(read_part_maps(path, parts)))
        except LabelError as error:
            damaged.append(str(error))
    if damaged:
        console.print(f"damaged: {len(damaged)}, the first: {damaged[0]}", soft_wrap=True, markup=False)
    if not maps:
        return
    sizes = sorted({m.shape for m in maps})
    console.print("size in nodes: " + ", ".join(f"{h}×{w}" for h, w in sizes))
    names = ("background", *parts.parts)
    share = np.array([[(m == c).mean() for c in range(len(names))] for m in maps])
    rows = [
        (n, f"{100 * (share[:, c] > 0).mean():.1f}", f"{100 * share[:, c].mean():.1f}") for c, n in enumerate(names)
    ]
    columns = ("part", "images with it, %", "share of nodes, %")
    console.print(plain_table(f"{len(maps)} labels, schema {schema}, threshold {LABEL_THRESHOLD}", columns, rows))
    console.print(f"empty labels: {100 * np.mean([not m.any() for m in maps]):.1f} %")
