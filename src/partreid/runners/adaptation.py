"""Batch-norm statistics of each camera, learned without labels, in their own file.

The file is safetensors: ``mean/LAYER`` and ``variance/LAYER`` [cameras, C] for each batch norm, ``light``
[cameras, 2, 3], and a description with a checksum. The model itself is not changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from partreid.errors import ConfigError, DataError, nearest
from partreid.files import atomic_file, nameable
from partreid.json_files import parse_json
from partreid.models.checkpoint import find_checkpoint
from partreid.objects import Guided
from partreid.runners._batch_norms import Statistics
from partreid.types.gallery import as_text, is_unknown

ADAPTATION_FILE = "adaptation.safetensors"
"""Name of an adaptation beside a checkpoint."""

_FORMAT, _VERSION = "partreid-adaptation", 1
_MEAN, _VARIANCE, _LIGHT = "mean/", "variance/", "light"


def camera_text(camera: object) -> str | None:
    """A camera's name in the form that adaptations and galleries use: 3, 3.0 and "3" are the same; None = unknown.

    Raises:
        DataError: the camera is neither a text nor a number.
    """
    return None if is_unknown(camera) else as_text(camera, "A camera")


@dataclass(frozen=True, eq=False, repr=False)
class Adaptation(Guided):
    """Batch-norm statistics of each camera, for one model.

    Attributes:
        network: the fingerprint of the network (``TorchRunner.network_fingerprint``).
        cameras: their names. images: for each camera, the number of images used to estimate its statistics.
        weight: of the estimated statistics in the mixture with the model's own; ``statistics`` are the mixture.
        statistics: by the name of the batch norm, mean and variance [cameras, C] float32.
        light: [cameras, 2, 3] float32, mean and standard deviation over a camera's images of their mean colour, 0..255.
    """

    network: str
    cameras: tuple[str, ...]
    images: tuple[int, ...]
    weight: float
    statistics: Mapping[str, Statistics]
    light: Tensor

    @cached_property
    def fingerprint(self) -> str:
        """One name for the whole adaptation, because embeddings of all its cameras may be compared with each other."""
        return self._digest()[:16]

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {_LIGHT: self.light}
        for name, (mean, variance) in self.statistics.items():
            tensors |= {_MEAN + name: mean, _VARIANCE + name: variance}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def _description(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "network": self.network,
            "cameras": list(self.cameras),
            "images": list(self.images),
            "weight": self.weight,
        }

    def _digest(self) -> str:
        digest = hashlib.sha256(json.dumps(self._description()).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write the adaptation, completely or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        path = nameable(path, error=DataError)
        text = json.dumps(self._description() | {"sha256": self._digest()})
        with atomic_file(path, error=DataError) as temporary:
            try:
                save_file(self._tensors(), temporary, {_FORMAT: text})
            except SafetensorError as error:
                raise DataError(f"Cannot write {path}: {error}. Is the disk full?") from None
        return path

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read an adaptation.

        Args:
            source: the file, or the run or checkpoint folder that contains it.

        Raises:
            DataError: there is no adaptation, or it is damaged or of another version.
            CheckpointError: the source is neither a file nor a checkpoint.
        """
        path = nameable(source, error=DataError)
        path = path if path.is_file() else find_checkpoint(source) / ADAPTATION_FILE
        if not path.is_file():
            raise DataError(f"There is no adaptation {path}. Make it with `partreid adapt`.")
        try:
            with safe_open(str(path), framework="pt") as file:
                said = (file.metadata() or {}).get(_FORMAT)
                if said is None:
                    raise ValueError("it lacks the metadata that partreid adapt writes")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return cls._checked(parse_json(said, source="its description", error=DataError), tensors)
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise DataError(
                f"{path} is not an intact adaptation ({reason}). Make it again with `partreid adapt`."
            ) from None

    @classmethod
    def _checked(cls, said: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Parse the metadata. ValueError, TypeError and KeyError mean that they are not those of an adaptation."""
        if said["version"] != _VERSION:
            raise ValueError(f"it has version {said['version']!r:.80}, and this partreid reads version {_VERSION}")
        cameras, images, weight = said["cameras"], said["images"], said["weight"]
        named = isinstance(cameras, list) and cameras and all(isinstance(one, str) for one in cameras)
        if not named or len(set(cameras)) < len(cameras) or any(camera_text(one) != one for one in cameras):
            raise ValueError(f"its cameras are {cameras!r:.80}")
        if not (isinstance(images, list) and len(images) == len(cameras) and all(type(one) is int for one in images)):
            raise ValueError(f"its numbers of images are {images!r:.80}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1:
            raise ValueError(f"its weight is {weight!r:.80}")
        light = tensors.pop(_LIGHT)
        names = [name.removeprefix(_MEAN) for name in tensors if name.startswith(_MEAN)]
        statistics = {name: Statistics(tensors.pop(_MEAN + name), tensors.pop(_VARIANCE + name)) for name in names}
        if tensors or not statistics or light.shape != (len(cameras), 2, 3):
            raise ValueError("it holds other tensors")
        for one in (light, *(tensor for both in statistics.values() for tensor in both)):
            if one.dtype != torch.float32 or one.shape[:1] != light.shape[:1] or not one.isfinite().all():
                raise ValueError("a tensor has another type or shape, or a value that is not finite")
        if any((both.variance < 0).any() or both.mean.shape != both.variance.shape for both in statistics.values()):
            raise ValueError("a variance is below 0, or not one for each mean")
        made = cls(str(said["network"]), tuple(cameras), tuple(images), weight, statistics, light)
        if said["sha256"] != made._digest():
            raise ValueError("its content has changed since it was written: the checksum differs")
        return made

    def row(self, camera: str | None) -> int:
        """The number of a camera in the statistics. An unknown camera has the number of cameras."""
        return self.cameras.index(camera) if camera in self.cameras else len(self.cameras)

    def unknown(self, camera: str | None) -> str:
        """The warning about an image whose camera is not in the adaptation."""
        which = "An image's camera is not known" if camera is None else f"The adaptation has no camera {camera!r:.80}"
        hint = "" if camera is None else f" {nearest(camera, self.cameras)}"
        return f"{which}: such images are embedded with the mean of its cameras' statistics.{hint}"


def find_adaptation(adaptation: str | Path | Adaptation | None, model: object) -> Adaptation | None:
    """The adaptation from an adaptation, its file or a run that contains it; "auto" is the one beside the model.

    None stays None.

    Raises:
        DataError, CheckpointError: as :meth:`Adaptation.load`.
        ConfigError: "auto" for a model in memory, which does not know its folder.
    """
    if not isinstance(adaptation, str | Path):
        return adaptation
    if adaptation != "auto":
        return Adaptation.load(adaptation)
    if not isinstance(model, str | Path):
        raise ConfigError("Expected an adaptation or its file: which one lies beside a loaded model is not known.")
    return Adaptation.load(model)
