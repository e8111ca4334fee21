"""A stand-in for a network: quick, exact whatever the batch, and able to kill its own process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from partreid.inference.extractor import PartExtractor
from partreid.preprocessing import PreprocessConfig
from partreid.runners.runner import PoseInput
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors


class PlainRunner:
    """The mean colours of the image and of its upper half.

    Args:
        fingerprint: of this network. pause: seconds a batch takes.
        killer: a file; if it is not there when a batch comes, it is made, and the process is killed.
    """

    def __init__(self, fingerprint: str = "plain", pause: float = 0.0, killer: Path | None = None) -> None:
        self.preprocess = PreprocessConfig(height=16, width=16)
        self.mirror = False
        self.device = torch.device("cpu")
        self.slots = ("foreground", "head")
        self.fingerprint = fingerprint
        self.normalize_embeddings = False
        self.slot_weights: dict[str, float] = {}
        self.pose: PoseInput | None = None
        self.batches: list[int] = []
        self._pause, self._killer = pause, killer

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        time.sleep(self._pause)
        self.batches.append(len(pixels))
        if self._killer is not None and not self._killer.exists():
            self._killer.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        numbers = torch.from_numpy(pixels).float()
        vectors = torch.stack([numbers.mean(dim=(1, 2)), numbers[:, :8].mean(dim=(1, 2))], dim=1)
        seen = (vectors.mean(dim=2) > 60).float()
        attention = torch.zeros(len(pixels), 2, 4, 4)
        return ModelOutput(
            None,
            attention,
            RegionVectors(),
            RegionVectors(),
            None,
            seen[:, 1:],
            PartEmbeddings(vectors, seen, self.slots),
        )


def plain_extractor(
    batch_size: int = 4, fingerprint: str = "plain", pause: float = 0.0, killer: Path | None = None
) -> PartExtractor:
    """An extractor around it."""
    runtime = RuntimeConfig(device="cpu", batch_size=batch_size)
    return PartExtractor.from_runner(PlainRunner(fingerprint, pause, killer), runtime=runtime)


def write_images(folder: Path, count: int) -> list[Path]:
    """Images of random colours, in two folders."""
    random = np.random.default_rng(0)
    files = []
    for i in range(count):
        file = folder / f"camera{2 * i // count}" / f"{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (20, 10, 3), dtype=np.uint8)).save(file)
        files.append(file)
    return files
