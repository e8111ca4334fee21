"""``partreid labels make``: images in, human parsing labels out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, errors, plain_table, say_warning, show_progress
from partreid.cli.options import Data
from partreid.datasets.labelling import label_dataset, label_source
from partreid.errors import ConfigError
from partreid.labels.generate import NOTES, LabelSummary
from partreid.labels.locate import AUTO
from partreid.labels.providers import LABEL_PROVIDERS, load_provider

OPENVINO = "openvino"
"""The label provider unless another is named."""


def make(
    data: Data,
    provider: Annotated[
        str, typer.Option(help=f"What finds the persons: {', '.join(sorted(LABEL_PROVIDERS.own))}, or one of your own.")
    ] = OPENVINO,
    network: Annotated[
        Path | None,
        typer.Option(help="openvino: network file (.xml), needed. movenet: its .tflite. keypoints: their file."),
    ] = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="COCO keypoints of any tool (.json, .npz); stands for --provider keypoints.")
    ] = None,
    image_list: Annotated[
        Path | None, typer.Option(help="With --keypoints: JSON with the list of images that explains its numbers.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="train, gallery, a query set's name, or all. Repeatable. Default: train, else all."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write masks/ into this folder instead of the set's.")
    ] = None,
    labels: Annotated[str, typer.Option(help="Label folder to write; auto = named by the provider.")] = AUTO,
    published: Annotated[
        bool,
        typer.Option("--published", help="Write floats, named as the published labels, instead of a byte a value."),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many images, evenly chosen; for a trial.")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Pixels between two nodes of a label.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make labels again that are there already.")] = False,
) -> None:
    """Make pose fields for the images of a data set, or of any folder, in masks/PROVIDER/.

    Only training needs labels. An interrupted run resumes. What was found is written to
    masks/PROVIDER/report.csv: images without a person, with several, with few parts.
    """
    if keypoints is not None:
        if network is not None or provider not in (OPENVINO, "keypoints"):
            raise ConfigError("--keypoints stands for --provider keypoints --network FILE: leave those two out.")
        provider, network = "keypoints", keypoints
    summary = label_dataset(
        data, load_provider(provider, model=network, stride=stride, images=image_list), splits=split or (),
        limit=limit, out=out, labels=labels, published=published, overwrite=overwrite, progress=show_progress,
        source=label_source(provider, network, image_list, stride=stride),
    )  # fmt: skip
    _print_summary(summary)


def _print_summary(summary: LabelSummary) -> None:
    console.print(f"{summary.made} labels made, {summary.kept} kept.")
    for source, count in summary.other_sources.items():
        made_by = f"made by {source}" if source else "from elsewhere"
        say_warning(
            f"{count} of the kept labels are {made_by}; --overwrite makes them again, --labels keeps the two apart."
        )
    total = summary.made + summary.kept + len(summary.failed)
    rows = [(NOTES[note], str(n), f"{100 * n / total:.1f}") for note, n in summary.notes.most_common()]
    console.print(plain_table("", ("worth a look", "images", "%"), rows or [("nothing", "0", "0.0")]))
    console.print(f"Each image: {summary.report}", soft_wrap=True, highlight=False, markup=False)
    for message in summary.failed:
        errors.print(message, soft_wrap=True, highlight=False, markup=False)
    if summary.failed:
        errors.print(f"{len(summary.failed)} images could not be read.")
        raise typer.Exit(1)
