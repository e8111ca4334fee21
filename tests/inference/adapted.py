"""A small network, crops of three cameras that see the same in another light, and an adaptation to two of them."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from partreid.inference.adapting import LEAST, adapt
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig, normalize
from partreid.runners._batch_norms import batch_norms
from partreid.runners.adaptation import Adaptation
from partreid.runtime import RuntimeConfig

SIZE = PreprocessConfig(height=32, width=16)
LIGHT = {"1": (1.0, 0.0), "2": (0.6, 70.0), "gate": (0.7, 20.0)}
"""By camera: factor and summand of every pixel."""


@functools.cache
def network() -> BPBReID:
    torch.manual_seed(0)
    model = BPBReID(ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=4), 2)
    torch.nn.init.normal_(model.part_classifier.classifier.weight, std=0.1)
    for norm in batch_norms(model).values():
        norm.momentum = 1.0
    with torch.no_grad():  # statistics of its own, of another camera
        model.train()(normalize(torch.from_numpy(np.stack(crops("gate", 64))).permute(0, 3, 1, 2), SIZE))
    return model.eval()


def build(adaptation: Adaptation | None = None, *, batch_size: int = 16, mirror: bool = False) -> PartExtractor:
    runtime = RuntimeConfig(device="cpu", batch_size=batch_size)
    return PartExtractor(network(), SIZE, runtime=runtime, mirror=mirror, adaptation=adaptation)


def crops(camera: str, count: int, *, seed: int = 0) -> list[np.ndarray]:
    factor, summand = LIGHT[camera]
    noise = np.random.default_rng(seed).integers(0, 256, (count, 8, 4, 3)).repeat(4, 1).repeat(4, 2)
    return list((noise * factor + summand).clip(0, 255).astype(np.uint8))


@functools.cache
def adaptation() -> Adaptation:
    """To cameras 1 and 2."""
    cameras = ["1"] * LEAST + ["2"] * LEAST
    return adapt(build(), [*crops("1", LEAST), *crops("2", LEAST)], cameras)


def write_run(folder: Path) -> Path:
    """The network as a run."""
    save_checkpoint(Checkpoint(network(), SIZE), folder / "checkpoint")
    return folder


def write_crops(folder: Path, counts: dict[str, int]) -> Path:
    """Files that are named after person and camera, as Market-1501's."""
    folder.mkdir(parents=True)
    for camera, count in counts.items():
        for number, pixels in enumerate(crops(camera, count)):
            Image.fromarray(pixels).save(folder / f"{number % 50:04d}_c{camera}_{number:06d}.png")
    return folder
