"""Images and labels become tensors; whatever cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from partreid.datasets.augment import Augmentation
from partreid.datasets.loaders import ImageBatch, ImageDataset
from partreid.datasets.readers import read_dataset
from partreid.errors import DataError, LabelError
from partreid.functional.losses import IGNORED_LABEL
from partreid.labels.fields import read_part_maps
from partreid.parts import PART_SCHEMAS
from partreid.preprocessing import PreprocessConfig
from partreid.types import ReIDImage
from tests.conftest import NO_AUGMENTATION

FIVE = PART_SCHEMAS["five"]
SIZE = (64, 32)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "0001_c1_000001.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


def batch_of(dataset: ImageDataset, *index: int) -> ImageBatch:
    return dataset.collate([dataset[i] for i in index])


def test_a_image_of_the_right_size_is_unchanged(image: Path) -> None:
    batch = batch_of(ImageDataset([ReIDImage(image, 1, 0)], size=SIZE), 0)
    assert torch.equal(batch.images[0], torch.from_numpy(np.asarray(Image.open(image)).transpose(2, 0, 1).copy()))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert (batch.part_maps, batch.index.tolist()) == (None, [0])
    assert batch_of(ImageDataset([ReIDImage(image, 1, 0)], size=(48, 24)), 0).images.shape == (1, 3, 48, 24)


def test_labels_of_every_size_come_at_the_nodes(image: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for h, w in ((17, 9), (9, 5), (21, 7)):
        path = tmp_path / f"{h}.npy"
        np.save(path, random.random((36, h, w), dtype=np.float32))
        batch = batch_of(ImageDataset([ReIDImage(image, 1, 0, label=path)], size=SIZE, schema=FIVE), 0)
        assert batch.part_maps is not None
        part_maps = batch.part_maps[0]
        assert part_maps.shape == (5, 17, 9)
        original = torch.from_numpy(read_part_maps(path, FIVE))
        expected = F.interpolate(original[None], size=(17, 9), mode="bilinear", align_corners=True)[0]
        assert torch.allclose(part_maps, expected)
        for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            assert torch.allclose(part_maps[:, *corner], original[:, *corner])


def test_a_image_without_a_label_is_ignored_by_the_loss(image: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "label.npy", np.ones((36, 17, 9), np.float32))
    entries = [ReIDImage(image, 1, 0, label=tmp_path / "label.npy"), ReIDImage(image, 1, 0)]
    dataset = ImageDataset(entries, size=SIZE, schema=FIVE)
    batch = batch_of(dataset, 0, 1)
    assert batch.index.tolist() == [0, 1]
    augmentation = Augmentation(NO_AUGMENTATION, PreprocessConfig(height=64, width=32), (8, 4))
    labels = augmentation(batch.images, batch.part_maps, torch.arange(2), torch.Generator()).labels
    assert labels is not None
    assert (labels[0] == 1).all()
    assert (labels[1] == IGNORED_LABEL).all()


def test_without_a_schema_a_batch_has_no_labels(blocks: Path) -> None:
    dataset = ImageDataset(read_dataset(blocks).train, size=SIZE)
    batch = batch_of(dataset, 3, 1).to(torch.device("cpu"))
    assert batch.part_maps is None
    assert batch.images.shape == (2, 3, *SIZE)
    assert batch.images.dtype == torch.uint8
    assert batch.index.tolist() == [3, 1]


def test_unreadable_files_are_named(blocks: Path, tmp_path: Path) -> None:
    source = read_dataset(blocks).train[0]
    truncated = tmp_path / "0001_c1_000009.jpg"
    truncated.write_bytes(source.path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"0001_c1_000009\.jpg is a damaged JPEG"):
        ImageDataset([ReIDImage(truncated, 1, 0)], size=SIZE)[0]
    with pytest.raises(DataError, match=r"Cannot read image .*nowhere\.jpg"):
        ImageDataset([ReIDImage(tmp_path / "nowhere.jpg", 1, 0)], size=SIZE)[0]
    for label, message in (
        ("nowhere.npy", r"nowhere\.npy does not exist"),
        ("broken.npy", r"Cannot read .*broken\.npy"),
    ):
        (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
        entry = ReIDImage(source.path, 1, 0, label=tmp_path / label)
        with pytest.raises(LabelError, match=message):
            ImageDataset([entry], size=SIZE, schema=FIVE)[0]


def test_a_label_on_its_side_stops_training_by_name(blocks: Path, tmp_path: Path) -> None:
    source = read_dataset(blocks).train[0]
    assert source.label is not None
    np.save(tmp_path / "lying.npy", np.load(source.label).transpose(0, 2, 1))
    entry = ReIDImage(source.path, 1, 0, label=tmp_path / "lying.npy")
    with pytest.raises(LabelError, match=rf"lying\.npy has 5x9 nodes, but .*{source.path.name} has 64x32 pixels"):
        ImageDataset([entry], size=SIZE, schema=FIVE)[0]
    assert ImageDataset([entry], size=SIZE)[0].part_maps is None


def test_labels_of_several_sizes_and_types_share_a_batch(image: Path, tmp_path: Path) -> None:
    """Pose fields as float and as bytes, of two sizes, a label map, and none: each as if it were alone."""
    random = np.random.default_rng(2)
    arrays = [
        random.random((36, 17, 9)),
        random.random((36, 9, 5), dtype=np.float32),
        random.integers(0, 256, (36, 17, 9), dtype=np.uint8),
        random.integers(0, 256, (36, 9, 5), dtype=np.uint8),
        random.integers(0, 6, (17, 9)),
    ]
    entries = [ReIDImage(image, 1, 0)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
        entries.append(ReIDImage(image, 1, 0, label=tmp_path / f"{i}.npy"))
    dataset = ImageDataset(entries, size=SIZE, schema=FIVE)
    whole = batch_of(dataset, *range(6)).part_maps
    assert whole is not None
    assert not whole[0].any()
    for i, entry in enumerate(entries[1:], start=1):
        assert entry.label is not None
        alone = torch.from_numpy(read_part_maps(entry.label, FIVE))[None]
        assert torch.equal(whole[i], F.interpolate(alone, size=(17, 9), mode="bilinear", align_corners=True)[0])


def test_what_fits_is_kept_and_stays_as_it_was_first_read(image: Path, tmp_path: Path) -> None:
    label = tmp_path / "label.npy"
    np.save(label, np.full((36, 17, 9), 255, np.uint8))
    entries = [ReIDImage(image, 1, 0, label=label)] * 3
    size = (512, 256)  # 393,216 bytes and those of the label: two of them fit 1 MiB
    dataset = ImageDataset(entries, size=size, schema=FIVE, cache_mib=1)
    before = batch_of(dataset, 2, 0, 1)
    Image.new("RGB", (32, 64)).save(image)
    np.save(label, np.zeros((36, 17, 9), np.uint8))
    after = batch_of(dataset, 2, 0, 1)
    assert before.part_maps is not None
    assert after.part_maps is not None
    for place, kept in enumerate((True, True, False)):
        assert torch.equal(before.images[place], after.images[place]) == kept
        assert torch.equal(before.part_maps[place], after.part_maps[place]) == kept
    assert not after.images[2].any()
    after.images.zero_()  # a batch is a copy
    assert torch.equal(batch_of(dataset, 0).images[0], before.images[1])
    assert not batch_of(ImageDataset(entries, size=size, schema=FIVE), 0).images.any()  # without memory: the file
