"""Training on feature maps that are computed once. The layers up to the map are frozen, and only later layers learn.

::

    RUN/cached_maps/variant-<n>/   meta.json; maps, own vectors and labels as bare numbers, in the order of their images
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from partreid.datasets.augment import Augmentation, Augmented
from partreid.datasets.batch_config import AugmentConfig
from partreid.datasets.loaders import ImageDataset
from partreid.errors import CheckpointError, ConfigError, ExportError, MissingDependencyError, TrainingError
from partreid.files import atomic_folder, mend_folder
from partreid.models.backbones import Backbone
from partreid.progress import Progress
from partreid.runners.in_memory import PIECE, Run, run_by_openvino
from partreid.runtime import Arithmetic
from partreid.training.source import source_key
from partreid.training.train_config import CachedMapsConfig, TrainConfig

MAPS_FOLDER = "cached_maps"
_META = "meta.json"
_BATCH = 64
_WORTH_CONVERTING = 2000
"""From this number of images on, OpenVINO saves more time than its compiling takes."""


class MapBatch(NamedTuple):
    """A training batch after the backbone.

    Attributes:
        maps: float16 [B, C_s, h_s, w_s], from fine to coarse; several if the map is joined from several strides.
        part_maps, labels: as in :class:`~partreid.datasets.augment.Augmented`.
    """

    maps: tuple[Tensor, ...]
    part_maps: Tensor | None
    labels: Tensor | None

    def to(self, device: torch.device) -> MapBatch:
        """The batch on another device."""
        others = (None if one is None else one.to(device) for one in self[1:])
        return MapBatch(tuple(one.to(device) for one in self.maps), *others)

    def stages(self, backbone: Backbone) -> dict[int, Tensor]:
        """Features by stride, float32: the same as the backbone's ``unjoined`` would return."""
        return dict(zip(backbone.joined_strides, (one.float() for one in self.maps), strict=True))


