"""``partreid labels show`` end to end, on blocks with labels broken on purpose."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from partreid.cli.labels import app
from partreid.errors import DataError, PartReIDError
from tests.conftest import write_blocks

FILES = ["labels.html", "sheet.png", "worst.csv", "worst.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Training labels broken in six ways, two ready label maps, four that cover all; no labels beside."""
    root = tmp_path / "set"
    write_blocks(root, "bounding_box_train", range(1, 5), range(3))
    write_blocks(root, "bounding_box_test", range(11, 13), range(1))
    write_blocks(root, "query", range(11, 13), range(1, 2))
    masks = root / "masks" / "blocks"
    for folder in ("query", "bounding_box_test"):
        for path in (masks / folder).iterdir():
            path.unlink()
    labels = sorted((masks / "bounding_box_train").iterdir())
    fields = np.load(labels[0])
    labels[0].unlink()
    labels[1].write_bytes(labels[1].read_bytes()[:100])
    np.save(labels[2], np.zeros_like(fields))
    torn = fields.copy()
    torn[:, 3:6] = 0
    np.save(labels[3], torn)
    few = np.zeros_like(fields)
    few[17:21, :, 1:4] = 255
    np.save(labels[4], few)
    np.save(labels[5], fields[:, ::-1])
    ready = np.zeros((12, 5), np.uint8)
    ready[:10, 1:4] = np.repeat([1, 2, 3, 4, 5], 2)[:, None]
    np.save(labels[6], ready)
    labels[7].unlink()
    ready[ready == 2] = 3
    Image.fromarray(ready).save(labels[7].with_suffix(".png"))
    return root


def run(*arguments: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["show", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "worst.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written_and_every_fault_named(root: Path, tmp_path: Path) -> None:
    status, text, _ = run(root, "-o", tmp_path / "new" / "out", "--schema", "two_v")
    assert status == 0, text
    out = tmp_path / "new" / "out"
    assert sorted(p.name for p in out.iterdir()) == FILES
    found = {row["path"]: row for row in rows(out)}
    names = [f"bounding_box_train/{i // 3 + 1:04d}_c{i % 3 + 1}_{i % 3:06d}.jpg" for i in range(8)]
    reasons = [found[name]["reason"] if name in found else None for name in names]
    assert reasons[:4] == ["missing", "damaged", "empty", "torn"]
    assert reasons[5] == "upside_down"
    # Labels of five parts do not fit a schema of two.
    assert reasons[6:8] == ["damaged", "damaged"]
    assert "labels of another K" in found[names[6]]["detail"]
    assert [row["reason"] for row in rows(out)][:2] == ["missing", "damaged"]
    assert found[names[5]]["parts"] == "upper_body lower_body"
    assert "Labels of set, train: 12 images (masks/blocks, parts two_v, threshold 0.5)" in text
    for words in ("Upside down", "No label file", *FILES):
        assert words in text
    page = (out / "labels.html").read_text()
    assert page.count("<img ") == 12 + len(found)
    assert "Label file that cannot be read (3)" in page


def test_ready_label_maps_are_shown(root: Path, tmp_path: Path) -> None:
    assert run(root, "-o", tmp_path / "out", "--worst", "1", "--count", "3")[0] == 0
    found = {Path(row["path"]).name: row for row in rows(tmp_path / "out")}
    assert "0003_c1_000000.jpg" not in found  # .npy, all five parts
    assert "0003_c2_000001.jpg" not in found  # .png, four of them
    assert found["0002_c2_000001.jpg"]["detail"] == "1 of 5 parts"
    page = (tmp_path / "out" / "labels.html").read_text()
    assert "Few parts (1)" in page
    assert "Nearly all of the image (1 of 5)" in page
    with Image.open(tmp_path / "out" / "sheet.png") as few, Image.open(tmp_path / "out" / "worst.png") as worst:
        assert worst.height > few.height


def test_a_second_run_replaces_the_first_and_gives_the_same(root: Path, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        assert run(root, "-o", tmp_path / "out", "--count", "2", "--worst", "1")[0] == 0
        contents.append([(tmp_path / "out" / name).read_bytes() for name in FILES])
    assert contents[0] == contents[1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES


def test_a_file_name_cannot_become_markup(root: Path, tmp_path: Path) -> None:
    (root / "bounding_box_train" / "0001_c1_000000.jpg").rename(
        root / "bounding_box_train" / "0001_c1_<script>&amp;.jpg"
    )
    assert run(root, "-o", tmp_path / "out")[0] == 0
    page = (tmp_path / "out" / "labels.html").read_text()
    assert "0001_c1_&lt;script&gt;&amp;amp;.jpg" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_without_a_fault_nothing_is_listed(root: Path, tmp_path: Path) -> None:
    fields = np.zeros((36, 9, 5), np.uint8)
    fields[22:25, 1:5, 1:4], fields[17:21, 5:8, 1:4] = 255, 255
    for image in (root / "query").iterdir():
        np.save(root / "masks" / "blocks" / "query" / f"{image.stem}.npy", fields)
    status, text, _ = run(root, "-o", tmp_path / "out", "--schema", "two_v", "--split", "query")
    assert status == 0, text
    assert "nothing" in text
    assert rows(tmp_path / "out") == []
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "trian"), "No split 'trian' in .* Did you mean 'train'"),
        (("--split", "query"), "No image of split 'query' of .* has a label. With: train"),
        (("--labels", "block"), "No label folder 'block' in .* Did you mean 'blocks'"),
        (("--schema", "fife"), "Unknown part schema 'fife'"),
        (("--schema", "unnamed_5"), "without pose-field channels"),
    ],
)
def test_bad_use_is_one_clear_error(root: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    status, _, error = run(root, "-o", tmp_path / "out", *arguments)
    assert status == 1
    assert isinstance(error, PartReIDError)
    with pytest.raises(PartReIDError, match=message):
        raise error
    assert not (tmp_path / "out").exists()


def test_no_labels_at_all(root: Path, tmp_path: Path) -> None:
    (root / "masks").rename(tmp_path / "elsewhere")
    _, _, error = run(root, "-o", tmp_path / "out")
    assert "has no labels" in str(error)
    assert "partreid labels make" in str(error)


def test_a_folder_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    _, _, error = run(root, "-o", tmp_path / "file")
    assert isinstance(error, DataError)
    assert "Cannot write" in str(error)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_damaged_image_is_crossed_out_and_the_others_are_shown(root: Path, tmp_path: Path) -> None:
    damaged = root / "bounding_box_train" / "0001_c1_000000.jpg"
    damaged.write_bytes(b"")
    status, _, _ = run(root, "-o", tmp_path / "out")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert "is empty (0 bytes)" in (tmp_path / "out" / "labels.html").read_text()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_of_any_bytes_is_shown(root: Path, tmp_path: Path) -> None:
    image = root / "bounding_box_train" / "0001_c1_000000.jpg"
    image.rename(image.with_name(os.fsdecode(b"0001_c1_\xff.jpg")))
    assert run(root, "-o", tmp_path / "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
