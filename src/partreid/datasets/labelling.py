"""Human parsing labels for a whole data set: the choice of images, the provider, and the place of the files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from partreid.datasets.images import read_image
from partreid.datasets.readers import with_labels
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import ConfigError, DataError, nearest
from partreid.labels.generate import LabelJob, LabelSummary, make_labels
from partreid.labels.locate import (
    AUTO,
    MASKS,
    PUBLISHED_FOLDER,
    choose_label_folder,
    find_label,
    label_folders,
    label_path,
    published_label_path,
)
from partreid.labels.providers import DEFAULT_STRIDE, PoseProvider, load_provider
from partreid.progress import Progress, no_progress
from partreid.types import ReIDDataset, ReIDImage


def label_dataset(
    data: ReIDDataset | str | Path,
    provider: PoseProvider,
    *,
    splits: Sequence[str] = (),
    limit: int | None = None,
    out: str | Path | None = None,
    labels: str = AUTO,
    published: bool = False,
    source: str = "",
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> LabelSummary:
    """Make pose fields for images of a data set, in ``<root>/masks/<labels>``. An interrupted run resumes.

    Args:
        data: the set, or any folder of images (:func:`~partreid.datasets.readers.loose_images.read_images`).
        provider: finds the persons, from :func:`~partreid.labels.providers.load_provider`.
        splits: "train", "gallery", a query set's name, or "all"; empty = the training images, or all if there are none.
        limit: only this many images, evenly chosen. out: folder for masks/ instead of the set's own.
        labels: name of the label folder; "auto" = the provider's.
        published: write floats, named as the published labels, instead of a byte a value.
        source: description of the provider from :func:`label_source`; kept labels of another source are counted.
        overwrite: make existing labels again. progress: shows the progress.

    Raises:
        ConfigError: ``labels`` is no name of a folder.
        DataError: there is no such split, or two images would share a label file.
        LabelError: as :func:`~partreid.labels.generate.make_labels`.
    """
    dataset = data if isinstance(data, ReIDDataset) else read_images(data, labels=None)
    everything, images = _choose(dataset, ["all"]), _choose(dataset, splits)
    if limit is not None:
        images = [images[i] for i in np.linspace(0, len(images) - 1, min(limit, len(images))).astype(int)]
    provider.check(images, everything)
    folder = labels if labels != AUTO else PUBLISHED_FOLDER if published else provider.name
    if Path(folder).name != folder or folder.startswith(".") or "," in folder:  # commas separate folders elsewhere
        raise ConfigError(f"Expected --labels with a name within {MASKS}, such as {provider.name}; got {folder!r}.")
    target = Path(out or dataset.root)
    jobs = _jobs(images, dataset, target, folder, published=published)
    with progress(f"Labels ({provider.name})", len(jobs)) as advance:
        return make_labels(
            provider, jobs, target / MASKS / folder, read=read_image, overwrite=overwrite, quantised=not published,
            source=f"{source or provider.name} {'published' if published else 'compact'}", advance=advance,
        )  # fmt: skip


def complete_labels(
    dataset: ReIDDataset, file: str | Path, *, out: str | Path, labels: str = AUTO, progress: Progress = no_progress
) -> ReIDDataset:
    """The set with labels of all its training images. Missing labels are made first.

    Args:
        dataset: the set. file: what finds the persons: a pose network (.xml of OpenVINO, .tflite of MoveNet), or COCO
            keypoints (.json, .npz).
        out: folder to write into if the set's own cannot be written.
        labels: name of the label folder; "auto" = the only one, or else named after the provider.
        progress: shows how far it is.

    Raises:
        ConfigError: ``file`` ends in something else, or ``labels`` is no name of a folder.
        LabelError: there are several label folders and ``labels`` is "auto"; else as :func:`label_dataset`.
        MissingDependencyError: what finds the persons needs a library that is not installed.
    """
    kind = _PROVIDERS.get(Path(file).suffix.lower())
    if kind is None:
        raise ConfigError(f"Expected a pose network (.xml, .tflite) or keypoints (.json, .npz), got {file}.")
    several = labels != AUTO and not set(labels.split(",")) & set(label_folders(dataset.root))
    folder = labels.partition(",")[0].strip() if several else choose_label_folder(dataset.root, labels)
    if folder is not None and all(_label_of(image, dataset, folder) for image in dataset.train):
        return with_labels(dataset, folder)
    provider = load_provider(kind, model=file)
    folder = folder or provider.name
    own = _can_write(dataset.root / MASKS / folder)
    target = dataset.root if own else Path(out)
    missing = tuple(image for image in dataset.train if own or not _label_of(image, dataset, folder))
    label_dataset(
        replace(dataset, train=missing), provider, splits=["train"], out=target, labels=folder,
        source=label_source(kind, file, stride=DEFAULT_STRIDE), progress=progress,
    )  # fmt: skip
    if own:
        return with_labels(dataset, folder)
    train = tuple(replace(image, label=_label_of(image, dataset, folder, target)) for image in dataset.train)
    return replace(dataset, train=train)


_PROVIDERS = {".xml": "openvino", ".tflite": "movenet", ".json": "keypoints", ".npz": "keypoints"}


def _label_of(image: ReIDImage, dataset: ReIDDataset, folder: str, also: Path | None = None) -> Path | None:
    """The label file of an image, in the set's folder or in another one."""
    found = find_label(image.path, dataset.root, folder, dataset.label_naming)
    if found is None and also is not None:
        made = also / label_path(image.path, dataset.root, folder).relative_to(dataset.root)
        found = made if made.is_file() else None
    return found


def _can_write(folder: Path) -> bool:
    """Whether a folder can be written into, or made."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return os.access(there, os.W_OK)


def label_source(provider: str, *files: str | Path | None, stride: int) -> str:
    """A description of the source of labels: the provider, the files from which it was loaded, and its settings.

    It contains the names of the files and digests of their content, because a corrected file makes other labels.
    """
    named = [Path(file) for file in files if file is not None]
    digest = hashlib.sha256()
    for file in named:
        for part in (file, file.with_suffix(".bin"), *sorted(file.rglob("*.json"))):  # of OpenVINO, of OpenPifPaf
            if part.is_file():
                digest.update(part.read_bytes())
    content = [*(file.name for file in named), digest.hexdigest()[:8]] if named else []
    return " ".join([provider, *content, f"stride {stride}"])


def _choose(dataset: ReIDDataset, splits: Sequence[str]) -> list[Path]:
    """The images of the splits, each once."""
    known = dataset.splits
    names = splits or (["train"] if dataset.train else ["all"])
    for name in names:
        if name != "all" and name not in known:
            raise DataError(f"No split {name!r} in {dataset.root}. {nearest(name, (*known, 'all'))}")
    return list(dict.fromkeys(i.path for name in (known if "all" in names else names) for i in known[name]))


def _jobs(images: list[Path], dataset: ReIDDataset, out: Path, folder: str, *, published: bool) -> list[LabelJob]:
    """What to label and where to write it: in ``out``, as it would lie in the set's own folder."""
    jobs: dict[Path, LabelJob] = {}
    for image in images:
        place = published_label_path(image, dataset, folder) if published else label_path(image, dataset.root, folder)
        job = LabelJob(image, out / place.relative_to(dataset.root), image.relative_to(dataset.root).as_posix())
        other = jobs.setdefault(job.label, job)
        if other is not job:
            raise DataError(f"{other.image} and {image} would share the label file {job.label}. Rename one of them.")
    return list(jobs.values())