class FrozenBackbone(nn.Module):
    """The cached part of a backbone: its map, and with ``vector`` its own embedding, which distillation needs.

    For a :class:`FineMap`, the maps that it joins are cached, because together they are several times smaller than the
    joined map.
    """

    def __init__(self, backbone: Backbone, *, vector: bool) -> None:
        super().__init__()
        self.backbone, self.strides = backbone, backbone.joined_strides
        self.vector = vector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images → maps from fine to coarse, then the own embedding."""
        stages = self.backbone.unjoined(images)
        vector = (self.backbone.vector(stages),) if self.vector else ()
        return (*(stages[stride] for stride in self.strides), *vector)


@dataclass(frozen=True, eq=False)
class MapSource:
    """The inputs of the computation of maps.

    Attributes:
        backbone: in evaluation mode. own: whether its own embedding is needed, for distillation.
        dataset: the training images. pid_index: [N] their classes. augmentation: how they are varied.
        fixed_attention: whether the model needs part maps beside the labels. seed: of every random number.
        key: digest of everything that the maps depend on.
    """

    backbone: Backbone
    own: bool
    dataset: ImageDataset
    pid_index: Tensor
    augmentation: Augmentation
    fixed_attention: bool
    seed: int
    key: str

    @classmethod
    def of(
        cls, backbone: Backbone, config: TrainConfig, dataset: ImageDataset, pid_index: Tensor,
        augmentation: Augmentation, digests: Mapping[str, Tensor],
    ) -> MapSource:  # fmt: skip
        """The source of a training: the backbone it starts from, in evaluation mode, and the digests of its
        images and labels, as of ``TrainingData``."""
        own = config.objective.distills
        key = hashlib.sha256(source_key(backbone, dataset, config.preprocess).encode())
        for part in (config.augment.model_dump_json(), config.map_size, config.label_schema, own, config.seed):
            key.update(repr(part).encode())
        for digest in digests.values():
            key.update(digest.numpy().tobytes())
        return cls(
            backbone, own, dataset, pid_index, augmentation, config.model.pose_guided, config.seed,
            key.hexdigest(),
        )  # fmt: skip

    def order(self, variant: int) -> np.ndarray:
        """[N] the images in a variant's order. The order differs, so that each variant pastes other people over an
        image."""
        count = len(self.dataset)
        return np.random.default_rng([self.seed, variant]).permutation(count) if variant else np.arange(count)

    def batch(self, variant: int, start: int) -> Augmented:
        """Augmented images from ``start`` on in that order. Variant 0 contains the unchanged images."""
        chosen = self.order(variant)[start : start + _BATCH].tolist()
        images = self.dataset.collate([self.dataset[i] for i in chosen])
        config, augmentation = self.augmentation.config, self.augmentation
        if variant == 0:
            plain = AugmentConfig(
                padding=0, erase_probability=0, label_threshold=config.label_threshold,
                label_sampling=config.label_sampling,
            )  # fmt: skip
            augmentation = replace(augmentation, config=plain)
        state = np.random.SeedSequence([self.seed, variant, start]).generate_state(1, np.uint32)
        generator = torch.Generator().manual_seed(int(state[0]))
        return augmentation(images.images, images.part_maps, self.pid_index[images.index], generator)

    def arrays(self, outputs: tuple[Tensor, ...], batch: Augmented) -> dict[str, np.ndarray]:
        """The arrays to keep of a batch, by file name. Maps are channels-last, as training uses them.

        Raises:
            TrainingError: a map contains numbers beyond half precision.
        """
        maps = outputs[: len(outputs) - self.own]
        found = {f"map{i}": one.permute(0, 2, 3, 1).half().cpu().numpy() for i, one in enumerate(maps)}
        if not all(np.isfinite(array).all() for array in found.values()):
            raise TrainingError(
                "The backbone's feature map holds numbers beyond half precision, so it cannot be cached: set "
                "cached_maps.variants=0, which computes it anew at every step."
            )
        if self.own:
            found["own"] = outputs[-1].float().cpu().numpy()
        if batch.labels is not None:
            found["labels"] = batch.labels.to(torch.int16).numpy()
        if self.fixed_attention and batch.part_maps is not None:
            found["part_maps"] = batch.part_maps.float().numpy()
        return found


class CachedMaps:
    """The backbone's outputs for variants of every training image, on disk.

    Args:
        folder: of the variants. order: [V, N] the image of each row of a variant.
    """

    def __init__(self, folder: Path, order: np.ndarray) -> None:
        self.variants = len(order)
        self._row = np.argsort(order, axis=1)  # of each image
        self._arrays = [_open(folder / f"variant-{variant}") for variant in range(self.variants)]

    def draw(self, index: Tensor, generator: torch.Generator) -> MapBatch:
        """A random variant of each image; ``index`` [B] in the list of images."""
        return self.take(index, torch.randint(self.variants, (len(index),), generator=generator))

    def take(self, index: Tensor, variant: Tensor) -> MapBatch:
        """These variants [B] of these images [B], on the CPU."""
        images, chosen = index.numpy(), variant.numpy()
        rows, parts = self._row[chosen, images], [np.flatnonzero(chosen == v) for v in range(self.variants)]

        def gather(name: str) -> Tensor | None:
            if name not in self._arrays[0]:
                return None
            found = np.empty((len(images), *self._arrays[0][name].shape[1:]), self._arrays[0][name].dtype)
            for arrays, part in zip(self._arrays, parts, strict=True):
                found[part] = arrays[name][rows[part]]
            return torch.from_numpy(found)

        maps: list[Tensor] = []
        while (one := gather(f"map{len(maps)}")) is not None:
            maps.append(one.permute(0, 3, 1, 2))
        labels = gather("labels")
        return MapBatch(tuple(maps), gather("part_maps"), None if labels is None else labels.long())

    def clean_vectors(self) -> Tensor:
        """float32 [N, D], the backbone's own embedding of every unchanged image."""
        return torch.from_numpy(np.array(self._arrays[0]["own"]))  # variant 0 is in the images' own order


def remove_maps(run: Path) -> None:
    """Remove the files from a run's folder, if there are any."""
    shutil.rmtree(run / MAPS_FOLDER, ignore_errors=True)


