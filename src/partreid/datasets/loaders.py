"""From files to batches: images and their part maps, read one by one and kept in memory as far as they fit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from partreid.base_config import ConfigModel
from partreid.datasets.images import read_image, resize
from partreid.datasets.read_ahead import read_ahead
from partreid.datasets.samplers import IdentityBatchSampler
from partreid.errors import DataError, LabelError, warn
from partreid.labels.fields import check_upright, part_map_values, read_stored_part_maps
from partreid.objects import Guided
from partreid.parts import PartSchema
from partreid.runtime import RuntimeConfig, empty, resolve_device
from partreid.types import ReIDImage, identities


class BatchConfig(ConfigModel):
    """How training batches are drawn."""

    identities_per_batch: Annotated[int, Field(ge=2)] = 16
    """P: identities in a batch (paper §4.2: 16)."""
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    """K: images of each (paper §4.2: 4)."""
    look_alikes: bool = False
    """Whether a batch consists of identities that look alike to the model at the beginning of the epoch, so that they
    are hard to distinguish; otherwise of any identities (paper).
    """
    views: Literal[1, 2] = 1
    """How often each of these images is in the batch, with a new augmentation each time (paper: 1)."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageBatch(Guided):
    """Images as they were read, before augmentation and normalisation.

    Attributes:
        images: uint8 [B, 3, H, W], RGB; channels-last in memory.
        part_maps: float32 [B, K, h, w], the tensor E at label nodes, 0 for an image without a label file; or None
            where labels are not read.
        index: [B] position in the list of images; stays on the CPU.
    """

    images: Tensor
    part_maps: Tensor | None
    index: Tensor

    def repeated(self, times: int) -> ImageBatch:
        """The same images so many times, one whole batch behind the other."""
        if times == 1:
            return self
        part_maps = None if self.part_maps is None else torch.cat([self.part_maps] * times)
        return ImageBatch(torch.cat([self.images] * times), part_maps, torch.cat([self.index] * times))

    def to(self, device: torch.device) -> ImageBatch:
        """The batch on another device; nothing waits for what that is doing."""
        part_maps = None if self.part_maps is None else self.part_maps.to(device, non_blocking=True)
        return ImageBatch(self.images.to(device, non_blocking=True), part_maps, self.index)


class LoadedImage(NamedTuple):
    """One image of a data set.

    Attributes:
        pixels: uint8 [H, W, 3], RGB.
        part_maps: [K, h, w] as the label file has them (``read_stored_part_maps``), or None.
        place: position in the list of images.
    """

    pixels: NDArray[np.uint8]
    part_maps: NDArray[np.generic] | None
    place: int

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.pixels.nbytes + (0 if self.part_maps is None else self.part_maps.nbytes)


class ImageDataset(Dataset[LoadedImage]):
    """Reads images and, if asked, their labels, at a common size, and keeps the first ones that fit.

    A kept image and its label are those of one moment, its first reading: later changes of the files are not seen.
    Threads may read at once.

    Args:
        images: what to read.
        size: (H, W) of the images.
        schema: read labels grouped so; None reads none.
        label_nodes: (h, w) to which part maps are resampled (bilinear, corners aligned); label files of a set
            may differ in size as its images do.
        cache_mib: memory for decoded images, their labels included, in MiB.
    """

    def __init__(
        self,
        images: Sequence[ReIDImage],
        *,
        size: tuple[int, int],
        schema: PartSchema | None = None,
        label_nodes: tuple[int, int] = (17, 9),
        cache_mib: int = 0,
    ) -> None:
        self.images = images
        self.size = size
        self.schema = schema
        self.label_nodes = label_nodes
        self.cache_mib = cache_mib
        self._kept: dict[int, LoadedImage] = {}
        self._free = cache_mib * 2**20
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LoadedImage:
        if (kept := self._kept.get(index)) is not None:
            return kept
        entry = self.images[index]
        whole = read_image(entry.path)
        pixels = resize(whole, self.size)
        part_maps = None
        if self.schema is not None and entry.label is not None:
            part_maps = read_stored_part_maps(entry.label, self.schema)
            check_upright(entry.label, part_maps.shape[1:], entry.path, whole.shape[:2])
        image = LoadedImage(pixels, part_maps, index)
        with self._lock:
            if index in self._kept:  # another thread came first
                return self._kept[index]
            if image.nbytes <= self._free:
                self._free -= image.nbytes
                self._kept[index] = image
        return image

    def collate(self, images: Sequence[LoadedImage], *, pinned: bool = False) -> ImageBatch:
        """A batch of images of this set; ``pinned``: in memory that a GPU copies from by itself."""
        shape, kind, cpu = (len(images), *self.size, 3), torch.uint8, torch.device("cpu")
        pixels = torch.empty(shape, dtype=kind, pin_memory=True) if pinned else empty(shape, kind, cpu)
        np.stack([image.pixels for image in images], out=pixels.numpy())
        return ImageBatch(
            images=pixels.permute(0, 3, 1, 2),
            part_maps=None if self.schema is None else self._part_maps(images, len(self.schema), pinned=pinned),
            index=torch.tensor([image.place for image in images]),
        )

    def _part_maps(self, images: Sequence[LoadedImage], num_parts: int, *, pinned: bool) -> Tensor:
        part_maps = torch.zeros(len(images), num_parts, *self.label_nodes, pin_memory=pinned)
        # Those of one type and size together, each by its row in the batch.
        alike: dict[object, dict[int, NDArray[np.generic]]] = defaultdict(dict)
        for row, image in enumerate(images):
            if image.part_maps is not None:
                alike[image.part_maps.dtype, image.part_maps.shape][row] = image.part_maps
        for stored in alike.values():
            maps = torch.from_numpy(part_map_values(np.stack(list(stored.values()))))
            if maps.shape[2:] != self.label_nodes:
                maps = F.interpolate(maps, size=self.label_nodes, mode="bilinear", align_corners=True)
            part_maps[list(stored)] = maps
        return part_maps


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
        order = self.order(number, start=start)
        read = read_ahead(
            lambda index: [self.dataset[i] for i in index], order, threads=self._workers, ahead=2 * self._workers
        )
        return (self.dataset.collate(images, pinned=self._pinned) for images in read)

    def order(self, number: int, *, start: int = 0) -> Iterator[list[int]]:
        """Which images the batches of one epoch have, as :meth:`epoch` reads them."""
        self.sampler.set_epoch(number, start=start)
        return iter(self.sampler)

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
