"""Pictures in, part embeddings out: the same for files, PIL pictures and arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
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
from partreid.inference.mirror import merge_mirrored
from partreid.labels.fields import read_part_maps
from partreid.models.checkpoint import Checkpoint, load_checkpoint
from partreid.models.network import ReIDNetwork
from partreid.parts import flip_order, has_unnamed
from partreid.preprocessing import PreprocessConfig, normalize
from partreid.runtime import RuntimeConfig, resolve_arithmetic, resolve_device
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
        self.device = resolve_device(self.runtime.device)
        self.model = model.to(self.device).eval()
        self.preprocess = preprocess
        self.mirror = mirror
        if mirror and has_unnamed(self.slots):
            raise ConfigError(
                f"The parts of this model have no names ({', '.join(self.slots)}), so left and right cannot be told "
                "apart in a mirror image. Embed without the mirror, or load the weights with their part schema."
            )
        precision = "float32" if self.runtime.precision == "auto" else self.runtime.precision
        self._arithmetic = resolve_arithmetic(self.device, precision)

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

    @cached_property
    def fingerprint(self) -> str:
        """A name for what its embeddings depend on: weights, the model's configuration, picture size, mirror.

        Two extractors with the same one give the same embeddings, up to rounding (device, precision).
        """
        config = self.model.config.model_dump(mode="json", exclude_defaults=True)
        choices = [config, self.preprocess.model_dump(mode="json"), self.mirror]
        digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.model.slots

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

    @torch.inference_mode()
    def _forward(self, batch: list[Picture]) -> ModelOutput:
        pixels = np.stack([resize(load_picture(picture), self.preprocess.size) for picture in batch])
        # [B, H, W, 3] seen as [B, 3, H, W] is channels-last already, the layout convolutions run fastest in.
        images = normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device), self.preprocess)
        part_maps = self._part_maps(batch)
        dtype = torch.float16 if self._arithmetic == "float16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=dtype, enabled=self._arithmetic != "float32"):
            output: ModelOutput = self.model(images, part_maps, classify=False)
            if self.mirror:
                output = merge_mirrored(output, self._forward_mirrored(images, part_maps))
        return output.map(lambda tensor: tensor.float().cpu())

    def _forward_mirrored(self, images: torch.Tensor, part_maps: torch.Tensor | None) -> ModelOutput:
        if part_maps is not None:
            part_maps = part_maps[:, list(flip_order(self.model.config.part_names))].flip(3)
        output: ModelOutput = self.model(images.flip(3), part_maps, classify=False)
        return output

    def _part_maps(self, batch: list[Picture]) -> torch.Tensor | None:
        """Part maps E [B, K, h, w] at the feature map's size, where they take the place of learned attention."""
        config = self.model.config
        if not config.pose_guided:
            return None
        height, width = self.preprocess.size
        map_size = (height // config.stride, width // config.stride)
        maps = []
        for picture in batch:
            if not isinstance(picture, ReIDImage) or picture.label is None:
                raise DataError(
                    f"This model looks where pose fields say (attention = {config.attention}): every picture needs a "
                    f"label file, and {picture if isinstance(picture, ReIDImage) else 'this one'} has none. Give "
                    "entries of a data set with labels (`partreid labels make`)."
                )
            nodes = torch.from_numpy(read_part_maps(picture.label, config.part_schema))[None]
            none = torch.zeros(1, 2, dtype=torch.long)
            maps.append(part_maps_at(nodes, none, size=self.preprocess.size, map_size=map_size))
        return torch.cat(maps).to(self.device)


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
