"""A page for checking the labels of a data set: all are rated, some are drawn, and bad ones are shown by reason."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from partreid.datasets.images import read_image
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import DataError, LabelError, nearest
from partreid.files import atomic_file, write_text
from partreid.labels.fields import read_label_map, read_pose_fields
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.locate import AUTO, MASKS, choose_label_folder
from partreid.labels.quality import REASONS, LabelRating, describe, rate_label_file, worst_first
from partreid.objects import Guided
from partreid.parts import PartSchema, get_part_schema
from partreid.progress import Progress, no_progress
from partreid.reports.pages import render
from partreid.types import ReIDDataset
from partreid.viz.canvas import save_png, to_array
from partreid.viz.colors import readable
from partreid.viz.labels import READING, LabelledImage, draw_label_sheet, label_strip

PAGE, SHEET, WORST, TABLE = "labels.html", "sheet.png", "worst.png", "worst.csv"


@dataclass(frozen=True, eq=False, repr=False)
class LabelReport(Guided):
    """The labels of a split, rated, and the images to show of them.

    Attributes:
        title: describes the labels that were read. schema: the K parts. threshold: λ_r of Eq. 10.
        ratings: one per image of the split.
        worst: positions in ``ratings`` by reason, the worst first (``worst_first``).
        chosen: positions to show on the contact sheet. drawn: the first of ``worst``, which are also shown.
        images: the images at these positions.
    """

    title: str
    schema: PartSchema
    ratings: Sequence[LabelRating]
    worst: Mapping[str, Sequence[int]]
    chosen: Sequence[int]
    drawn: Mapping[str, Sequence[int]]
    images: Mapping[int, LabelledImage]
    threshold: float = LABEL_THRESHOLD

    def contact_sheet(self) -> Figure:
        """The chosen images."""
        return self._sheet({"": self.chosen}, self.title)

    def worst_sheet(self) -> Figure:
        """An image of the worst labels, grouped by reason."""
        groups = {self.heading(reason): found for reason, found in self.drawn.items()}
        return self._sheet(groups, self.title if groups else f"No bad label. {self.title}")

    def page(self) -> str:
        """Everything as one HTML page."""
        return render(
            "label_report.html", title=self.title, lead=READING, slots=self.schema.parts, report=self, reasons=REASONS
        )

    def heading(self, reason: str) -> str:
        """A reason and the number of labels with it, as a heading."""
        shown, every = len(self.drawn[reason]), len(self.worst[reason])
        return f"{REASONS[reason].title} ({f'{every:,}' if shown == every else f'{shown} of {every:,}'})"

    def strip(self, position: int) -> np.ndarray:
        """An image, its pose fields and its label map side by side: uint8 [256, W', 3]."""
        return label_strip(self.images[position], self.schema, threshold=self.threshold)

    @property
    def whole(self) -> list[LabelRating]:
        """The ratings of the labels that could be read."""
        return [rating for rating in self.ratings if rating.size]

    @property
    def coverage(self) -> float:
        """Fraction of an image that the body covers, on average."""
        return sum(rating.coverage for rating in self.whole) / max(1, len(self.whole))

    def counts(self) -> list[tuple[str | tuple[str, str], str, str]]:
        """Rows of a table: the number of labels to look at, by reason. Each row links to its section."""
        total = len(self.ratings)
        rows: list[tuple[str | tuple[str, str], int]] = [
            ((REASONS[reason].title, reason), len(found)) for reason, found in self.worst.items()
        ]
        rows.append(("Nothing noticed", total - sum(count for _, count in rows)))
        return [(name, f"{count:,}", _percent(count, total)) for name, count in rows]

    def parts(self) -> list[tuple[str, str]]:
        """Rows of a table: the number of labels that contain each part."""
        found = Counter(part for rating in self.whole for part in rating.parts)
        return [(readable(part), _percent(found[part], len(self.whole))) for part in self.schema.parts]

    def sizes(self) -> str:
        """The number of labels of each size."""
        found = Counter("{}×{}".format(*rating.size) for rating in self.whole if rating.size)
        return ", ".join(f"{size} ({count:,})" for size, count in found.most_common())

    def _sheet(self, groups: Mapping[str, Sequence[int]], title: str) -> Figure:
        content = {heading: [self.images[i] for i in found] for heading, found in groups.items()}
        return draw_label_sheet(content, self.schema, title=title, threshold=self.threshold)


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
    """Rate every label of a split, and read the labels to show.

    Args:
        data: set or folder of images. split: "train", "gallery", or a query set's name. labels: label folder.
        schema: name of the parts. threshold: λ_r of Eq. 10; a node is background if no part reaches it.
        count: images on the contact sheet, evenly chosen. worst: bad labels to show for each reason.
        out: folder for ``labels.html``, ``sheet.png``, ``worst.png`` and ``worst.csv``; all or none are written.
        progress: shows how many labels were read.

    Raises:
        DataError: there is no such split. LabelError: there is no label folder, there are several, or no label in the
            split.
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
    # Everything is drawn before the first file is written, so that an error leaves no files behind.
    page = report.page()
    sheets = {SHEET: to_array(report.contact_sheet()), WORST: to_array(report.worst_sheet())}
    with (
        atomic_file(out / TABLE, error=LabelError) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(("path", "reason", "detail", "parts"))
        for reason, positions in report.worst.items():
            for i in positions:
                rating = report.ratings[i]
                table.writerow((names[i], reason, rating.detail, " ".join(rating.parts)))
    write_text(out / PAGE, page, error=LabelError)
    for name, pixels in sheets.items():
        save_png(pixels, out / name)


def _read_label(path: Path | None, schema: PartSchema) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Pose fields, or a ready label map, or neither if the file is missing or damaged."""
    if path is not None:
        with suppress(LabelError):
            return read_pose_fields(path), None
        with suppress(LabelError):
            return None, read_label_map(path, len(schema))
    return None, None


def _percent(number: int, total: int) -> str:
    return f"{100 * number / max(1, total):.1f}"
