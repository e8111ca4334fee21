"""Checks whether a data set is complete and intact. Reads every file once, and prints nothing."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.images import decode
from partreid.datasets.read_ahead import read_ahead
from partreid.datasets.readers import FoundDataset, queries_without_match
from partreid.datasets.readers.common import LeftOutWarning
from partreid.errors import LabelError, PartReIDError
from partreid.labels.fields import check_upright, read_label_map, read_pose_fields
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.locate import find_label, label_folders
from partreid.objects import Guided
from partreid.progress import Progress, no_progress
from partreid.surroundings import usable_cores
from partreid.types import ReIDDataset, ReIDImage

Severity = Literal["ok", "note", "problem"]
R = TypeVar("R")

TRAIN, GALLERY = "train", "gallery"
_EXAMPLES = 3
_CHUNK = 64
_LARGEST_K = 255


@dataclass(frozen=True, repr=False)
class Finding(Guided):
    """One result of one check.

    Attributes:
        severity: "problem" should be fixed, "note" is for information, "ok" was checked and is right.
        check: the subject, in a word. text: the result, in a sentence.
        examples: the first few files (within the set's folder) or ids that it concerns.
    """

    severity: Severity
    check: str
    text: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class SplitSummary(Guided):
    """The size of a split; ``published`` are its published (identities, images), if known."""

    name: str
    identities: int
    images: int
    cameras: int
    published: tuple[int, int] | None


@dataclass(frozen=True, repr=False)
class DatasetReport(Guided):
    """The result of checking a data set. ``splits`` is empty if the set cannot be read."""

    name: str
    spec: str
    splits: tuple[SplitSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """The number of problems."""
        return sum(finding.severity == "problem" for finding in self.findings)


def check_dataset(
    found: FoundDataset, *, threads: int | None = None, progress: Progress = no_progress
) -> DatasetReport:
    """Check a data set: every image is decoded, every label read.

    Args:
        found: the set. threads: that read files; None = one per processor. progress: shows the number of files read.
    """
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            dataset = found.open()
    except PartReIDError as error:
        finding = Finding("problem", "layout", str(error))
        return DatasetReport(found.layout.name or found.path.name, found.spec, (), (finding,))
    images = sorted({image.path for split in dataset.splits.values() for image in split})
    labels: dict[str, dict[Path, Path]] = {}  # by folder the label file of each image that has one
    for folder in label_folders(dataset.root):
        places = ((path, find_label(path, dataset.root, folder, dataset.label_naming)) for path in images)
        labels[folder] = {path: label for path, label in places if label is not None}
    files = {folder: sorted(set(by_image.values())) for folder, by_image in labels.items()}
    with progress(f"reading {found.path.name}", len(images) + sum(map(len, files.values()))) as advance:

        def read(function: Callable[[Path], R], paths: Sequence[Path]) -> dict[Path, R]:
            # In chunks, as handing over a task costs as much as decoding a small image.
            chunks = (paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK))
            count, told = threads or usable_cores(), {}
            for chunk in read_ahead(
                lambda c: {path: function(path) for path in c}, chunks, threads=count, ahead=2 * count
            ):
                told.update(chunk)
                advance(len(chunk))
            return told

        contents = read(_look_at_image, images)
        states = {folder: read(_look_at_label, paths) for folder, paths in files.items()}
    findings = (
        *(Finding("problem" if one.category is LeftOutWarning else "note", "files", str(one.message)) for one in told),
        *_check_identity(found, dataset),
        *_check_images(dataset, contents),
        *_check_duplicates(dataset, contents),
        *_check_labels(dataset, labels, states, contents),
    )
    splits = tuple(
        SplitSummary(
            name,
            len({image.pid for image in split}),
            len(split),
            len({image.camid for image in split} - {None}),
            found.layout.counts.get(name),
        )
        for name, split in dataset.splits.items()
    )
    return DatasetReport(dataset.name, found.spec, splits, findings)


def _examples(root: Path, images: Iterable[ReIDImage]) -> tuple[str, ...]:
    return tuple(i.path.relative_to(root).as_posix() for _, i in zip(range(_EXAMPLES), images, strict=False))


def _check_identity(found: FoundDataset, dataset: ReIDDataset) -> Iterator[Finding]:
    """Is it the published set, and do its ids and cameras fit together?"""
    layout = found.layout
    if layout.notice:
        yield Finding("note", "origin", layout.notice)
    differences = layout.count_differences(dataset)
    yield from (Finding("problem", "counts", text) for text in differences)
    if layout.counts and not differences:
        yield Finding("ok", "counts", "identities and images as published")
    for split, expected in layout.md5.items():
        names = "\n".join(sorted(image.path.name for image in dataset.splits[split]))
        if hashlib.md5(names.encode(), usedforsecurity=False).hexdigest() != expected:
            yield Finding("problem", "names", f"{split}: the file names are not those of {layout.name}. Make it again.")
    if any(image.camid is None for split in dataset.splits.values() for image in split):
        yield Finding("note", "cameras", "cameras are unknown: only the query's own file is dropped from the gallery")
    trained = {image.pid for image in dataset.train}
    tested = {image.pid for name, split in dataset.splits.items() if name != TRAIN for image in split}
    both = sorted(trained & tested)
    if both and not layout.separate_test_ids:
        ids = tuple(map(str, both[:_EXAMPLES]))
        yield Finding("problem", "identities", f"{len(both)} identities are in train and in a test split", ids)
    for name, query in dataset.queries.items():
        alone = queries_without_match(dataset, name)
        if alone:
            text = f"{name}: {len(alone)} of {len(query)} queries have no match in the gallery from another view"
            yield Finding("problem", "matches", text, _examples(dataset.root, alone))
        else:
            yield Finding("ok", "matches", f"{name}: every query has a match in the gallery")


def _check_images(dataset: ReIDDataset, contents: Mapping[Path, _ImageFile]) -> Iterator[Finding]:
    errors = {name: [e for i in split if (e := contents[i.path].error)] for name, split in dataset.splits.items()}
    for name, bad in errors.items():
        if bad:
            text = f"{name}: {len(bad)} of {len(dataset.splits[name])} images cannot be read"
            yield Finding("problem", "images", text, tuple(bad[:_EXAMPLES]))
    if not any(errors.values()):
        yield Finding("ok", "images", "every image can be read to its end")


def _check_duplicates(dataset: ReIDDataset, contents: Mapping[Path, _ImageFile]) -> Iterator[Finding]:
    """The same bytes in several places. What evaluation drops as junk is worth a note only."""
    by_content: dict[bytes, list[tuple[str, ReIDImage]]] = defaultdict(list)
    for name, split in dataset.splits.items():
        for image in split:
            if contents[image.path].digest:
                by_content[contents[image.path].digest].append((name, image))
    found: dict[tuple[Severity, str], list[ReIDImage]] = defaultdict(list)
    for places in by_content.values():
        if len(places) > 1:
            for kind, image in _duplicates(places):
                found[kind].append(image)
    for (severity, text), images in found.items():
        yield Finding(severity, "duplicates", f"{len(images)} {text}", _examples(dataset.root, images))
    if not any(severity == "problem" for severity, _ in found):
        yield Finding("ok", "duplicates", "no file counts in several splits")


def _duplicates(places: Sequence[tuple[str, ReIDImage]]) -> Iterator[tuple[tuple[Severity, str], ReIDImage]]:
    """What is wrong with files of the same content: (severity, words) with an image it concerns."""
    for name, count in Counter(name for name, _ in places).items():
        if count > 1:
            yield ("note", f"images are in {name} more than once"), next(i for n, i in places if n == name)
    gallery = [image for name, image in places if name == GALLERY]
    trained = [image for name, image in places if name == TRAIN]
    for name, image in places:
        if name not in (TRAIN, GALLERY) and gallery:
            if all((other.pid, other.view) == (image.pid, image.view) for other in gallery):
                yield ("note", f"files of {name} are in gallery too; evaluation drops them as the query's view"), image
            else:
                yield ("problem", f"files of {name} are in gallery too, as another person or view"), image
        if name != TRAIN and trained:
            yield ("problem", f"files of {name} are in train too"), image


def _check_labels(
    dataset: ReIDDataset,
    labels: Mapping[str, Mapping[Path, Path]],
    states: Mapping[str, Mapping[Path, _LabelFile]],
    contents: Mapping[Path, _ImageFile],
) -> Iterator[Finding]:
    """Training needs labels; those of test splits are for looking at only."""
    if not labels and dataset.train:
        yield Finding("note", "labels", "there are none; part attention needs them: `partreid labels make`")
    for folder, by_image in labels.items():
        uses = Counter(by_image.values())
        shared = [path for path, label in by_image.items() if uses[label] > 1]
        if shared:
            text = f"{folder}: {len(shared)} images share a label file, as their names differ in the suffix only"
            yield Finding("problem", "labels", text, tuple(path.name for path in shared[:_EXAMPLES]))
        for name, split in dataset.splits.items():
            found = {
                image.path: _fitting(image, label, states[folder][label], contents[image.path])
                for image in split
                if (label := by_image.get(image.path)) is not None
            }
            yield from _check_split_labels(dataset, folder, name, found)


def _check_split_labels(
    dataset: ReIDDataset, folder: str, name: str, labels: Mapping[Path, _LabelFile]
) -> Iterator[Finding]:
    root, split = dataset.root, dataset.splits[name]
    missing = [image for image in split if image.path not in labels]
    if not split or (name != TRAIN and len(missing) == len(split)):
        return
    severity: Severity = "problem" if name == TRAIN else "note"
    empty = [image for image in split if image.path in labels and labels[image.path].empty]
    damaged = [label.error for label in labels.values() if label.error]
    if missing:
        text = f"{folder}: {len(missing)} of {len(split)} images of {name} have no label"
        yield Finding(severity, "labels", text, _examples(root, missing))
    if damaged:
        text = f"{folder}: {len(damaged)} of {len(split)} labels of {name} cannot be read"
        yield Finding(severity, "labels", text, tuple(damaged[:_EXAMPLES]))
    if empty:
        text = f"{folder}: {len(empty)} of {len(split)} labels of {name} show no person"
        yield Finding("note", "labels", text, _examples(root, empty))
    if not missing and not damaged:
        yield Finding("ok", "labels", f"{folder}: every image of {name} has a label that can be read")


@dataclass(frozen=True)
class _ImageFile:
    """An image file: the digest of its bytes and its (H, W), or why it cannot be read."""

    digest: bytes = b""
    error: str = ""
    size: tuple[int, int] = (0, 0)


def _look_at_image(path: Path) -> _ImageFile:
    """Read an image to its end."""
    try:
        data = path.read_bytes()
        height, width, _ = decode(data, source=path.name).shape
    except OSError as error:
        return _ImageFile(error=f"{path.name}: {error.strerror or error}")
    except PartReIDError as error:
        return _ImageFile(error=str(error))
    return _ImageFile(hashlib.blake2b(data, digest_size=16).digest(), size=(height, width))


@dataclass(frozen=True)
class _LabelFile:
    """A label file: its (h, w) and largest value, or why it cannot be read."""

    size: tuple[int, int] = (0, 0)
    strongest: float = 0
    error: str = ""

    @property
    def empty(self) -> bool:
        """Whether it can be read and shows no person."""
        return not self.error and self.strongest < LABEL_THRESHOLD


def _look_at_label(path: Path) -> _LabelFile:
    """Read pose fields or a label map."""
    values: NDArray[np.generic]
    try:
        values = read_pose_fields(path)
    except LabelError as no_fields:
        try:
            values = read_label_map(path, _LARGEST_K)
        except LabelError as no_map:
            return _LabelFile(error=str(no_map if path.suffix == ".png" else no_fields))
    height, width = values.shape[-2:]
    return _LabelFile((height, width), float(values.max()))


def _fitting(image: ReIDImage, path: Path, label: _LabelFile, content: _ImageFile) -> _LabelFile:
    """The label, as an error where it does not fit its image."""
    if label.error or content.error:
        return label
    try:
        check_upright(path, label.size, image.path, content.size)
    except LabelError as error:
        return _LabelFile(error=str(error))
    return label
