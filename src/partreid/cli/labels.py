"""``partreid labels``: make human parsing labels, and look at what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from partreid.cli.console import console, errors, plain_table, progress_bar
from partreid.cli.labels_show import show
from partreid.cli.options import Data
from partreid.datasets.images import read_image
from partreid.datasets.readers import read_dataset
from partreid.errors import DataError, nearest
from partreid.labels.fields import read_part_maps
from partreid.labels.generate import LabelSummary, make_labels
from partreid.labels.grouping import LABEL_THRESHOLD, label_map
from partreid.labels.locate import AUTO, choose_label_folder, label_folders, label_path
from partreid.labels.providers import PROVIDERS, load_provider
from partreid.parts import get_part_schema
from partreid.types import ReIDDataset, ReIDImage

app = typer.Typer(help="Human parsing labels: make them, or see what a data set has.", no_args_is_help=True)


@app.command()
def make(
    root: Data,
    model: Annotated[Path, typer.Option(help="Network file, e.g. human-pose-estimation-0001.xml.")],
    provider: Annotated[str, typer.Option(help=f"What finds the persons: {', '.join(PROVIDERS)}.")] = PROVIDERS[0],
    split: Annotated[
        list[str] | None, typer.Option(help="train, gallery, a query set's name, or all. Repeatable. Default: train.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write masks/ into this folder instead of ROOT.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures, evenly chosen; for a trial.")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Pixels between two nodes of a label.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make labels anew that are there already.")] = False,
) -> None:
    """Make pose fields for pictures, in ROOT/masks/PROVIDER/.

    Only training needs labels. An interrupted run goes on where it stopped.
    """
    dataset = read_dataset(root, labels=None)
    images = _images(dataset, split or ["train"])
    if limit is not None:
        images = [images[i] for i in np.linspace(0, len(images) - 1, min(limit, len(images))).astype(int)]
    source = load_provider(provider, model=model, stride=stride)
    target = out or dataset.root
    files = [(i.path, target / label_path(i.path, dataset.root, source.name).relative_to(dataset.root)) for i in images]
    with progress_bar(f"Labels ({source.name})", len(files)) as (bar, task):
        summary = make_labels(
            source, files, read=read_image, overwrite=overwrite, progress=lambda n: bar.advance(task, n)
        )
    _report(summary)


@app.command()
def info(
    root: Data,
    labels: Annotated[str, typer.Option(help="Label folder in ROOT/masks; auto = the only one.")] = AUTO,
    schema: Annotated[str, typer.Option(help="Part schema, e.g. five or eight.")] = "five",
    sample: Annotated[int, typer.Option(min=1, help="Training labels to read, evenly chosen.")] = 1000,
) -> None:
    """Show which label folders there are, their size, and how often each part is in them."""
    parts = get_part_schema(schema)
    dataset = read_dataset(root, labels=None)
    console.print(f"label folders: {', '.join(label_folders(dataset.root)) or 'none'}")
    folder = choose_label_folder(dataset.root, labels)
    if folder is None:
        return
    dataset = read_dataset(root, labels=folder)
    paths = [image.label for image in dataset.train if image.label is not None]
    console.print(f"{folder}: labels of {len(paths)} of {len(dataset.train)} training pictures")
    if not paths:
        return
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(sample, len(paths))).astype(int)]
    maps = [label_map(read_part_maps(path, parts)) for path in chosen]
    sizes = sorted({m.shape for m in maps})
    console.print("size in nodes: " + ", ".join(f"{h}×{w}" for h, w in sizes))
    names = ("background", *parts.parts)
    share = np.array([[(m == c).mean() for c in range(len(names))] for m in maps])
    rows = [
        (n, f"{100 * (share[:, c] > 0).mean():.1f}", f"{100 * share[:, c].mean():.1f}") for c, n in enumerate(names)
    ]
    columns = ("part", "pictures with it, %", "share of nodes, %")
    console.print(plain_table(f"{len(maps)} labels, schema {schema}, threshold {LABEL_THRESHOLD}", columns, rows))
    console.print(f"empty labels: {100 * np.mean([not m.any() for m in maps]):.1f} %")


app.command()(show)


def _images(dataset: ReIDDataset, splits: list[str]) -> list[ReIDImage]:
    known = {"train": dataset.train, "gallery": dataset.gallery, **dataset.queries}
    for name in splits:
        if name != "all" and name not in known:
            raise DataError(f"No split {name!r} in {dataset.root}. {nearest(name, (*known, 'all'))}")
    names = known if "all" in splits else dict.fromkeys(splits)
    return [image for name in names for image in known[name]]


def _report(summary: LabelSummary) -> None:
    console.print(
        f"{summary.made} labels made, {summary.kept} kept; {summary.without_person} without a person, "
        f"{summary.several_persons} of those made showed several."
    )
    for message in summary.failed:
        errors.print(message, soft_wrap=True, highlight=False, markup=False)
    if summary.failed:
        errors.print(f"{len(summary.failed)} pictures could not be read.")
        raise typer.Exit(1)
