"""``partreid labels show``: labels over their images, and the bad ones by reason."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from partreid.cli.console import console, plain_table, progress_bar
from partreid.cli.options import Data, Labels, Schema
from partreid.datasets.images import read_image
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import DataError, LabelError, nearest
from partreid.files import atomic_file
from partreid.labels.fields import read_label_map, read_pose_fields
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.locate import AUTO, MASKS, choose_label_folder
from partreid.labels.quality import REASONS, describe, rate_label_file, worst_first
from partreid.parts import PartSchema, get_part_schema
from partreid.types import ReIDDataset, ReIDImage

if TYPE_CHECKING:
    from partreid.reports.label_report import LabelReport

PAGE, SHEET, WORST, TABLE = "labels.html", "sheet.png", "worst.png", "worst.csv"


def show(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")],
    split: Annotated[str, typer.Option(help="train, gallery, or a query set's name.")] = "train",
    labels: Labels = AUTO,
    schema: Schema = "five",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="A node where no part reaches it is background (λ_r, Eq. 10).")
    ] = LABEL_THRESHOLD,
    count: Annotated[int, typer.Option(min=1, help="Images on the contact sheet, evenly chosen.")] = 24,
    worst: Annotated[int, typer.Option(min=1, help="Bad labels to draw for each reason.")] = 8,
) -> None:
    """Draw labels over their images, and find the bad ones.

    Reads every label of the split. Writes OUT/labels.html, one page with everything, which any browser opens; its
    images alone as sheet.png and worst.png; and worst.csv, which lists every bad label.
    """
    from partreid.viz.canvas import save_png, to_array

    dataset = read_labelled(data, labels, split)
    images = dataset.splits[split]
    source = choose_label_folder(dataset.root, labels)
    what = f"{MASKS}/{source}, parts {schema}, threshold {threshold:g}"
    title = f"Labels of {dataset.name}, {split}: {len(images):,} images ({what})"
    report = label_report(images, get_part_schema(schema), title=title, threshold=threshold, count=count, worst=worst)
    # All is drawn before the first file is written: a mistake leaves nothing behind.
    page = report.page()
    sheets = {SHEET: to_array(report.contact_sheet()), WORST: to_array(report.worst_sheet())}
    with atomic_file(out / TABLE, error=LabelError) as temporary:
        _write_table(temporary, report, [image.path.relative_to(dataset.root).as_posix() for image in images])
    with atomic_file(out / PAGE, error=LabelError) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # a file's name may be any bytes
    for name, pixels in sheets.items():
        save_png(pixels, out / name)
    _print_summary(report, out)


def read_labelled(root: str, labels: str, split: str) -> ReIDDataset:
    """The data set with its labels.

    Raises:
        DataError: no such split.
        LabelError: no label folder, not the only one, or no label in the split.
    """
    dataset = read_images(root, labels=labels)
    known = dataset.splits
    if split not in known:
        raise DataError(f"No split {split!r} in {dataset.root}. {nearest(split, known)}")
    having = [name for name, images in known.items() if any(image.label for image in images)]
    if not having:
        raise LabelError(f"{dataset.root} has no labels in {MASKS}/. Make some with `partreid labels make`.")
    if split not in having:
        raise LabelError(f"No image of split {split!r} of {dataset.root} has a label. With: {', '.join(having)}.")
    return dataset


def label_report(
    images: Sequence[ReIDImage], schema: PartSchema, *, title: str, threshold: float, count: int, worst: int
) -> LabelReport:
    """Rate the labels of all images, and read those to show.

    Args:
        images: with labels. schema: the parts. title: of the report. threshold: λ_r of Eq. 10.
        count: images to choose evenly. worst: bad labels to show for each reason.
    """
    from partreid.reports.label_report import LabelReport
    from partreid.viz.labels import LabelledImage

    ratings = []
    with progress_bar("Reading labels", len(images)) as (bar, task):
        for image in images:
            ratings.append(rate_label_file(image.label, schema, threshold=threshold))
            bar.advance(task)
    found = worst_first(ratings)
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int).tolist()
    drawn = {reason: positions[:worst] for reason, positions in found.items()}
    pictures = {}
    for i in sorted({*chosen, *(i for positions in drawn.values() for i in positions)}):
        fields, label = _read_label(images[i].label, schema)
        note = describe(ratings[i], schema)
        try:
            pixels = read_image(images[i].path)
        except DataError as error:
            pixels, note = None, str(error).removeprefix(f"{images[i].path} ")
        pictures[i] = LabelledImage(pixels, fields, label, images[i].path.name, note)
    return LabelReport(title, schema, ratings, found, chosen, drawn, pictures, threshold)


def _write_table(path: Path, report: LabelReport, names: Sequence[str]) -> None:
    """Every bad label, in the order of the page."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(("path", "reason", "detail", "parts"))
        for reason, positions in report.worst.items():
            for i in positions:
                rating = report.ratings[i]
                table.writerow((names[i], reason, rating.detail, " ".join(rating.parts)))


def _print_summary(report: LabelReport, out: Path) -> None:
    rows = [
        (REASONS[reason].title, str(len(found)), f"{100 * len(found) / len(report.ratings):.1f}")
        for reason, found in report.worst.items()
    ]
    console.print(report.title, soft_wrap=True, highlight=False, markup=False)
    console.print(plain_table("", ("worth a look", "labels", "%"), rows or [("nothing", "0", "0.0")]))
    for name, what in (
        (PAGE, "all of it; open it in a browser"),
        (SHEET, f"{len(report.chosen)} labels, evenly chosen"),
        (WORST, "the worst for each reason"),
        (TABLE, "every bad label"),
    ):
        console.print(f"  {out / name}  {what}", soft_wrap=True, highlight=False, markup=False)


def _read_label(path: Path | None, schema: PartSchema) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Pose fields, or a ready label map, or neither where the file is missing or damaged."""
    if path is None:
        return None, None
    try:
        return read_pose_fields(path), None
    except LabelError:
        pass
    try:
        return None, read_label_map(path, len(schema))
    except LabelError:
        return None, None
