"""Exports a model by its name. The file is checked on real images, and the loss caused by fewer bits is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.images import read_image, resize
from partreid.datasets.readers import read_dataset
from partreid.datasets.readers.loose_images import read_images
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.errors import ConfigError, DataError
from partreid.export.parity import Agreement
from partreid.export.quality import Quality, measure_quality
from partreid.export.quantise import CALIBRATION_IMAGES
from partreid.export.write import CHECKED_IMAGES, ExportOptions, export_checkpoint
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import load_checkpoint
from partreid.models.shipped import SHIPPED, is_shipped, shipped_name
from partreid.objects import Guided
from partreid.progress import Progress, no_progress
from partreid.runners.exported import ExportedRunner
from partreid.runtime import RuntimeConfig
from partreid.types import ReIDDataset

_CPU = RuntimeConfig(device="cpu")


@dataclass(frozen=True, eq=False, repr=False)
class Exported(Guided):
    """A model that was exported.

    Attributes:
        path: the file. agreement: of its float32 form with PyTorch. dataset: used for the check.
        quality: the loss in scores caused by fewer bits; None in float32.
        milliseconds: processor time per image in bfloat16 and in float32 on this machine, if bfloat16 is allowed. The
            file runs in the quicker one here.
    """

    path: Path
    agreement: Agreement
    dataset: ReIDDataset
    quality: Quality | None
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def megabytes(self) -> float:
        """Size of the file, with the ``.bin`` beside an OpenVINO file."""
        files = [self.path, self.path.with_suffix(".bin")] if self.path.suffix == ".xml" else [self.path]
        return sum(file.stat().st_size for file in files) / 1e6


def export_model(
    model: str | Path = SHIPPED,
    out: str | Path | None = None,
    *,
    suffix: str = ".onnx",
    options: ExportOptions | None = None,
    overrides: tuple[str, ...] = (),
    images: str | Path | None = None,
    data: ReIDDataset | str | Path | None = None,
    progress: Progress = no_progress,
) -> Exported:
    """Write a model as ONNX or OpenVINO, and compare the file with PyTorch on real images.

    Args:
        model: as for :func:`~partreid.models.checkpoint.load_checkpoint`.
        out: the file; None = ``model[-int8][-bf16]`` with the suffix, in the run's folder. For the model inside the
            package: its name instead of "model", in the current folder.
        suffix: ``.onnx`` or ``.xml`` (OpenVINO). options: how it is written.
        overrides: assignments to fields of the model, "model.visibility=continuous".
        images: folder of images for the check and the calibration; None = the data set's training images.
        data: set whose queries measure the loss; None = the shipped pedestrians.
        progress: shows the progress of the scoring.

    Raises:
        ConfigError: the file has another suffix, or an override is not a field of the model.
        DataError: there are no images for the check.
        CheckpointError, ExportError, MissingDependencyError: as :func:`~partreid.export.write.export_checkpoint`.
    """
    options = options or ExportOptions()
    stem, folder = (shipped_name(), Path()) if is_shipped(model) else ("model", Path(model))
    name = f"{stem}{'-int8' * options.int8}{'-bf16' * options.bfloat16}{suffix}"
    path = Path(out) if out else (folder if folder.is_dir() else Path()) / name
    if path.suffix != suffix:
        raise ConfigError(f"Expected a file that ends in {suffix} (--to), got {path}.")
    for assignment in overrides:
        if not assignment.startswith("model."):  # the file makes embeddings; how they are compared is chosen later
            raise ConfigError(
                f"{assignment!r}: expected model.FIELD=VALUE; matching is chosen when embeddings are used."
            )
    checkpoint = load_checkpoint(model, overrides=[one.removeprefix("model.") for one in overrides])
    dataset = data if isinstance(data, ReIDDataset) else read_dataset(data or shipped_split(), labels=None)
    count = CALIBRATION_IMAGES if options.int8 else CHECKED_IMAGES
    pixels = chosen_pixels(dataset, images, checkpoint.preprocess.size, count)
    agreement = export_checkpoint(checkpoint, path, pixels, options=options)
    quality = None
    if options.int8 or options.bfloat16:
        # The loss is measured in fewer bits, even if float32 is quicker here and will be used.
        fewer = RuntimeConfig(device="cpu", precision="bfloat16") if options.bfloat16 else _CPU
        exported = PartExtractor.from_pretrained(path, runtime=fewer)
        reference = PartExtractor.from_pretrained(checkpoint, runtime=_CPU, mirror=options.mirror)
        total = 2 * (len(dataset.query) + len(dataset.gallery))
        with progress(f"embedding {dataset.name}", total) as advance:
            quality = measure_quality(reference, exported, dataset, advance=advance)
    speed = ExportedRunner(path, _CPU).milliseconds if options.bfloat16 else {}
    return Exported(path, agreement, dataset, quality, speed)


def chosen_pixels(
    dataset: ReIDDataset, folder: str | Path | None, size: tuple[int, int], count: int
) -> NDArray[np.uint8]:
    """Up to ``count`` images, spread evenly over the training images or a folder, at the model's size."""
    images = dataset.train if folder is None else read_images(folder, labels=None).train
    if not images:
        raise DataError(f"{folder or dataset.root} has no training images to check with. Give a folder: --images.")
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]
    return np.stack([resize(read_image(image.path), size) for image in chosen])
