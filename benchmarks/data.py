"""How many labelled images a second one core reads, varies and normalises, against the usual way of doing it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import Figure, cpu_seconds
from partreid.datasets.augment import Augmentation, AugmentConfig
from partreid.datasets.batch_config import BatchConfig
from partreid.datasets.loaders import TrainLoader
from partreid.labels.fields import label_size, write_pose_fields
from partreid.parts import NUM_POSE_FIELDS, PART_SCHEMAS
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.types import ReIDImage

TITLE = "Labelled images a second and core: files to normalised batches of 64 at 256×128, K = 8"
LIMIT, RATIO_LIMIT = 2500, 20
SCHEMA, PREPROCESS, MAP_SIZE = PART_SCHEMAS["eight"], PreprocessConfig(), (16, 8)
CONFIG = AugmentConfig()
IMAGES = 256


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """The baseline, then the loader from files and from memory; files of Market-1501's size and of the input's.

    One thread, so that CPU seconds are a core's seconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for size in ((128, 64), PREPROCESS.size):
            with tempfile.TemporaryDirectory() as folder:
                yield from _figures(_write(Path(folder), size), f"files of {size[0]}×{size[1]}", rounds)
    finally:
        torch.set_num_threads(threads)


def _figures(images: list[ReIDImage], files: str, rounds: int) -> Iterator[Figure]:
    cold, kept = _loader(images, cache_mib=0), _loader(images, cache_mib=1024)
    varied = Augmentation(CONFIG, PREPROCESS, MAP_SIZE, SCHEMA)
    generator = torch.Generator().manual_seed(0)

    def load(loader: TrainLoader) -> None:
        for batch in loader.epoch(0):
            varied(batch.images, batch.part_maps, batch.index, generator)

    ways: dict[str, Callable[[], object]] = {
        "usual": lambda: _usual_batch(images[:64], np.random.default_rng(0)),
        "cold": lambda: load(cold),
        "kept": lambda: load(kept),
    }
    for way in ways.values():  # the first calls grow the memory pool, and read what is kept
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(cpu_seconds(way) / (64 if name == "usual" else IMAGES))
    speed = {name: 1 / median(times) for name, times in seconds.items()}
    yield Figure(f"{files}: Pillow, one by one, label planes of full size (the baseline)", speed["usual"], "/s")
    for name, what in (("cold", "read anew"), ("kept", "kept decoded")):
        # The limits hold for what a training does all the time: files are read in the first epoch only.
        limit, ratio_limit = (LIMIT, RATIO_LIMIT) if name == "kept" else (None, None)
        yield Figure(f"{files}: loader, {what}", speed[name], "/s", limit, at_least=True)
        ratio = median(a / b for a, b in zip(seconds["usual"], seconds[name], strict=True))
        yield Figure(f"{files}: loader, {what}, over the baseline", ratio, "×", ratio_limit, at_least=True)


def _loader(images: list[ReIDImage], *, cache_mib: int) -> TrainLoader:
    return TrainLoader(
        images,
        BatchConfig(),
        size=PREPROCESS.size,
        schema=SCHEMA,
        map_size=MAP_SIZE,
        seed=0,
        runtime=RuntimeConfig(device="cpu", cache_mib=cache_mib),
    )


def _write(folder: Path, size: tuple[int, int]) -> list[ReIDImage]:
    """Random images that take a JPEG as many bytes as photographs of that size do, with pose fields."""
    random = np.random.default_rng(0)
    height, width = size
    images = []
    for i in range(IMAGES):
        blocks = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        smooth = np.asarray(blocks.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = (smooth + random.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        image, label = folder / f"{i}.jpg", folder / f"{i}.npy"
        Image.fromarray(pixels).save(image, quality=90)
        write_pose_fields(label, random.random((NUM_POSE_FIELDS, *label_size(128, 64)), dtype=np.float32))
        images.append(ReIDImage(image, i // 4, 0, label=label))
    return images


def _usual_batch(images: list[ReIDImage], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch as it is usually made: image by image, the 36 label planes at full size until the end."""
    pairs = [_usual_image(image, random) for image in images]
    return torch.stack([pixels for pixels, _ in pairs]), torch.stack([labels for _, labels in pairs])


def _usual_image(image: ReIDImage, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    height, width = PREPROCESS.size
    with Image.open(image.path) as file:
        picture = file.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    assert image.label is not None
    fields = torch.from_numpy(np.load(image.label)).float() / 255
    planes = F.interpolate(fields[None], (height, width), mode="bilinear", align_corners=True)[0]
    pad = CONFIG.padding
    top, left = (int(i) for i in random.integers(0, 2 * pad + 1, 2))
    pixels, planes = (
        F.pad(tensor, (pad, pad, pad, pad))[:, top : top + height, left : left + width] for tensor in (pixels, planes)
    )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PREPROCESS.mean, PREPROCESS.std))
    pixels = (pixels - mean) / std
    if random.random() < CONFIG.erase_probability:
        h, w = (int(n * s) for n, s in zip((height, width), random.uniform(0.15, 0.65, 2), strict=True))
        y, x = int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1))
        pixels[:, y : y + h, x : x + w] = 0
        planes[:, y : y + h, x : x + w] = 0
    parts = torch.stack([planes[list(group)].amax(dim=0) for group in SCHEMA.groups])
    cells = F.interpolate(parts[None], MAP_SIZE, mode="bilinear")[0]
    strongest, part = cells.max(dim=0)
    return pixels, torch.where(strongest < CONFIG.label_threshold, 0, part + 1)
