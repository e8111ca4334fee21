"""``partreid data`` end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from partreid.cli.console import console
from tests.cli.conftest import Run
from tests.conftest import write_blocks


def lay(root: Path) -> Path:
    write_blocks(root, "bounding_box_train", range(1, 4), range(2))
    write_blocks(root, "bounding_box_test", range(11, 13), range(2))
    write_blocks(root, "query", range(11, 13), range(2, 3))
    return root


def test_a_whole_set_gives_0(run: Run, tmp_path: Path) -> None:
    status, text = run("data", "check", lay(tmp_path / "set"))
    assert status == 0, text
    assert "every image can be read to its end" in text
    assert "0 problems" in text


def test_a_broken_set_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    (lay(tmp_path / "a") / "query" / "me.jpg").touch()
    victim = next((lay(tmp_path / "b") / "query").iterdir())
    victim.write_bytes(victim.read_bytes()[:100])
    lay(tmp_path / "c [bold]")
    status, text = run("data", "check", tmp_path)
    assert status == 1, text
    letters = "".join(text.split())  # long paths are broken anywhere
    assert "me.jpg:expectedaname" in letters
    assert victim.name in letters
    assert "3datasets,2problems" in letters
    status, text = run("data", "check", tmp_path, "--json")
    assert status == 1, text
    content = json.loads(text)
    assert content["problems"] == 2
    assert [one["name"] for one in content["datasets"]] == ["a", "b", "c [bold]"]
    assert {f["severity"] for f in content["datasets"][2]["findings"]} == {"ok"}


def test_everything_fits_80_columns(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 80)
    (lay(tmp_path / "Occluded_Duke") / "query" / "0011_c2_x.jpg").write_bytes(b"no image")
    status, text = run("data", "check", tmp_path / "Occluded_Duke")
    assert status == 1
    tables = [line for line in text.splitlines() if "occluded_duke=" not in line and "reading" not in line]
    assert max(map(len, tables)) <= 80
    assert "702 / 15618" in text


def test_nothing_to_check_gives_2(run: Run, tmp_path: Path) -> None:
    for spec in (tmp_path, tmp_path / "gone", f"markt1501={tmp_path}"):
        status, text = run("data", "check", spec)
        assert status == 2
        assert "error:" in text


def test_list(run: Run) -> None:
    status, text = run("data", "list")
    assert status == 0
    for name in ("market1501", "occluded_duke", "p_dukemtmc", "msmt17_trainval", "cuhk03_labeled"):
        assert name in text


def test_links_in_a_circle_are_passed_over(run: Run, tmp_path: Path) -> None:
    lay(tmp_path / "set")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert run("data", "check", str(tmp_path))[0] == 0


def test_a_folder_that_may_not_be_read_is_one_message(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(root: str) -> None:
        raise PermissionError(13, "Permission denied", f"{root}/secret")

    monkeypatch.setattr("partreid.datasets.find_datasets", refuse)
    status, text = run("data", "check", tmp_path)
    assert status == 2
    assert "secret: Permission denied." in text
    assert "Traceback" not in text


def test_occlude_writes_a_set_that_can_be_checked(run: Run, blocks: Path, tmp_path: Path) -> None:
    out = tmp_path / "hidden"
    status, text = run("data", "occlude", blocks, "--out", out, "--set", "seed=3")
    assert status == 0, text
    assert "8 images" in text
    assert "dataset.csv" in text
    status, text = run("data", "check", out / "dataset.csv")
    assert status == 0, text
    assert "people" in text
    assert "objects" in text
    status, text = run("data", "occlude", blocks, "--out", out)
    assert status == 2
    assert "is already there" in text


def test_a_set_of_one_camera_trains_without_being_evaluated(run: Run, tiny_toml: Path, tmp_path: Path) -> None:
    root = tmp_path / "one"
    write_blocks(root, "bounding_box_train", range(1, 4), range(1))
    for image in (root / "bounding_box_train").iterdir():  # two images of each person, by the one camera
        shutil.copy(image, image.with_name(image.name.replace("000000", "000001")))
        label = root / "masks" / "blocks" / "bounding_box_train" / f"{image.stem}.npy"
        shutil.copy(label, label.with_name(label.name.replace("000000", "000001")))
    write_blocks(root, "bounding_box_test", range(11, 13), range(1))
    shutil.copytree(root / "bounding_box_test", root / "query")
    status, text = run("evaluate", tmp_path, root, "--device", "cpu")
    assert status == 2
    assert "2 of them are there in the same camera only" in text
    options = ("--set", "optimizer.epochs=1", "--device", "cpu")
    status, text = run("train", root, "--config", tiny_toml, "-o", tmp_path / "run", *options)
    assert status == 0, text
    assert "no match in the gallery" in text
    assert "a table without the column camid" in text
    assert "No queries, so nothing to evaluate." in text


def test_keypoints_by_base_name_of_one_folder_only_are_refused(run: Run, tmp_path: Path) -> None:
    root = lay(tmp_path / "set")
    image = min((root / "bounding_box_train").iterdir())
    shutil.copy(image, root / "bounding_box_test" / image.name)
    joints = [[16, 8 + 3 * i, 0.9] for i in range(17)]
    for name, status in ((image.name, 2), (f"bounding_box_train/{image.name}", 0)):
        (tmp_path / "k.json").write_text(json.dumps([{"image_id": name, "keypoints": joints}]))
        done, text = run("labels", "make", root, "--keypoints", tmp_path / "k.json", "--overwrite")
        assert done == status, text
        assert ("may be" in text and "Give names with folders" in text) == (status == 2)
    assert "does not name 5 of the 6 images" in text


def test_check_names_what_is_left_out(run: Run, tmp_path: Path) -> None:
    (lay(tmp_path / "set") / "query" / "0011_c9_7.heic").touch()
    status, text = run("data", "check", tmp_path / "set")
    assert status == 1
    assert "left out: 1 file that is no image partreid can read here" in text
    assert "0011_c9_7.heic" in "".join(text.split())


@pytest.mark.parametrize("source", ["k.json", "pifpaf"])
def test_labels_of_a_corrected_file_of_keypoints_are_not_kept_in_silence(run: Run, tmp_path: Path, source: str) -> None:
    root = lay(tmp_path / "set")
    names = [image.name for image in (root / "bounding_box_train").iterdir()]

    def make(x: int, *options: str) -> str:
        joints = [[x, 8 + 3 * i, 0.9] for i in range(17)]
        (tmp_path / "k.json").write_text(json.dumps([{"image_id": name, "keypoints": joints} for name in names]))
        for name in names:  # as OpenPifPaf writes it
            (tmp_path / "pifpaf").mkdir(exist_ok=True)
            (tmp_path / "pifpaf" / f"{name}.predictions.json").write_text(json.dumps([{"keypoints": joints}]))
        status, text = run("labels", "make", root, "--keypoints", tmp_path / source, *options)
        assert status == 0, text
        return text

    assert "6 labels made" in make(16)
    assert "warning" not in make(16)
    text = make(20)
    assert f"6 of the kept labels are made by keypoints {source}" in text
    assert "--overwrite makes them again" in text
    assert "6 labels made" in make(20, "--overwrite")
