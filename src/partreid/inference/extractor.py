"""Pictures in, part embeddings out: the same for files, PIL pictures and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import torch
from PIL import Image

from partreid.datasets.augment import part_maps_at
from partreid.datasets.images import read_image, resize
from partreid.datasets.readers.common import list_pictures
from partreid.errors import ConfigError, DataError
from partreid.inference.runner import PoseInput, Runner, TorchRunner
from partreid.labels.fields import read_part_maps
from partreid.models.checkpoint import Checkpoint, load_checkpoint
from partreid.models.network import ReIDNetwork
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput, PartEmbeddings, ReIDImage

Picture: TypeAlias = "str | Path | Image.Image | np.ndarray | ReIDImage"
"""A file, a PIL picture, a uint8 RGB array [H, W, 3], or an entry of a data set."""


class PartExtractor:
    """Embeds pictures of persons.

    Args:
        model: a network; it is moved to the device and put in evaluation mode.
        preprocess: what its input must look like.
        runtime: device, precision and batch size. "auto" precision means float32 here: embeddings of one
            model then agree between machines.
        mirror: embed each picture and its mirror image, and average the two with left and right parts put back in
            place (:func:`~partreid.inference.mirror.merge_mirrored`). Takes twice as long. Compare only embeddings
            made with the same choice.

    Raises:
        ConfigError: a mirror is asked for, and nothing is known of the parts but their number.

    Example:
        >>> extractor = PartExtractor.from_pretrained("runs/light")  # doctest: +SKIP
        >>> extractor.embed(["a.jpg", "b.jpg"])  # doctest: +SKIP
        PartEmbeddings(2 pictures, 6 slots ('foreground', 'head', ...), width 256, cpu)
    """

    def __init__(
        self,
        model: ReIDNetwork,
        preprocess: PreprocessConfig,
        *,
        runtime: RuntimeConfig | None = None,
        mirror: bool = False,
    ) -> None:
        self.runtime = runtime or RuntimeConfig()
        self.runner: Runner = TorchRunner(model, preprocess, self.runtime, mirror=mirror)

    @classmethod
    def from_runner(cls, runner: Runner, *, runtime: RuntimeConfig | None = None) -> Self:
        """The extractor of a network that something else than this constructor runs, such as an exported file.

        Args:
            runner: the network. runtime: the batch size; device and precision are the runner's.
        """
        extractor = cls.__new__(cls)
        extractor.runtime = runtime or RuntimeConfig()
        extractor.runner = runner
        return extractor

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        runtime: RuntimeConfig | None = None,
        mirror: bool = False,
        overrides: Sequence[str] = (),
    ) -> Self:
        """The extractor of a checkpoint folder, a run folder, or a Hugging Face Hub repository ``"org/name"``.

        Args:
            source: where it is. runtime, mirror: as in the constructor.
            overrides: as in :func:`~partreid.models.checkpoint.load_checkpoint`: ``["visibility=continuous"]``.

        Raises:
            CheckpointError: it is missing, incomplete or foreign.
            ConfigError: an override names no field of the model, or its value does not fit.
        """
        return cls.from_checkpoint(load_checkpoint(source, overrides=overrides), runtime=runtime, mirror=mirror)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, runtime: RuntimeConfig | None = None, mirror: bool = False
    ) -> Self:
        """The extractor of a checkpoint in memory, such as ``load_official`` returns."""
        return cls(checkpoint.model, checkpoint.preprocess, runtime=runtime, mirror=mirror)

    @property
    def model(self) -> ReIDNetwork:
        """The network itself.

        Raises:
            ConfigError: it was exported: there is a file that can be run, and nothing to look into.
        """
        if not isinstance(self.runner, TorchRunner):
            raise ConfigError("This needs the network itself, and got an exported file. Give the run it was made from.")
        return self.runner.model

    @property
    def preprocess(self) -> PreprocessConfig:
        """What the network's input looks like."""
        return self.runner.preprocess

    @property
    def mirror(self) -> bool:
        """Whether each picture is embedded together with its mirror image."""
        return self.runner.mirror

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.runner.device

    @property
    def fingerprint(self) -> str:
        """A name for what its embeddings depend on: weights, the model's configuration, picture size, mirror.

        Two extractors with the same one give the same embeddings, up to rounding (device, precision).
        """
        return self.runner.fingerprint

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.runner.slots

    def embed(self, pictures: Picture | Sequence[Picture]) -> PartEmbeddings:
        """Embeddings of pictures, in their order, on the CPU.

        Args:
            pictures: one, or several of any kind; a folder means every picture in it, sorted by name.

        Raises:
            DataError: a file is missing, truncated or no picture, a folder is empty, or an array has another
                shape; the message names it.
        """
        return PartEmbeddings.cat(output.embeddings for output in self.outputs(pictures))

    def outputs(self, pictures: Picture | Sequence[Picture]) -> Iterator[ModelOutput]:
        """Everything the model says, batch by batch, on the CPU: for attention maps and single embeddings.

        Arguments and errors as in :meth:`embed`.
        """
        items = as_pictures(pictures)
        if not items:
            raise DataError("Expected at least one picture to embed, got none.")
        iterator = iter(items)
        while batch := list(islice(iterator, self.runtime.batch_size)):
            yield self._forward(batch)

    def _forward(self, batch: list[Picture]) -> ModelOutput:
        pixels = np.stack([resize(load_picture(picture), self.preprocess.size) for picture in batch])
        pose = self.runner.pose
        part_maps = None if pose is None else torch.cat([self._part_maps(picture, pose) for picture in batch])
        return self.runner.run(pixels, part_maps)

    def _part_maps(self, picture: Picture, pose: PoseInput) -> torch.Tensor:
        """Part maps E [1, K, h, w] at the feature map's size, which take the place of learned attention."""
        if not isinstance(picture, ReIDImage) or picture.label is None:
            raise DataError(
                "This model looks where pose fields say: every picture needs a label file, and "
                f"{picture if isinstance(picture, ReIDImage) else 'this one'} has none. Give entries of a data set "
                "with labels (`partreid labels make`)."
            )
        nodes = torch.from_numpy(read_part_maps(picture.label, pose.schema))[None]
        none = torch.zeros(1, 2, dtype=torch.long)
        return part_maps_at(nodes, none, size=self.preprocess.size, map_size=pose.map_size)


def as_pictures(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """A list of single pictures; folders are replaced by the pictures in them, sorted by name.

    Raises:
        DataError: a folder holds no picture.
    """
    if isinstance(pictures, str | Path | Image.Image | ReIDImage):
        pictures = [pictures]
    elif isinstance(pictures, np.ndarray):
        pictures = list(pictures) if pictures.ndim == 4 else [pictures]
    found: list[Picture] = []
    for picture in pictures:
        if isinstance(picture, str | Path) and Path(picture).is_dir():
            found += list_pictures(Path(picture))
        else:
            found.append(picture)
    return found


def load_picture(picture: Picture) -> np.ndarray:
    """One picture as uint8 [H, W, 3] RGB.

    Raises:
        DataError: it cannot be read, or is no such array.
    """
    if isinstance(picture, ReIDImage):
        return read_image(picture.path)
    if isinstance(picture, str | Path):
        return read_image(picture)
    if isinstance(picture, Image.Image):
        if picture.mode.startswith(("I", "F")):
            raise DataError(f"Expected a PIL picture with 8 bits a channel, got mode {picture.mode}.")
        return np.asarray(picture.convert("RGB"))
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        what = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise DataError(f"Expected a file, a PIL picture or a uint8 array [H, W, 3] in RGB order, got {what}.")
    return picture
