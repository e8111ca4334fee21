"""Streams: every image once and in order, little ahead, what is damaged named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.datasets.readers.common import LeftOutWarning
from partreid.errors import ConfigError, DataError
from partreid.inference.inputs import load_image, walk
from partreid.parts import get_part_schema
from partreid.runners.runner import PoseInput
from partreid.types import PartEmbeddings, ReIDImage
from tests.inference.plain_network import PlainRunner, plain_extractor, write_images


def colours(files: list[Path]) -> torch.Tensor:
    """What the plain network's first slot must be, from Pillow alone."""
    sized = [Image.open(file).resize((16, 16), Image.Resampling.BILINEAR) for file in files]
    return torch.tensor(np.stack([np.asarray(image, np.float64).mean(axis=(0, 1)) for image in sized])).float()


def test_folders_are_walked_in_order_with_the_folders_in_them(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a").mkdir()
    names = ["b/2.jpg", "b/10.png", "b/deep/x.JPG", "z.png", "a/1.jpg", ".hidden/no.png", "b/.no.png", "list.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "b" / "deep" / "round").symlink_to(tmp_path, target_is_directory=True)
    found = [Path(str(path)).relative_to(tmp_path).as_posix() for path in walk(tmp_path)]
    assert found == ["z.png", "a/1.jpg", "b/10.png", "b/2.jpg", "b/deep/x.JPG"]
    assert list(walk([tmp_path / "a", "other.jpg", tmp_path / "a"])) == [
        tmp_path / "a" / "1.jpg",
        "other.jpg",
        tmp_path / "a" / "1.jpg",
    ]
    (tmp_path / "x-hidden" / "below").mkdir(parents=True)
    with pytest.raises(DataError, match=r"hidden holds no image .*nor do the folders in it"):
        list(walk(tmp_path / "x-hidden"))


def test_what_is_left_out_of_a_folder_is_told_once(tmp_path: Path) -> None:
    write_images(tmp_path / "a", 2)
    for name in ("a/7.heic", "b/clip.mov", "b/scan", "b/notes.txt", "b/.hidden.heic", "b/labels.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.warns(LeftOutWarning) as record:
        assert len(list(plain_extractor().stream(tmp_path))) == 1
    left = ", ".join(str(tmp_path / name) for name in ("a/7.heic", "b/clip.mov", "b/scan"))
    assert [str(one.message) for one in record] == [
        f"left out: 3 files that are no images partreid can read here: {left}"
    ]
    for i in range(9):
        (tmp_path / "b" / f"{i}.heic").touch()
    with pytest.warns(LeftOutWarning, match=r"left out: 12 files .*3\.heic and 7 more$"):
        list(walk(tmp_path))
    with pytest.raises(DataError, match=r"b holds no image .*found .*0\.heic"):
        list(walk(tmp_path / "b"))


def test_files_pil_images_and_entries_of_data_sets_are_the_same_upright_pixels(tmp_path: Path) -> None:
    upright = np.random.default_rng(0).integers(0, 255, (24, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.rot90(upright, -1)).save(tmp_path / "a.png", exif=exif)
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), ReIDImage(tmp_path / "a.png", 1), upright):
        np.testing.assert_array_equal(load_image(image), upright)
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(load_image(opened), upright)
        np.testing.assert_array_equal(load_image(opened.convert("RGB")), upright)


def test_a_network_that_reads_labels_refuses_one_on_its_side(tmp_path: Path) -> None:
    (file,) = write_images(tmp_path, 1)  # 20×10
    extractor = plain_extractor()
    extractor.runner.pose = PoseInput(get_part_schema("five"), (4, 4))  # type: ignore[misc]
    for name, nodes in (("right.npy", (5, 3)), ("lying.npy", (3, 5))):
        np.save(tmp_path / name, np.zeros((36, *nodes), np.uint8))
    assert len(list(extractor.stream([ReIDImage(file, 1, label=tmp_path / "right.npy")]))) == 1
    with pytest.raises(DataError, match=r"lying\.npy has 3x5 nodes, but .* has 20x10 pixels"):
        list(extractor.stream([ReIDImage(file, 1, label=tmp_path / "lying.npy")]))


@pytest.mark.parametrize(
    ("image", "way_out"),
    [
        (np.zeros((8, 4, 3)), r"float64 \(8, 4, 3\). Of numbers from 0 to 1 take \(255 \* image\)"),
        (np.zeros((8, 4), np.uint8), r"np.stack\(\[image\] \* 3, axis=2\)"),
        (np.zeros((8, 4, 4), np.uint8), "Leave the fourth channel out"),
        (np.zeros((3, 8, 5), np.uint8), "Put the channels last"),
        (np.zeros((8, 4, 3), np.int64), r"got int64 \(8, 4, 3\)\.$"),
    ],
)
def test_an_array_of_another_kind_says_how_it_becomes_a_image(image: np.ndarray, way_out: str) -> None:
    with pytest.raises(DataError, match=way_out):
        load_image(image)


@pytest.mark.parametrize("readers", [0, 1, 3])
def test_every_image_once_and_in_order(tmp_path: Path, readers: int) -> None:
    files = write_images(tmp_path, 11)
    extractor = plain_extractor(batch_size=4)
    with extractor.stream(tmp_path, readers=readers) as stream:
        batches = list(stream)
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert [name for batch in batches for name in batch.names] == [str(file) for file in files]
    assert np.concatenate([batch.positions for batch in batches]).tolist() == list(range(11))
    embeddings = PartEmbeddings.cat(batch.embeddings for batch in batches)
    assert embeddings.model == extractor.fingerprint == "plain"
    torch.testing.assert_close(embeddings.vectors[:, 0], colours(files), atol=0.05, rtol=0)
    assert batches[0].output.attention.shape == (4, 2, 4, 4)
    assert torch.equal(extractor.embed(tmp_path).vectors, embeddings.vectors)


@pytest.mark.parametrize("readers", [0, 2])
def test_little_is_taken_ahead(readers: int) -> None:
    taken = 0

    def camera() -> Iterator[np.ndarray]:
        nonlocal taken
        for i in range(60):
            taken += 1
            yield np.full((16, 16, 3), i, np.uint8)

    done, ahead = 0, []
    for batch in plain_extractor(batch_size=3).stream(camera(), readers=readers):
        ahead.append(taken - done)
        done += len(batch)
        assert batch.names == tuple(f"#{i}" for i in range(done - 3, done))
    assert done == 60
    assert max(ahead) == 3 * (readers + 1)


@pytest.mark.parametrize("readers", [0, 2])
def test_what_is_damaged_is_named_and_left_out_when_asked(tmp_path: Path, readers: int) -> None:
    files = write_images(tmp_path, 12)
    damaged = [1, 4, 5, 6, 7, 11]  # the batch 4..7 is damaged altogether
    whole = [file for i, file in enumerate(files) if i not in damaged]
    for i in damaged:
        files[i].write_bytes(files[i].read_bytes()[:100])
    extractor = plain_extractor(batch_size=4)
    with pytest.raises(DataError, match=r"001\.png is a damaged image"):
        list(extractor.stream(files, readers=readers))
    stream = extractor.stream(files, on_error="skip", readers=readers)
    batches = list(stream)
    assert [name for batch in batches for name in batch.names] == [str(file) for file in whole]
    assert [batch.positions.tolist() for batch in batches] == [[0, 2, 3], [8, 9, 10]]
    assert [(one.position, one.name) for one in stream.skipped] == [(i, str(files[i])) for i in damaged]
    assert all(Path(one.name).name in one.reason and "damaged" in one.reason for one in stream.skipped)
    embeddings = PartEmbeddings.cat(batch.embeddings for batch in batches)
    assert torch.equal(embeddings.vectors, extractor.embed(whole).vectors)


def test_a_image_without_a_file_is_named_by_its_place(tmp_path: Path) -> None:
    fine = np.zeros((8, 8, 3), np.uint8)
    torn = tmp_path / "torn.png"
    torn.write_bytes(write_images(tmp_path, 1)[0].read_bytes()[:100])
    with pytest.raises(DataError, match="Cannot read image .*null byte"):
        list(plain_extractor().stream(["a\0b.png"]))
    wrong: list[Any] = [np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8), 7, Image.open(torn)]
    for image in wrong:
        with pytest.raises(DataError, match=r"^Image #2: "):
            list(plain_extractor().stream([fine, fine, image]))
    stream = plain_extractor().stream([fine, *wrong, fine], on_error="skip")
    assert [batch.names for batch in stream] == [("#0",), ("#5",)]
    assert [one.name for one in stream.skipped] == ["#1", "#2", "#3", "#4"]


def test_a_stream_left_early_stops_reading() -> None:
    closed = []

    def camera() -> Iterator[np.ndarray]:
        try:
            while True:
                yield np.zeros((16, 16, 3), np.uint8)
        finally:
            closed.append(True)

    with plain_extractor().stream(camera(), readers=2) as stream:
        assert len(next(stream)) == 4
        assert any(thread.name.startswith("read_ahead") for thread in threading.enumerate())
    assert not any(thread.name.startswith("read_ahead") for thread in threading.enumerate())
    assert closed
    assert list(stream) == []


def test_errors_of_the_source_and_of_the_options() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros((16, 16, 3), np.uint8)
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="camera is gone"):
        list(plain_extractor().stream(broken()))
    assert list(plain_extractor().stream([])) == []
    with pytest.raises(ConfigError, match=r"Unknown on_error 'skp'. Did you mean 'skip'"):
        plain_extractor().stream([], on_error="skp")  # type: ignore[arg-type]
    for readers in (-1, float("nan"), 1.5):  # NaN threads would never begin, and never end
        with pytest.raises(ConfigError, match="no negative number of readers"):
            plain_extractor().stream([], readers=readers)


def test_a_network_that_something_else_runs_has_nothing_to_look_into() -> None:
    extractor = plain_extractor()
    assert (extractor.slots, extractor.mirror, extractor.preprocess.size) == (("foreground", "head"), False, (16, 16))
    assert isinstance(extractor.runner, PlainRunner)
    with pytest.raises(ConfigError, match="needs the network itself"):
        _ = extractor.model
