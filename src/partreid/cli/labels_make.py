"""``partreid labels make``: images in, human parsing labels out."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from partreid.cli.console import console, errors, plain_table, progress_bar, say_warning
from partreid.cli.options import Data
from partreid.datasets.images import read_image
from partreid.datasets.readers.loose_images import read_images
from partreid.errors import ConfigError, DataError, nearest
from partreid.labels.generate import NOTES, REPORT, LabelJob, LabelSummary, make_labels
from partreid.labels.locate import AUTO, MASKS, PUBLISHED_FOLDER, label_path, published_label_path
from partreid.labels.providers import LABEL_PROVIDERS, load_provider
from partreid.types import ReIDDataset

OPENVINO = "openvino"
"""The label provider unless another is named."""


class LabelFormat(StrEnum):
    """How labels are written."""

    COMPACT = "compact"
    PUBLISHED = "published"


def make(
    data: Data,
    provider: Annotated[
        str, typer.Option(help=f"What finds the persons: {', '.join(sorted(LABEL_PROVIDERS.own))}, or one of your own.")
    ] = OPENVINO,
    model: Annotated[
        str | None,
        typer.Option(help="openvino: network file (.xml), needed. movenet: its .tflite. openpifpaf: a checkpoint."),
    ] = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="COCO keypoints of any tool (.json, .npz); stands for --provider keypoints.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="With --keypoints: JSON with the list of images that explains its numbers.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="train, gallery, a query set's name, or all. Repeatable. Default: train, else all."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write masks/ into this folder instead of the set's.")] = None,
    folder: Annotated[str | None, typer.Option(help="Name of the label folder. Default: the provider's.")] = None,
    layout: Annotated[
        LabelFormat,
        typer.Option("--format", help="compact: a byte a value. published: floats, named as the published labels."),
    ] = LabelFormat.COMPACT,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many images, evenly chosen; for a trial.")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Pixels between two nodes of a label.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make labels anew that are there already.")] = False,
) -> None:
    """Make pose fields for the images of a data set, or of any folder, in masks/PROVIDER/.

    Only training needs labels. An interrupted run goes on where it stopped. What was found is written to
    masks/PROVIDER/report.csv: images without a person, with several, with few parts.
    """
    dataset = read_images(data, labels=None)
    everything, pictures = _choose(dataset, ["all"]), _choose(dataset, split)
    if limit is not None:
        pictures = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(limit, len(pictures))).astype(int)]
    if keypoints is not None:
        if model is not None or provider not in (OPENVINO, "keypoints"):
            raise ConfigError("--keypoints stands for --provider keypoints --model FILE: leave those two out.")
        provider, model = "keypoints", str(keypoints)
    source = load_provider(provider, model=model, stride=stride, images=images)
    source.check(pictures, everything)
    published = layout is LabelFormat.PUBLISHED
    name = folder or (PUBLISHED_FOLDER if published else source.name)
    if Path(name).name != name or name.startswith(".") or "," in name or name == AUTO:
        # "auto" and commas mean something else where label folders are chosen.
        raise ConfigError(f"--folder names a folder within {MASKS}, such as {source.name}; got {name!r}.")
    target = out or dataset.root
    jobs = _jobs(pictures, dataset, target, name, published=published)
    with progress_bar(f"Labels ({source.name})", len(jobs)) as (bar, task):
        summary = make_labels(
            source, jobs, target / MASKS / name, read=read_image,
            source=" ".join(filter(None, [provider, _content(model, images), f"stride {stride}", layout.value])),
            quantised=not published, overwrite=overwrite, progress=lambda n: bar.advance(task, n),
        )  # fmt: skip
    _print_summary(summary, target / MASKS / name / REPORT)


def _content(*files: str | Path | None) -> str:
    """The names of files, and a digest of what is in them: a corrected file of keypoints makes other labels."""
    named = [Path(file) for file in files if file is not None]
    digest = hashlib.sha256()
    for file in named:
        for part in (file, file.with_suffix(".bin")):  # OpenVINO keeps a network's numbers there
            if part.is_file():
                digest.update(part.read_bytes())
    return " ".join([*(file.name for file in named), digest.hexdigest()[:8]]) if named else ""


def _choose(dataset: ReIDDataset, splits: list[str] | None) -> list[Path]:
    """The images of the splits, each once."""
    known = dataset.splits
    names = splits or (["train"] if dataset.train else ["all"])
    for name in names:
        if name != "all" and name not in known:
            raise DataError(f"No split {name!r} in {dataset.root}. {nearest(name, (*known, 'all'))}")
    return list(dict.fromkeys(i.path for name in (known if "all" in names else names) for i in known[name]))


def _jobs(images: list[Path], dataset: ReIDDataset, out: Path, folder: str, *, published: bool) -> list[LabelJob]:
    """What to label and where to write it: in ``out``, as it would lie in the set's own folder.

    Raises:
        DataError: two images would share a label file, as their names differ in the suffix only.
    """
    jobs: dict[Path, LabelJob] = {}
    for image in images:
        place = published_label_path(image, dataset, folder) if published else label_path(image, dataset.root, folder)
        job = LabelJob(image, out / place.relative_to(dataset.root), image.relative_to(dataset.root).as_posix())
        other = jobs.setdefault(job.label, job)
        if other is not job:
            raise DataError(f"{other.image} and {image} would share the label file {job.label}. Rename one of them.")
    return list(jobs.values())


def _print_summary(summary: LabelSummary, report: Path) -> None:
    console.print(f"{summary.made} labels made, {summary.kept} kept.")
    for source, count in summary.other_sources.items():
        made_by = f"made by {source}" if source else "from elsewhere"
        say_warning(
            f"{count} of the kept labels are {made_by}; --overwrite makes them anew, --folder keeps the two apart."
        )
    total = summary.made + summary.kept + len(summary.failed)
    rows = [(NOTES[note], str(n), f"{100 * n / total:.1f}") for note, n in summary.notes.most_common()]
    console.print(plain_table("", ("worth a look", "images", "%"), rows or [("nothing", "0", "0.0")]))
    console.print(f"Each image: {report}", soft_wrap=True, highlight=False, markup=False)
    for message in summary.failed:
        errors.print(message, soft_wrap=True, highlight=False, markup=False)
    if summary.failed:
        errors.print(f"{len(summary.failed)} images could not be read.")
        raise typer.Exit(1)