def cached_maps(
    source: MapSource, config: CachedMapsConfig, run: Path, *, device: torch.device, arithmetic: Arithmetic,
    say: Callable[[str], object], progress: Progress,
) -> CachedMaps:  # fmt: skip
    """The variants in a run's folder. Those that are incomplete, or have another key, are computed.

    Args:
        source: the inputs. config: the number of variants and their largest size. run: the folder.
        device, arithmetic: of the training. say: called with messages. progress: shows the progress.

    Raises:
        ConfigError: not one variant of every image fits into the budget.
        TrainingError: a map cannot be kept in half precision. CheckpointError: files cannot be written.
        DataError, LabelError: an image or a label cannot be read.
    """
    network, images = FrozenBackbone(source.backbone, vector=source.own).eval(), len(source.dataset)
    first = source.batch(0, 0)
    some = first.images[:PIECE]
    with torch.no_grad():
        outputs = tuple(one.cpu() for one in network(some.to(device)))
    part = Augmented(some, *(None if one is None else one[: len(some)] for one in first[1:]))
    each = sum(array.nbytes for array in source.arrays(outputs, part).values()) // len(some)
    variants = _affordable(each * images, config)
    folder = run / MAPS_FOLDER
    left = [v for v in range(variants) if not _is_whole(folder / f"variant-{v}", source.key)]
    say(
        f"Feature maps of {images} training images are kept in {folder}: {variants} variants of each, "
        f"{variants * each * images / 2**20:.0f} MiB{_less(variants, config)}."
    )
    if left:
        compute, how = _fastest(network, some, len(left) * images, device, arithmetic)
        say(f"{len(left) * images} of them are computed by {how}.")
        began = time.monotonic()
        with progress("feature maps", len(left) * images) as advance:
            for variant in left:
                _write(folder / f"variant-{variant}", source, variant, compute, advance)
        took = time.monotonic() - began
        say(f"They took {took / 60:.1f} minutes, {len(left) * images / max(took, 1e-9):.0f} images a second.")
    return CachedMaps(folder, np.stack([source.order(v) for v in range(variants)]))


def _affordable(size: int, config: CachedMapsConfig) -> int:
    """The number of variants of ``size`` bytes that fit."""
    fit = int(config.gib * 2**30) // size
    if fit < 1:
        needed = size / 2**30
        raise ConfigError(
            f"cached_maps.gib = {config.gib:g}: the feature maps of all training images take {needed:.2f} GiB. Set "
            f"cached_maps.gib={needed + 0.1:.1f} or more, or cached_maps.variants=0, which computes them anew at every "
            "step."
        )
    return min(config.variants, fit)


def _less(variants: int, config: CachedMapsConfig) -> str:
    if variants == config.variants:
        return ""
    return f" (cached_maps.gib = {config.gib:g} has no room for cached_maps.variants = {config.variants})"


def _fastest(
    network: FrozenBackbone, images: Tensor, count: int, device: torch.device, arithmetic: Arithmetic
) -> tuple[Run, str]:
    """A function that computes the outputs, and its description in words."""
    why = ""
    if device.type == "cpu" and count >= _WORTH_CONVERTING:
        try:
            return run_by_openvino(network, images, arithmetic=arithmetic), f"OpenVINO in {arithmetic}"
        except (MissingDependencyError, ExportError) as error:
            why = f", as OpenVINO is not to be had ({error})"
    fewer = device.type != "cpu" and arithmetic != "float32"

    def run(pixels: Tensor) -> tuple[Tensor, ...]:
        kind = getattr(torch, arithmetic) if fewer else None
        with torch.no_grad(), torch.autocast(device.type, dtype=kind, enabled=fewer):
            found: tuple[Tensor, ...] = network(pixels.to(device))
        return found

    return run, f"PyTorch in {arithmetic if fewer else 'float32'}{why}"


def _write(path: Path, source: MapSource, variant: int, run: Run, advance: Callable[[int], object]) -> None:
    """Compute one variant. Its folder appears completely or not at all."""
    mend_folder(path)
    count = len(source.dataset)
    shapes: dict[str, tuple[str, list[int]]] = {}
    with atomic_folder(path, error=CheckpointError) as folder:
        files: dict[str, IO[bytes]] = {}
        try:
            for start in range(0, count, _BATCH):
                batch = source.batch(variant, start)
                for name, array in source.arrays(run(batch.images), batch).items():
                    if name not in files:
                        files[name] = (folder / f"{name}.bin").open("wb")
                        shapes[name] = (array.dtype.str, [count, *array.shape[1:]])
                    # Written, not mapped, so that a full disk is an error and not a crash.
                    files[name].write(np.ascontiguousarray(array).data)
                advance(len(batch.images))
        finally:
            for file in files.values():
                file.close()
        (folder / _META).write_text(json.dumps({"key": source.key, "arrays": shapes}), encoding="utf-8")


def _is_whole(path: Path, key: str) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads((path / _META).read_text(encoding="utf-8"))["key"] == key:
            _open(path)
            return True
    return False


def _open(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a variant, mapped into memory."""
    arrays = json.loads((path / _META).read_text(encoding="utf-8"))["arrays"]
    return {
        name: np.memmap(path / f"{name}.bin", np.dtype(kind), mode="r", shape=tuple(shape))
        for name, (kind, shape) in arrays.items()
    }
