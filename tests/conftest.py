"""Shared fixtures: a tiny data set of coloured blocks with labels (no people), and a tiny configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from partreid.datasets.augment import AugmentConfig
from partreid.training.presets import ablation
from partreid.training.train_config import TrainConfig

settings.register_profile("quick", max_examples=8, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "thorough", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # make test-all
settings.load_profile("quick")


HEIGHT, WIDTH = 64, 32
NO_AUGMENTATION = AugmentConfig(padding=0, erase_probability=0)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """On a busy machine the threads of these small networks wait for each other: 30 times slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # a training sets it for its whole process


def write_blocks(root: Path, folder: str, pids: Iterable[int], cameras: Iterable[int]) -> None:
    """Images whose upper and lower half carry the identity's colours, with pose fields for both halves."""
    for pid in pids:
        colors = np.random.default_rng(pid).integers(0, 255, (2, 3))
        for camera in cameras:
            noise = np.random.default_rng([pid, camera]).normal(0, 15, (HEIGHT, WIDTH, 3))
            image = np.repeat(colors, HEIGHT // 2, axis=0)[:, None] + noise
            name = f"{pid:04d}_c{camera + 1}_{camera:06d}"
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / folder / f"{name}.jpg", quality=95)
            fields = np.zeros((36, 9, 5), np.uint8)
            fields[22:25, :5] = 255  # torso above
            fields[17:21, 5:] = 230  # legs below
            (root / "masks" / "blocks" / folder).mkdir(parents=True, exist_ok=True)
            np.save(root / "masks" / "blocks" / folder / f"{name}.npy", fields)


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set: 6 training identities of 4 images, 4 test identities. Read only: tests must not change it."""
    root = tmp_path_factory.mktemp("blocks")
    write_blocks(root, "bounding_box_train", range(1, 7), range(4))
    write_blocks(root, "bounding_box_test", range(11, 15), range(3))
    write_blocks(root, "query", range(11, 15), range(3, 4))
    write_blocks(root, "query_holistic", range(11, 14), range(4, 5))
    return root


def tiny_config(*overrides: str) -> TrainConfig:
    """ResNet-18 at 64×32, two epochs."""
    return ablation().override(
        [
            "model.backbone=resnet18",
            "model.map_stride=null",
            "model.embedding_dim=16",
            "model.part_classifier_batchnorm=false",
            "preprocess.height=64",
            "preprocess.width=32",
            "augment.padding=2",
            "augment.label_sampling=centre",
            "batch.identities_per_batch=3",
            "batch.images_per_identity=2",
            "optimizer.epochs=2",
            "optimizer.warmup_epochs=1",
            "optimizer.backbone_rate=1",
            "pretrained=none",
            *overrides,
        ]
    )
