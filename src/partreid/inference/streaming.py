"""From images to embeddings, batch by batch. Threads decode the next images while the network runs."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from partreid.datasets.augment import part_maps_at
from partreid.datasets.images import resize
from partreid.datasets.read_ahead import read_ahead
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.inference.cameras import Cameras, with_cameras
from partreid.inference.inputs import ImageLike, image_name, load_image
from partreid.labels.fields import check_upright, read_part_maps
from partreid.objects import Guided
from partreid.runners.adapted import AdaptedRunner
from partreid.runners.runner import PoseInput, Runner, signed
from partreid.surroundings import usable_cores
from partreid.types import ModelOutput, PartEmbeddings, ReIDImage

OnError = Literal["raise", "skip"]
"""What becomes of an image that cannot be read."""


class SkippedImage(NamedTuple):
    """An image that was left out: its position among all, its name, and the reason."""

    position: int
    name: str
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class EmbeddedBatch(Guided):
    """Images that went through the network together.

    Attributes:
        names: of B images: the file, or ``#7`` for the eighth image of a stream of arrays. positions: [B] their
        positions among all images of the stream, from 0; skipped images leave a gap.
        output: all outputs of the model, on the CPU; ``output.attention`` are the attention maps.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    output: ModelOutput

    @property
    def embeddings(self) -> PartEmbeddings:
        """[B, S, D] the embeddings that matching compares."""
        return self.output.embeddings

    def __len__(self) -> int:
        return len(self.names)


class EmbeddingStream(Iterator[EmbeddedBatch]):
    """The batches of a stream, in the order of its images. Close it, or use ``with``, to leave it early.

    Attributes:
        skipped: the images left out so far.
    """

    def __init__(self, runner: Runner, batches: Iterator[ImageBatch], *, skip: bool, readers: int | None) -> None:
        if readers is not None and (not isinstance(readers, int) or readers < 0):
            raise ConfigError(f"Expected no negative number of readers, or None, got {readers!r:.80}.")
        self.skipped: list[SkippedImage] = []
        self._results = run_batches(runner, batches, skip=skip, readers=readers)

    def __next__(self) -> EmbeddedBatch:
        for batch, output in self._results:
            self.skipped += batch.skipped
            if output is not None:
                return EmbeddedBatch(batch.names, batch.positions, output)
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading."""
        self._results.close()


class ImageBatch(NamedTuple):
    """Images to read with the names of their cameras, and the position of the first among all."""

    first: int
    images: list[ImageLike]
    cameras: list[str | None]


@dataclass(frozen=True, eq=False)
class DecodedBatch:
    """A batch that was read: the positions that it covers, and its readable images; ``skipped`` are the others."""

    first: int
    end: int
    names: tuple[str, ...]
    cameras: tuple[str | None, ...]
    positions: np.ndarray
    pixels: np.ndarray
    part_maps: Tensor | None
    skipped: tuple[SkippedImage, ...]


def in_batches(
    images: Iterator[ImageLike], size: int, *, first: int = 0, cameras: Cameras = None
) -> Iterator[ImageBatch]:
    """Images some at a time; ``first`` is the position of the first one, ``cameras`` as of ``with_cameras``."""
    pairs = with_cameras(images, cameras)
    while batch := list(islice(pairs, size)):
        yield ImageBatch(first, [image for image, _ in batch], [camera for _, camera in batch])
        first += len(batch)


def run_batches(
    runner: Runner, batches: Iterator[ImageBatch], *, skip: bool, readers: int | None
) -> Generator[tuple[DecodedBatch, ModelOutput | None], None, None]:
    """Every batch as it was read, and the output of the network; None if no image could be read.

    ``readers`` threads decode ahead and hold at most ``readers + 1`` batches; 0 decodes between the batches, None takes
    one for each core of this process, at most 4: decoding takes a small part of the time.
    """
    readers = min(4, usable_cores()) if readers is None else readers
    for batch in read_ahead(lambda one: _decode(one, runner, skip=skip), batches, threads=readers, ahead=readers):
        if not batch.names:
            yield batch, None
            continue
        if isinstance(runner, AdaptedRunner):
            output = runner.run(batch.pixels, batch.part_maps, batch.cameras)
        else:
            output = runner.run(batch.pixels, batch.part_maps)
        _check_numbers(output.embeddings, batch.names)
        yield batch, replace(output, embeddings=signed(output.embeddings, runner))


def _check_numbers(embeddings: PartEmbeddings, names: Sequence[str]) -> None:
    """Refuse embeddings with NaN or infinity, and name the image: nothing that compares them could tell later."""
    try:
        embeddings.validate()
        return
    except ShapeError:
        pass
    for name, one in zip(names, embeddings, strict=True):
        try:
            one.validate()
        except ShapeError as error:
            raise DataError(
                f"The model gives no embedding of {name}: {str(error).removeprefix('Image 0, ')} In float16 large "
                "numbers overflow: take float32 or bfloat16. Otherwise the weights are at fault."
            ) from None


def _decode(batch: ImageBatch, runner: Runner, *, skip: bool) -> DecodedBatch:
    size, pose = runner.preprocess.size, runner.pose
    pixels = np.empty((len(batch.images), *size, 3), np.uint8)
    names: list[str] = []
    cameras: list[str | None] = []
    positions: list[int] = []
    maps: list[Tensor] = []
    skipped: list[SkippedImage] = []
    for position, (image, camera) in enumerate(zip(batch.images, batch.cameras, strict=True), batch.first):
        name = image_name(image, position)
        try:
            pixels[len(names)], whole = _load(image, name, size)
            if pose is not None:
                maps.append(_part_maps(image, pose, size, whole))
        except DataError as error:
            if not skip:
                raise
            skipped.append(SkippedImage(position, name, str(error)))
            continue
        names.append(name)
        cameras.append(camera)
        positions.append(position)
    part_maps = torch.cat(maps) if maps else None
    places, end = np.array(positions, np.int64), batch.first + len(batch.images)
    read = pixels[: len(names)]
    return DecodedBatch(batch.first, end, tuple(names), tuple(cameras), places, read, part_maps, tuple(skipped))


def _load(image: ImageLike, name: str, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """The image at that size, and the (H, W) it had."""
    try:
        pixels = load_image(image)
        return resize(pixels, size), pixels.shape[:2]
    except DataError as error:
        if isinstance(image, str | os.PathLike | ReIDImage):
            raise
        raise DataError(f"Image {name}: {error}") from None


def _part_maps(image: ImageLike, pose: PoseInput, size: tuple[int, int], whole: tuple[int, int]) -> Tensor:
    """Part maps E [1, K, h, w] at the feature map's size, which take the place of learned attention."""
    if not isinstance(image, ReIDImage) or image.label is None:
        raise DataError(
            "This model looks where pose fields say: every image needs a label file, and "
            f"{image if isinstance(image, ReIDImage) else 'this one'} has none. Give entries of a data set with "
            "labels (`partreid labels make`)."
        )
    part_maps = read_part_maps(image.label, pose.schema)
    check_upright(image.label, part_maps.shape[1:], image.path, whole)
    nodes = torch.from_numpy(part_maps)[None]
    none = torch.zeros(1, 2, dtype=torch.long)
    return part_maps_at(nodes, none, size=size, map_size=pose.map_size)
