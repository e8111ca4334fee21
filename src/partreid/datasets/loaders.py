"""Loaders: batches for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from partreid.base_config import ConfigModel
from partreid.datasets.read_ahead import read_ahead
from partreid.datasets.samplers import IdentityBatchSampler
from partreid.datasets.torch_dataset import ImageBatch, ImageDataset, LoadedImage
from partreid.errors import DataError, LabelError, warn
from partreid.parts import PartSchema
from partreid.runtime import RuntimeConfig, resolve_device
from partreid.types import ReIDImage, identities


class BatchConfig(ConfigModel):
    """How training batches are drawn."""

    identities_per_batch: Annotated[int, Field(ge=2)] = 16
    """P: identities in a batch (paper §4.2: 16)."""
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    """K: images of each (paper §4.2: 4)."""


class TrainLoader:
    """Training batches, with the sampler that orders them.

    Args:
        images: training images of one or several sets; persons of different sets stay apart though their pids
            may coincide.
        config: batch composition. size: (H, W) of images.
        schema: part schema of the labels; None trains without labels.
        map_size: (H', W') of the feature map; labels are read at twice its resolution.
        seed: of the order. runtime: how many threads read ahead, and how much memory holds decoded images.

    Raises:
        LabelError: labels are needed and no image has one.
        DataError: there are no images or too few identities, or an image is there twice.
    """

    def __init__(
        self,
        images: Sequence[ReIDImage],
        config: BatchConfig,
        *,
        size: tuple[int, int],
        schema: PartSchema | None,
        map_size: tuple[int, int],
        seed: int,
        runtime: RuntimeConfig | None = None,
    ) -> None:
        _check_images(images)
        if schema is not None:
            _check_labels(images)
        order = {identity: index for index, identity in enumerate(identities(images))}
        self.pid_index = [order[image.identity] for image in images]
        self.sampler = IdentityBatchSampler(
            self.pid_index, identities=config.identities_per_batch, images=config.images_per_identity, seed=seed
        )
        # Nodes at the cells' centres and borders: without a crop, labels are read exactly at the centres.
        label_nodes = (2 * map_size[0] + 1, 2 * map_size[1] + 1)
        runtime = runtime or RuntimeConfig()
        self.dataset = ImageDataset(
            images, size=size, schema=schema, label_nodes=label_nodes, cache_mib=runtime.cache_mib
        )
        self._workers = runtime.workers
        self._pinned = resolve_device(runtime.device).type == "cuda"

    def epoch(self, number: int, *, start: int = 0) -> Iterator[ImageBatch]:
        """The batches of one epoch from batch ``start`` on, in the sampler's order; those before it are not read."""
        self.sampler.set_epoch(number, start=start)
        return self._batches()

    def describe(self) -> str:
        """How much of the images is kept in memory, for a log."""
        height, width = self.dataset.size
        needed, given = len(self.dataset) * height * width * 3 / 2**20, self.dataset.cache_mib
        if needed <= given:
            return f"{len(self.dataset)} images take {needed:.0f} MiB decoded and are kept in memory once read."
        return (
            f"{len(self.dataset)} images take {needed:.0f} MiB decoded, of which {given} MiB are kept in memory: the "
            "others are read in every epoch. --cache-mib changes it."
        )

    def _batches(self) -> Iterator[ImageBatch]:
        for images in read_ahead(self._read, self.sampler, threads=self._workers, ahead=2 * self._workers):
            yield self.dataset.collate(images, pinned=self._pinned)

    def _read(self, index: Sequence[int]) -> list[LoadedImage]:
        return [self.dataset[i] for i in index]


def _check_images(images: Sequence[ReIDImage]) -> None:
    if not images:
        raise DataError(
            "There are no training images. Sets such as Occluded-REID have none: train on another set, then evaluate "
            "on them."
        )
    path, count = Counter(image.path for image in images).most_common(1)[0]
    if count > 1:
        raise DataError(f"Image {path} is among the training images {count} times. Give each set only once.")


def _check_labels(images: Sequence[ReIDImage]) -> None:
    labelled = {image.dataset for image in images if image.label}
    without = {image.dataset for image in images} - labelled
    if not labelled:
        raise LabelError(
            f"No training image of {', '.join(sorted(without))} has a human parsing label. Make them with "
            "`partreid labels make`, or train without them: --set objective.part_attention_weight=0, and where people "
            "are pasted, as the light preset does, --set augment.pasting.people=0."
        )
    if without:
        warn(
            f"No training image of {', '.join(sorted(without))} has a human parsing label: part attention is learned "
            f"from {', '.join(sorted(labelled))} alone. Make labels with `partreid labels make`."
        )
