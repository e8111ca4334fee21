"""What reading, decoding and writing add to the network: image files to a folder of shards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import Figure, compare, cpu_seconds
from partreid.inference._shards import ShardSettings, embed_shards, finish_job, open_job
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.runtime import RuntimeConfig, keep_freed_memory
from partreid.training.presets import light

TITLE = "Image files to shards, light model at 128×64, one thread of PyTorch, against the network alone"
LIMIT = 1.1
IMAGES = 256


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """CPU seconds of all threads together, so that decoding beside the network counts too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command does
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _figures(Path(folder), rounds)
    finally:
        torch.set_num_threads(threads)


def _figures(folder: Path, rounds: int) -> Iterator[Figure]:
    config = light()
    extractor = PartExtractor(BPBReID(config.model, 1), config.preprocess, runtime=RuntimeConfig(device="cpu"))
    height, width = config.preprocess.size
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(IMAGES):
        coarse = Image.fromarray(random.integers(0, 255, (16, 8, 3), dtype=np.uint8))  # compresses as photographs do
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / "images" / f"{i}.jpg", quality=90)
    batch = extractor.runtime.batch_size
    pixels = random.integers(0, 255, (batch, height, width, 3), dtype=np.uint8)
    turn = 0

    def network() -> None:
        for _ in range(IMAGES // batch):
            extractor.runner.run(pixels, None)

    def whole() -> None:
        nonlocal turn
        turn += 1
        settings = ShardSettings(shard_size=128)
        with open_job(folder / f"shards{turn}", folder / "images", extractor, settings) as job:
            for _ in embed_shards(extractor, job, job.faults()):
                pass
            finish_job(job)

    ratio = compare("files to shards over the network alone", whole, network, rounds=rounds, limit=LIMIT)
    yield ratio
    seconds = [float(side.split()[0]) for side in ratio.detail.split(" against ")]
    for name, used in zip(("files to shards", "the network alone"), seconds, strict=True):
        yield Figure(f"{name}, one core", IMAGES / used, "images/s")
    idle = PartExtractor.from_runner(_Idle(extractor), runtime=extractor.runtime)
    read = min(cpu_seconds(lambda: list(idle.stream(folder / "images", readers=0))) for _ in range(rounds))
    yield Figure("walking, decoding and resizing alone, one core", IMAGES / read, "images/s")


class _Idle:
    """A network that says of every batch what it said of the first."""

    def __init__(self, extractor: PartExtractor) -> None:
        runner = extractor.runner
        self.preprocess, self.mirror, self.device = runner.preprocess, runner.mirror, runner.device
        self.slots, self.fingerprint, self.pose = runner.slots, runner.fingerprint, runner.pose
        self.normalize_embeddings, self.slot_weights = runner.normalize_embeddings, runner.slot_weights
        height, width = self.preprocess.size
        self._output = runner.run(np.zeros((1, height, width, 3), np.uint8), None)

    def run(self, pixels: np.ndarray, part_maps: torch.Tensor | None) -> object:
        return self._output
