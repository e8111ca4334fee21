"""Looking at the labels of a data set: all of them rated, some of them drawn, the bad ones listed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partreid.datasets.images import read_image
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import DataError, LabelError, nearest
from partreid.files import atomic_file
from partreid.labels.fields import read_label_map, read_pose_fields
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.locate import AUTO, MASKS, choose_label_folder
from partreid.labels.quality import describe, rate_label_file, worst_first
from partreid.parts import PartSchema, get_part_schema
from partreid.progress import Progress, no_progress
from partreid.reports.label_report import LabelReport
from partreid.types import ReIDDataset
from partreid.viz.canvas import save_png, to_array
from partreid.viz.labels import LabelledImage

PAGE, SHEET, WORST, TABLE = "labels.html", "sheet.png", "worst.png", "worst.csv"


def review_labels(
    data: str | Path,
    *,
    split: str = "train",
    labels: str = AUTO,
    schema: str = "five",
    threshold: float = LABEL_THRESHOLD,
    count: int = 24,
    worst: int = 8,
    out: str | Path | None = None,
    progress: Progress = no_progress,
) -> LabelReport:
    """Rate every label of a split, and read those to show.

    Args:
        data: set or folder of images. split: "train", "gallery", or a query set's name. labels: label folder.
        schema: name of the parts. threshold: λ_r of Eq. 10, where no part reaches it a node is background.
        count: images on the contact sheet, evenly chosen. worst: bad labels to show for each reason.
        out: folder to write ``labels.html``, ``sheet.png``, ``worst.png`` and ``worst.csv`` into, all or none.
        progress: shows how many labels were read.

    Raises:
        DataError: no such split. LabelError: no label folder, not the only one, or no label in the split.
    """
    dataset = _read_labelled(data, labels, split)
    images, parts = dataset.splits[split], get_part_schema(schema)
    what = f"{MASKS}/{choose_label_folder(dataset.root, labels)}, parts {schema}, threshold {threshold:g}"
    ratings = []
    with progress("Reading labels", len(images)) as advance:
        for image in images:
            ratings.append(rate_label_file(image.label, parts, threshold=threshold))
            advance(1)
    found = worst_first(ratings)
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int).tolist()
    drawn = {reason: positions[:worst] for reason, positions in found.items()}
    shown = {}
    for i in sorted({*chosen, *(i for positions in drawn.values() for i in positions)}):
        fields, label = _read_label(images[i].label, parts)
        note = describe(ratings[i], parts)
        try:
            pixels = read_image(images[i].path)
        except DataError as error:
            pixels, note = None, str(error).removeprefix(f"{images[i].path} ")
        shown[i] = LabelledImage(pixels, fields, label, images[i].path.name, note)
    title = f"Labels of {dataset.name}, {split}: {len(images):,} images ({what})"
    report = LabelReport(title, parts, ratings, found, chosen, drawn, shown, threshold)
    if out is not None:
        _write(report, Path(out), [image.path.relative_to(dataset.root).as_posix() for image in images])
    return report


def _read_labelled(root: str | Path, labels: str, split: str) -> ReIDDataset:
    """The data set with its labels."""
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


def _write(report: LabelReport, out: Path, names: Sequence[str]) -> None:
    # All is drawn before the first file is written: a mistake leaves nothing behind.
    page = report.page()
    sheets = {SHEET: to_array(report.contact_sheet()), WORST: to_array(report.worst_sheet())}
    with atomic_file(out / TABLE, error=LabelError) as temporary:
        _write_table(temporary, report, names)
    with atomic_file(out / PAGE, error=LabelError) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # a file's name may be any bytes
    for name, pixels in sheets.items():
        save_png(pixels, out / name)


def _write_table(path: Path, report: LabelReport, names: Sequence[str]) -> None:
    """Every bad label, in the order of the page."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(("path", "reason", "detail", "parts"))
        for reason, positions in report.worst.items():
            for i in positions:
                rating = report.ratings[i]
                table.writerow((names[i], reason, rating.detail, " ".join(rating.parts)))


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
