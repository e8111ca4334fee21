"""``partreid labels``: make human parsing labels, and inspect existing ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid import datasets
from partreid import labels as labelling
from partreid.cli import options as opt
from partreid.cli.console import console, counted, errors, plain_table, say_warning, show_progress
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.labels import LabelSummary

app = typer.Typer(help="Human parsing labels: make them, or inspect those of a data set.", no_args_is_help=True)


@app.command()
def make(
    data: opt.Data,
    provider: Annotated[
        str, typer.Option(help="How to find the persons: keypoints, movenet, openvino, or a provider of your own.")
    ] = "openvino",
    network: Annotated[
        Path | None,
        typer.Option(help="File of the provider. openvino: .xml, required. movenet: .tflite. keypoints: .json, .npz."),
    ] = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="COCO keypoints of any tool (.json, .npz). Implies --provider keypoints.")
    ] = None,
    image_list: Annotated[
        Path | None, typer.Option(help="With --keypoints: JSON with the list of images to which its numbers refer.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="train, gallery, a query set's name, or all. Repeatable. Default: train, else all."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write masks/ into this folder, not into the data set's.")
    ] = None,
    labels: Annotated[str, typer.Option(help="Label folder to write; auto = named after the provider.")] = "auto",
    published: Annotated[
        bool,
        typer.Option("--published", help="Write floats and names like the published labels, not one byte per value."),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="For a trial: only this many images, evenly chosen.")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Pixels between two nodes of a label.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make existing labels again.")] = False,
) -> None:
    """Write pose fields for the images of a data set, or of any folder, into masks/PROVIDER/.

    Only training needs labels. If interrupted, the same command continues. masks/PROVIDER/report.csv lists images
    without a person, with several persons, and with few parts.
    """
    if keypoints is not None:
        if network is not None or provider not in ("openvino", "keypoints"):
            raise ConfigError("--keypoints means --provider keypoints --network FILE. Leave those two options out.")
        provider, network = "keypoints", keypoints
    summary = datasets.label_dataset(
        data, labelling.load_provider(provider, model=network, stride=stride, images=image_list), splits=split or (),
        limit=limit, out=out, labels=labels, published=published, overwrite=overwrite, progress=show_progress,
        source=datasets.label_source(provider, network, image_list, stride=stride),
    )  # fmt: skip
    _print_made(summary)
    if summary.failed:
        raise typer.Exit(1)


def _print_made(summary: LabelSummary) -> None:
    from partreid.labels.generate import NOTES

    console.print(f"{summary.made} labels made, {summary.kept} kept.")
    for source, count in summary.other_sources.items():
        made_by = f"made by {source}" if source else "from elsewhere"
        say_warning(
            f"{count} of the kept labels are {made_by}. --overwrite makes them again; --labels writes another folder."
        )
    total = summary.made + summary.kept + len(summary.failed)
    rows = [(NOTES[note], str(n), f"{100 * n / total:.1f}") for note, n in summary.notes.most_common()]
    console.print(plain_table("", ("worth a look", "images", "%"), rows or [("nothing", "0", "0.0")]))
    console.print(f"Each image: {summary.report}", soft_wrap=True)
    for message in summary.failed:
        errors.print(message, soft_wrap=True)
    if summary.failed:
        errors.print(f"{counted(len(summary.failed), 'image')} could not be read.")


@app.command()
def show(
    data: opt.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")],
    split: Annotated[str, typer.Option(help="train, gallery, or a query set's name.")] = "train",
    labels: opt.Labels = "auto",
    schema: opt.Schema = "five",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Nodes where every part is below it are background (λ_r, Eq. 10).")
    ] = 0.5,
    count: Annotated[int, typer.Option(min=1, help="Images on the contact sheet, evenly chosen.")] = 24,
    worst: Annotated[int, typer.Option(min=1, help="Bad labels to draw for each reason.")] = 8,
) -> None:
    """Draw labels over their images, and find bad labels.

    Every label of the split is read. OUT/labels.html is one page with everything, for any browser. sheet.png and
    worst.png are its images, and worst.csv lists every bad label.
    """
    from partreid.labels.quality import REASONS
    from partreid.reports.label_report import PAGE, SHEET, TABLE, WORST, review_labels

    report = review_labels(
        data, split=split, labels=labels, schema=schema, threshold=threshold, count=count, worst=worst, out=out,
        progress=show_progress,
    )  # fmt: skip
    rows = [
        (REASONS[reason].title, str(len(found)), f"{100 * len(found) / len(report.ratings):.1f}")
        for reason, found in report.worst.items()
    ]
    console.print(report.title, soft_wrap=True)
    console.print(plain_table("", ("worth a look", "labels", "%"), rows or [("nothing", "0", "0.0")]))
    for name, what in (
        (PAGE, "everything; open it in a browser"),
        (SHEET, f"{len(report.chosen)} labels, evenly chosen"),
        (WORST, "the worst for each reason"),
        (TABLE, "every bad label"),
    ):
        console.print(f"  {out / name}  {what}", soft_wrap=True)


@app.command()
def info(
    data: opt.Data,
    labels: opt.Labels = "auto",
    schema: opt.Schema = "five",
    sample: Annotated[int, typer.Option(min=1, help="Training labels to read, evenly chosen.")] = 1000,
) -> None:
    """List the label folders, the size of their labels, and how often each part occurs."""
    from partreid.labels.grouping import LABEL_THRESHOLD
    from partreid.labels.quality import count_parts
    from partreid.parts import get_part_schema

    parts = get_part_schema(schema)
    dataset = datasets.read_images(data, labels=None)
    console.print(f"label folders: {', '.join(labelling.label_folders(dataset.root)) or 'none'}")
    folder = labelling.choose_label_folder(dataset.root, labels)
    if folder is None:
        return
    paths = [image.label for image in datasets.with_labels(dataset, folder).train if image.label is not None]
    console.print(f"{folder}: labels of {len(paths)} of {len(dataset.train)} training images")
    nodes, sizes, damaged = count_parts(paths, parts, sample=sample)
    if damaged:
        console.print(f"damaged: {len(damaged)}, the first: {damaged[0]}", soft_wrap=True)
    if not len(nodes):
        return
    console.print("size in nodes: " + ", ".join(f"{h}×{w}" for h, w in sizes))
    there, mean = 100 * (nodes > 0).mean(0), 100 * nodes.mean(0)
    rows = [(part, f"{there[i]:.1f}", f"{mean[i]:.1f}") for i, part in enumerate(("background", *parts.parts))]
    title = f"{len(nodes)} labels, schema {schema}, threshold {LABEL_THRESHOLD}"
    console.print(plain_table(title, ("part", "images with it, %", "fraction of nodes, %"), rows))
    console.print(f"empty labels: {100 * (nodes[:, 0] == 1).mean():.1f} %")
