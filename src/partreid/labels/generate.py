"""Making label files for many images. It can be resumed, each file is complete or absent, and a report lists the
results.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, PartReIDError
from partreid.files import atomic_file, hold_folder
from partreid.labels.fields import read_pose_fields, write_pose_fields
from partreid.labels.grouping import group_fields, label_map
from partreid.labels.providers import Crop, PoseProvider
from partreid.objects import Guided
from partreid.parts import PART_SCHEMAS
from partreid.progress import Advance

REPORT = "report.csv"
"""Name of the report in the label folder."""

_SCHEMA = PART_SCHEMAS["five"]
_COLUMNS = ("picture", "persons", "parts", "note", "source")
_ANY_NAME = "surrogateescape"  # a file's name may be any bytes

NOTES = {
    "unreadable": "image cannot be read",
    "no_person": "no person found",
    "several_persons": "several persons found; the label is of one",
    "few_parts": f"fewer than half of {', '.join(_SCHEMA.parts)}",
}
"""Notes in a report about an image, with their meaning. The first note that applies is used."""


@dataclass(frozen=True)
class LabelJob:
    """An image to label. ``image``: its file. ``label``: the file to write. ``name``: for the report."""

    image: Path
    label: Path
    name: str


@dataclass(frozen=True)
class LabelRecord:
    """A line of the report.

    Attributes:
        image: the job's name. persons: number of persons found; None if the run of a kept label did not report it.
        parts: parts of the schema ``five`` in the label. note: a key of :data:`NOTES`, or "".
        source: the provider that made the label, "" for a label from elsewhere.
    """

    image: str
    persons: int | None
    parts: tuple[str, ...]
    note: str
    source: str


@dataclass(repr=False)
class LabelSummary(Guided):
    """The result of labelling images.

    Attributes:
        report: the file with a line for each image.
        made: labels written now. kept: valid ones that were there already.
        notes: number of images for each key of :data:`NOTES`.
        other_sources: number of kept labels from other sources, by source.
        failed: one message per image that could not be read.
    """

    report: Path
    made: int
    kept: int
    notes: Counter[str]
    other_sources: Counter[str]
    failed: list[str]


def make_labels(
    provider: PoseProvider,
    jobs: Sequence[LabelJob],
    folder: Path,
    *,
    read: Callable[[Path], NDArray[np.uint8]],
    source: str = "",
    quantised: bool = True,
    overwrite: bool = False,
    advance: Advance = lambda count: None,
) -> LabelSummary:
    """Write one file of pose fields per image, and ``report.csv`` with a line for each.

    Valid files that exist already are kept, so an interrupted run can be resumed, and its result has the same bytes as
    an uninterrupted run. A damaged file is made again. An image that cannot be read is listed in the summary, and the
    others are still labelled.

    Args:
        provider: finds the persons.
        jobs: the images. folder: the label folder, for the report; lines about other images stay in it.
        read: reads an image as uint8 [H, W, 3] RGB.
        source: the provider and its settings; the summary counts kept labels of other sources.
        quantised: write uint8, else float32 as the published labels are.
        overwrite: make valid files again too.
        advance: called with the number of images done.

    Raises:
        LabelError: a label file or the report cannot be written, another process makes labels in ``folder``, or the
            provider cannot label the images.
    """
    provider.check([job.image for job in jobs])
    summary = LabelSummary(folder / REPORT, 0, 0, Counter(), Counter(), [])
    pending: deque[LabelJob] = deque()

    def count(record: LabelRecord) -> None:
        if record.note:
            summary.notes[record.note] += 1
        advance(1)

    def crops() -> Iterator[Crop]:
        for job in jobs:
            fields = None if overwrite else _valid(job.label)
            if fields is not None:
                known = report.records.get(job.name)  # of an earlier run
                persons, maker = (known.persons, known.source) if known else (None, "")
                summary.kept += 1
                summary.other_sources.update([maker] if maker != source else [])
                count(report.keep(_record(job.name, persons, fields, maker)))
                continue
            try:
                pixels = read(job.image)
            except PartReIDError as error:
                summary.failed.append(str(error))
                count(report.add(LabelRecord(job.name, None, (), "unreadable", "")))
                continue
            pending.append(job)
            yield Crop(job.image, pixels)

    with hold_folder(folder, error=LabelError), _Report(folder / REPORT) as report:
        for label in provider.detect(crops()):
            job = pending.popleft()
            # The line is written first, so that a kill between the two leaves no label without a line.
            record = report.add(_record(job.name, label.persons, label.fields, source))
            write_pose_fields(job.label, label.fields, quantised=quantised)
            summary.made += 1
            count(record)
    return summary


class _Report:
    """The report: lines are appended while labels are made, and at the end it is written again in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = {record.image: record for record in read_report(path)} if path.is_file() else {}

    def __enter__(self) -> Self:
        self._write()  # an incomplete line, left by a kill, is dropped
        self._lines = self.path.open("a", newline="", encoding="utf-8", errors=_ANY_NAME)
        return self

    def keep(self, record: LabelRecord) -> LabelRecord:
        self.records[record.image] = record
        return record

    def add(self, record: LabelRecord) -> LabelRecord:
        csv.writer(self._lines, lineterminator="\n").writerow(_row(record))
        self._lines.flush()
        return self.keep(record)

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        if self.records:
            self._write()
            return
        with suppress(OSError):  # no label was made, and an empty folder would count as a source of labels
            self.path.unlink()
            self.path.parent.rmdir()

    def _write(self) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows(_row(self.records[image]) for image in sorted(self.records))
        with atomic_file(self.path, error=LabelError) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", errors=_ANY_NAME, newline="")


def read_report(path: Path) -> list[LabelRecord]:
    """The lines of a report; after a killed run, only its complete lines. Later lines about an image replace earlier
    ones.

    Raises:
        LabelError: the file cannot be read, or is not such a report.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors=_ANY_NAME) as file:
            rows = list(csv.reader(file))
    except (OSError, csv.Error) as error:
        raise LabelError(f"Cannot read {path}: {error}. Remove it; it is made again.") from None
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise LabelError(f"{path} is no report of `partreid labels make` ({', '.join(_COLUMNS)}). Move it away.")
    whole = [row for row in rows[1:] if len(row) == len(_COLUMNS) and (row[1].isdecimal() or not row[1])]
    return [
        LabelRecord(image, int(persons) if persons else None, tuple(parts.split()), note, source)
        for image, persons, parts, note, source in whole
        if note in NOTES or not note
    ]


def _row(record: LabelRecord) -> tuple[str, ...]:
    persons = "" if record.persons is None else str(record.persons)
    return record.image, persons, " ".join(record.parts), record.note, record.source


def _record(image: str, persons: int | None, fields: NDArray[np.float32], source: str) -> LabelRecord:
    # In the form that is read back from a file of bytes, so that a kept label gives the same line as when it was made.
    part_maps = np.round(group_fields(fields, _SCHEMA).astype(np.float32) * 255) / 255
    present = np.bincount(label_map(part_maps).ravel(), minlength=len(_SCHEMA) + 1)[1:] > 0
    parts = tuple(part for part, here in zip(_SCHEMA.parts, present, strict=True) if here)
    note = ""
    if not parts:
        note = "no_person"
    elif persons is not None and persons > 1:
        note = "several_persons"
    elif 2 * len(parts) < len(_SCHEMA):
        note = "few_parts"
    return LabelRecord(image, persons, parts, note, source)


def _valid(path: Path) -> NDArray[np.float32] | None:
    """The existing fields; None if there are none or they are damaged."""
    with suppress(LabelError):
        return read_pose_fields(path)
    return None
