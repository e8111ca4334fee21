"""Loaders: batches in order, the same from a worker as without one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch

from partreid.datasets.batch_config import BatchConfig
from partreid.datasets.loaders import ImageBatch, TrainLoader
from partreid.datasets.readers import read_dataset
from partreid.errors import DataError, LabelError
from partreid.parts import PART_SCHEMAS
from partreid.runtime import RuntimeConfig
from partreid.types import ReIDDataset

SMALL = BatchConfig(identities_per_batch=3, images_per_identity=2)


@pytest.fixture
def dataset(blocks: Path) -> ReIDDataset:
    return read_dataset(blocks)


def make(dataset: ReIDDataset, *, workers: int = 0, cache_mib: int = 0, seed: int = 0) -> TrainLoader:
    runtime = RuntimeConfig(device="cpu", workers=workers, cache_mib=cache_mib)
    five = PART_SCHEMAS["five"]
    return TrainLoader(dataset.train, SMALL, size=(64, 32), schema=five, map_size=(4, 2), seed=seed, runtime=runtime)


def _same(a: Sequence[ImageBatch], b: Sequence[ImageBatch]) -> bool:
    if len(a) != len(b):
        return False
    pairs = list(zip(a, b, strict=True))
    for x, y in pairs:
        assert x.part_maps is not None
        assert y.part_maps is not None
        if not torch.equal(x.index, y.index):
            return False
        assert torch.equal(x.images, y.images)
        assert torch.equal(x.part_maps, y.part_maps)
    return bool(pairs)


def test_batches_are_p_times_k_with_labels_at_twice_the_map(dataset: ReIDDataset) -> None:
    loader = make(dataset)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader.sampler)
    for batch in batches:
        assert batch.part_maps is not None
        assert batch.images.shape == (6, 3, 64, 32)
        assert batch.part_maps.shape == (6, 5, 9, 5)
        assert batch.part_maps is not None
        assert batch.part_maps.flatten(1).any(dim=1).all()
        assert len({loader.pid_index[i] for i in batch.index}) == 3
    assert loader.pid_index == [dataset.train_identities.index(image.identity) for image in dataset.train]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("cache_mib", [0, 1])
def test_threads_and_kept_images_change_nothing(dataset: ReIDDataset, workers: int, cache_mib: int) -> None:
    alone, helped = make(dataset), make(dataset, workers=workers, cache_mib=cache_mib)
    for epoch in (0, 1, 0):
        assert _same(list(alone.epoch(epoch)), list(helped.epoch(epoch)))
    assert not _same(list(alone.epoch(0)), list(alone.epoch(1)))
    assert not _same(list(alone.epoch(0)), list(make(dataset, seed=1).epoch(0)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(dataset: ReIDDataset, tmp_path: Path, workers: int) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(dataset.train[0].path.read_bytes()[:-300])
    images = (replace(dataset.train[0], path=broken), *dataset.train[1:])
    loader = make(replace(dataset, train=images), workers=workers)
    epochs = (loader.epoch(number) for number in range(20))  # not every image is in every one
    with pytest.raises(DataError, match=r"broken\.jpg is a damaged JPEG"):
        deque(chain.from_iterable(epochs), maxlen=0)


def test_an_epoch_that_is_left_leaves_no_thread(dataset: ReIDDataset) -> None:
    before = threading.active_count()
    batches = make(dataset, workers=2).epoch(0)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_labels_are_needed_only_where_they_are_used(dataset: ReIDDataset) -> None:
    bare = replace(dataset, train=tuple(replace(image, label=None) for image in dataset.train))
    with pytest.raises(LabelError, match=r"No training image of .* objective\.part_attention_weight=0"):
        make(bare)
    loader = TrainLoader(bare.train, SMALL, size=(64, 32), schema=None, map_size=(4, 2), seed=0)
    assert next(iter(loader.epoch(0))).part_maps is None
    one = replace(dataset, train=(dataset.train[0], *bare.train[1:]))
    maps = [batch.part_maps for batch in make(one).epoch(0)]
    assert sum(int(m.flatten(1).any(dim=1).sum()) for m in maps if m is not None) <= 1


def test_what_is_kept_is_said(dataset: ReIDDataset) -> None:
    images = len(dataset.train)
    assert (
        make(dataset, cache_mib=1).describe() == f"{images} images take 0 MiB decoded and are kept in memory once read."
    )
    assert make(dataset).describe().startswith(f"{images} images take 0 MiB decoded, of which 0 MiB are kept")
