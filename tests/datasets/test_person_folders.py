"""A folder of images for each person: read on request only, and labelled on the way to a training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.datasets.labelling import complete_labels
from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError, DataError
from partreid.functional.losses import IGNORED_LABEL
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from tests.conftest import tiny_config


def write_people(root: Path, names: list[str], count: int = 3) -> Path:
    for person, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng([person, number]).integers(0, 256, (64, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{person}-{number}.png")
    return root


def write_keypoints(file: Path, root: Path) -> Path:
    """Somebody in the middle of every image."""
    person = np.zeros((17, 3), np.float32)
    person[:, 0], person[:, 1], person[:, 2] = 16, np.linspace(8, 60, 17), 1
    person[5::2, 0], person[6::2, 0] = 12, 20
    names = [path.relative_to(root).as_posix() for path in sorted(root.glob("*/*.png"))]
    np.savez(file, paths=names, keypoints=np.repeat(person[None], len(names), 0))
    return file


def test_every_folder_is_a_person(tmp_path: Path) -> None:
    root = write_people(tmp_path / "shop", ["Ärmel", "anna", "bob"])
    (root / "masks" / "openvino").mkdir(parents=True)
    dataset = read_dataset(f"persons={root}", labels=None)
    assert [image.pid for image in dataset.train] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [image.path.parent.name for image in dataset.train[::3]] == ["anna", "bob", "Ärmel"]
    assert (dataset.name, dataset.train[0].camid, dataset.gallery, dataset.queries) == ("shop", None, (), {})


def test_numbers_are_the_persons_own(tmp_path: Path) -> None:
    root = write_people(tmp_path / "shop", ["0007", "12"], count=1)
    assert [image.pid for image in read_dataset(f"persons={root}").train] == [7, 12]
    write_people(root, ["007"], count=1)
    with pytest.raises(DataError, match=r"another folder of .* has this person's number too"):
        read_dataset(f"persons={root}")


def test_such_folders_are_never_guessed(tmp_path: Path) -> None:
    """Folders of cameras or of days look the same, and would train a wrong model without a word."""
    root = write_people(tmp_path / "shop", ["camera1", "camera2"])
    with pytest.raises(DataError, match=r"If each of these is a person: persons=.*shop"):
        read_dataset(root)
    (tmp_path / "one").mkdir()
    with pytest.raises(DataError, match=r"expected a folder of images for each person"):
        read_dataset(f"persons={tmp_path / 'one'}")


@pytest.mark.parametrize("writable", [True, False])
def test_missing_labels_are_made(writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_people(tmp_path / "shop", ["anna", "bob"])
    keypoints = write_keypoints(tmp_path / "people.npz", root)
    if not writable:
        monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(root))
    dataset = read_dataset(f"persons={root}", labels=None)
    out = tmp_path / "run" / "labels" / "shop"
    labelled = complete_labels(dataset, keypoints, out=out)
    folder = (root if writable else out) / "masks" / "keypoints"
    assert [image.label for image in labelled.train] == [
        folder / path.parent.name / f"{path.stem}.npy" for path in (image.path for image in dataset.train)
    ]
    assert (root / "masks").exists() == writable
    stamps = [image.label.stat().st_mtime_ns for image in labelled.train if image.label is not None]
    assert len(stamps) == 6
    again = complete_labels(dataset, keypoints, out=out)
    assert again == labelled
    assert [image.label.stat().st_mtime_ns for image in again.train if image.label is not None] == stamps


def test_labels_that_are_there_stay_and_only_the_others_are_made(tmp_path: Path) -> None:
    root = write_people(tmp_path / "shop", ["anna", "bob"])
    keypoints = write_keypoints(tmp_path / "people.npz", root)
    own = root / "masks" / "mine" / "anna" / "0-0.npy"
    own.parent.mkdir(parents=True)
    np.save(own, np.zeros((36, 9, 5), np.uint8))
    labelled = complete_labels(read_dataset(f"persons={root}", labels=None), keypoints, out=tmp_path)
    assert all(image.label is not None and image.label.is_file() for image in labelled.train)
    assert labelled.train[0].label == own
    assert not np.load(own).any()
    with pytest.raises(ConfigError, match=r"Expected a pose network .* got people\.txt"):
        complete_labels(labelled, "people.txt", out=tmp_path)


def test_people_without_labels_train_beside_labelled_ones(blocks: Path, tmp_path: Path) -> None:
    """What is not labelled is never cut out, and teaches part attention nothing."""
    root = write_people(tmp_path / "shop", ["anna", "bob", "carl"])
    config = tiny_config("augment.paste_probability=1", "augment.pasting.people=1", "augment.erase_probability=0")
    with pytest.warns(UserWarning, match="No training image of shop has a human parsing label"):
        training = Trainer(
            config, [read_dataset(blocks), read_dataset(f"persons={root}")], tmp_path / "run",
            runtime=RuntimeConfig(device="cpu", precision="float32"),
        )  # fmt: skip
    training.fit()
    dataset = training.loader.dataset
    bare = [i for i, image in enumerate(dataset.images) if image.label is None]
    assert len(bare) == 9
    batch = dataset.collate([dataset[i] for i in bare])
    plain = tiny_config("augment.padding=0", "augment.erase_probability=0")
    assert batch.part_maps is not None
    augmentation = type(training.augmentation)(
        plain.augment.override(["paste_probability=1"]), plain.preprocess, plain.map_size, plain.label_schema
    )
    index = training.pid_index[batch.index]
    varied = augmentation(batch.images, batch.part_maps, index, torch.Generator().manual_seed(0))
    alone = type(augmentation)(plain.augment, *list(vars(augmentation).values())[1:])
    clean = alone(batch.images, batch.part_maps, index, torch.Generator().manual_seed(0))
    assert torch.equal(varied.images, clean.images), "nobody is cut out of an image without a label"
    assert varied.labels is not None
    assert (varied.labels == IGNORED_LABEL).all()
