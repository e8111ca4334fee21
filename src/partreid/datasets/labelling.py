"""Human parsing labels for a whole data set: which images, what finds the persons, and where the files go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partreid.datasets.images import read_image
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import ConfigError, DataError, nearest
from partreid.labels.generate import LabelJob, LabelSummary, make_labels
from partreid.labels.locate import AUTO, MASKS, PUBLISHED_FOLDER, label_path, published_label_path
from partreid.labels.providers import PoseProvider
from partreid.progress import Progress, no_progress
from partreid.types import ReIDDataset


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
        provider: what finds the persons, as :func:`~partreid.labels.providers.load_provider` gives it.
        splits: "train", "gallery", a query set's name, or "all"; the training images where empty, else all.
        limit: only so many images, evenly chosen. out: folder to write masks/ into instead of the set's own.
        labels: name of the label folder; "auto" = the provider's.
        published: write floats, named as the published labels, instead of a byte a value.
        source: what makes the labels, as :func:`label_source` says it; kept labels of another source are counted.
        overwrite: make labels again that are there already. progress: shows how far it is.

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


def label_source(provider: str, *files: str | Path | None, stride: int) -> str:
    """What makes labels, in words: the provider, the files that it was loaded from, and its settings.

    The files stand there by their names and a digest of their content: a corrected file makes other labels.
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
