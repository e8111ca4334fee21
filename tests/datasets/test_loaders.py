"""Loaders: batches in order, the same from a worker as without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from partreid.datasets.loaders import BatchConfig, TrainLoader
from partreid.datasets.readers import read_dataset
from partreid.datasets.torch_dataset import PictureBatch, PictureDataset, collate
from partreid.errors import DataError, LabelError
from partreid.parts import PART_SCHEMAS
from partreid.types import ReIDDataset, ReIDImage

SMALL = BatchConfig(identities_per_batch=3, images_per_identity=2)


@pytest.fixture
def dataset(blocks: Path) -> ReIDDataset:
    return read_dataset(blocks)


def make(dataset: ReIDDataset, workers: int = 0, seed: int = 0) -> TrainLoader:
    return TrainLoader(
        dataset.train, SMALL, size=(64, 32), schema=PART_SCHEMAS["five"], map_size=(4, 2), seed=seed, workers=workers
    )


def _same(a: Sequence[PictureBatch], b: Sequence[PictureBatch]) -> bool:
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
        assert torch.equal(x.labelled, y.labelled)
    return bool(pairs)


def test_batches_are_p_times_k_with_labels_at_twice_the_map(dataset: ReIDDataset) -> None:
    loader = make(dataset)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader.sampler)
    for batch in batches:
        assert batch.part_maps is not None
        assert batch.images.shape == (6, 3, 64, 32)
        assert batch.part_maps.shape == (6, 5, 9, 5)
        assert batch.labelled.all()
        assert len({loader.pid_index[i] for i in batch.index}) == 3
    assert loader.pid_index == [dataset.train_identities.index(image.identity) for image in dataset.train]


def test_a_worker_gives_the_same_batches_in_every_epoch(dataset: ReIDDataset) -> None:
    alone, helped = make(dataset), make(dataset, workers=1)
    for epoch in (0, 1, 0):
        assert _same(list(alone.epoch(epoch)), list(helped.epoch(epoch)))
    assert not _same(list(alone.epoch(0)), list(alone.epoch(1)))
    assert not _same(list(alone.epoch(0)), list(make(dataset, seed=1).epoch(0)))


def in_order(images: Sequence[ReIDImage], *, batch_size: int, workers: int = 0) -> DataLoader[PictureBatch]:
    """Pictures as they stand, without labels and without a sampler."""
    pictures = PictureDataset(images, size=(64, 32))
    return DataLoader(pictures, batch_size=batch_size, collate_fn=collate, num_workers=workers)  # type: ignore[arg-type]


def test_a_damaged_picture_is_named_from_a_worker_too(dataset: ReIDDataset, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(dataset.train[0].path.read_bytes()[:-300])
    images = [*dataset.train[:3], ReIDImage(broken, 1, 0)]
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"broken\.jpg is a damaged JPEG"):
            list(in_order(images, batch_size=2, workers=workers))


def test_pictures_come_in_order_and_none_is_dropped(dataset: ReIDDataset) -> None:
    batches = list(in_order(dataset.train, batch_size=5))
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(len(dataset.train)))
    assert [len(batch.index) for batch in batches] == [5, 5, 5, 5, 4]
    assert batches[0].part_maps is None


def test_labels_are_needed_only_where_they_are_used(dataset: ReIDDataset) -> None:
    bare = replace(dataset, train=tuple(replace(image, label=None) for image in dataset.train))
    with pytest.raises(LabelError, match=r"No training picture of .* objective\.part_attention_weight=0"):
        make(bare)
    loader = TrainLoader(bare.train, SMALL, size=(64, 32), schema=None, map_size=(4, 2), seed=0)
    assert next(iter(loader.epoch(0))).part_maps is None
    one = replace(dataset, train=(dataset.train[0], *bare.train[1:]))
    assert sum(int(batch.labelled.sum()) for batch in make(one).epoch(0)) <= 1
