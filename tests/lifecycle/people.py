"""A gallery of six people with a crop each, and two small models, for the tests of what becomes of galleries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval import Gallery
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = [f"person-{i}" for i in range(6)]


def model(seed: int) -> PartExtractor:
    """A small network with weights of its own."""
    torch.manual_seed(seed)
    network = BPBReID(ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=8), 3)
    size = PreprocessConfig(height=64, width=32)
    return PartExtractor(network, size, runtime=RuntimeConfig(device="cpu", batch_size=4))


def crops(folder: Path) -> list[Path]:
    """An image of noise for each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in NAMES]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def fill(gallery: Gallery, folder: Path, extractor: PartExtractor | None = None) -> list[Path]:
    """Add the six, in cameras 1 and 2, ten days between each and the next; nobody knows when the first was seen.
    Without a model they get made-up embeddings."""
    paths = crops(folder)
    vectors = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
    made = PartEmbeddings(vectors, torch.ones(6, 2), ("foreground", "head"), "model")
    if extractor is not None:
        made = extractor.embed(paths)
    times = [None, *(NOW - timedelta(days=10 * i) for i in range(1, 6))]
    metadata = [{"file": str(path), "row": i} for i, path in enumerate(paths)]
    gallery.add(made, NAMES, cameras=[1, 1, 1, 2, 2, 2], times=times, metadata=metadata)
    return paths
