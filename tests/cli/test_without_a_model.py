"""Commands without a model use the one inside the package, and say so; with one, wherever it stands, that one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partreid import Checkpoint, Gallery, PartExtractor, load_embeddings
from partreid.cli.models import before_files, before_images, is_model
from partreid.errors import ConfigError
from partreid.export.parity import Agreement
from partreid.models.shipped import FOLDER, shipped_name
from partreid.runtime import RuntimeConfig
from tests.cli.conftest import Run

SAID = f"Model: {shipped_name()}, which comes with partreid"


@pytest.fixture(scope="module")
def fingerprint() -> str:
    return PartExtractor.from_pretrained(runtime=RuntimeConfig(device="cpu")).fingerprint


@pytest.fixture
def images(blocks: Path) -> tuple[Path, Path]:
    first, second, *_ = sorted((blocks / "query").iterdir())
    return first, second


def test_embed(run: Run, images: tuple[Path, Path], tiny_run: Path, tmp_path: Path, fingerprint: str) -> None:
    out = tmp_path / "e.safetensors"
    for words, is_default in (
        (images, True),
        ((images[0].parent,), True),
        (("shipped", *images), False),
        (("-m", shipped_name(), *images), False),
    ):
        status, text = run("embed", *words, "-o", out, "--device", "cpu")
        assert status == 0, text
        assert (SAID in text) == is_default
        assert load_embeddings(out)[0].model == fingerprint
    for words in ((tiny_run, *images), ("--model", tiny_run, *images)):
        status, text = run("embed", *words, "-o", out, "--device", "cpu")
        assert (status, SAID in text) == (0, False)
        assert load_embeddings(out)[0].model != fingerprint
    for words, message in (
        ((tiny_run,), "Expected images after the model"),
        ((tiny_run.parent, *images), "holds no checkpoint"),
        (("no_such_run", *images), "There is no checkpoint folder"),
        (("no_such.jpg", *images), "Cannot read image no_such.jpg"),
    ):
        status, text = run("embed", *words, "-o", tmp_path / "none.safetensors")
        assert status == 2
        assert message in text
    assert not (tmp_path / "none.safetensors").exists()


def test_compare_tells_a_probability(run: Run, images: tuple[Path, Path], tiny_run: Path) -> None:
    status, text = run("compare", *images, "--device", "cpu")
    assert status == 0, text
    assert SAID in text
    assert "Probability of one person" in text
    assert "no calibration" in run("compare", *images, "--mirror", "--device", "cpu")[1]
    assert "Probability" not in run("compare", tiny_run, *images, "--device", "cpu")[1]
    for words in ((images[0],), (tiny_run, images[0]), (tiny_run, *images, images[0])):
        status, text = run("compare", *words)
        assert status == 2
        assert "Expected [MODEL] FIRST SECOND, got" in text


def test_galleries(run: Run, images: tuple[Path, Path], tmp_path: Path, tiny_run: Path, fingerprint: str) -> None:
    status, text = run("gallery", "add", tmp_path / "people", *images, "--device", "cpu")
    assert status == 0, text
    assert SAID in text
    with Gallery(tmp_path / "people") as gallery:
        assert gallery.model == fingerprint
    assert f"{shipped_name()} ({fingerprint})" in run("gallery", "info", tmp_path / "people")[1]
    assert json.loads(run("gallery", "info", tmp_path / "people", "--json")[1])["model"] == fingerprint
    status, text = run("gallery", "search", tmp_path / "people", images[1], "--device", "cpu")
    assert status == 0, text
    assert images[1].name in text.partition("│ 1 │")[2].splitlines()[0]
    assert "probability" in text
    status, text = run("gallery", "search", tmp_path / "people", images[1], "-m", tiny_run, "--device", "cpu")
    assert status == 2
    assert f"expected the fingerprint {shipped_name()} ({fingerprint})" in text


def test_tracks(run: Run, images: tuple[Path, Path], tmp_path: Path, fingerprint: str) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, image in enumerate(images):
        (frames / f"{number}.jpg").write_bytes(image.read_bytes())
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,track,x1,y1,x2,y2\n0,7,2,3,20,60\n1,7,3,3,21,60\n")
    status, text = run("tracks", frames, boxes, "-o", tmp_path / "t.safetensors", "--device", "cpu")
    assert status == 0, text
    assert SAID in text
    assert load_embeddings(tmp_path / "t.safetensors")[0].model == fingerprint


def test_where_an_export_goes(
    run: Run, tmp_path: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch, fingerprint: str
) -> None:
    written = []

    def write(checkpoint: Checkpoint, path: Path, *_: object, **__: object) -> Agreement:
        written.append((PartExtractor.from_pretrained(checkpoint).fingerprint, path))
        path.touch()
        return Agreement(1, 0.0, 0.0, 0.0)

    monkeypatch.chdir(tmp_path)
    Path("shipped").mkdir()  # some other folder
    monkeypatch.setattr("partreid.export.model.export_checkpoint", write)
    status, text = run("export", "--to", "onnx", "--data", blocks)
    assert status == 0, text
    assert written == [(fingerprint, Path(f"{shipped_name()}.onnx"))]


@pytest.mark.slow
def test_export(run: Run, tmp_path: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch, fingerprint: str) -> None:
    monkeypatch.chdir(tmp_path)
    status, text = run("export", "--to", "onnx", "--data", blocks)
    assert status == 0, text
    assert PartExtractor.from_pretrained(f"{shipped_name()}.onnx", device="cpu").fingerprint == fingerprint


def test_the_page(run: Run, images: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr("partreid.app.server.PageServer.run", lambda self: served.append(self))
    assert run("gallery", "add", tmp_path / "people", *images, "--device", "cpu")[0] == 0
    status, text = run("app", "--gallery", tmp_path / "people", "--port", 0, "--device", "cpu")
    assert status == 0, text
    assert SAID in text
    assert len(served) == 1


def test_the_demo_searches_in_seconds(run: Run, tmp_path: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.datasets.shipped_split", lambda: blocks)  # fewer images
    status, text = run("demo", "--quick", "-o", tmp_path / "demo", "--device", "cpu")
    assert status == 0, text
    assert f"{shipped_name()}: 16 images embedded and searched in" in text
    assert "mAP" in text
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["search.png"]


def test_which_words_are_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("run/checkpoint/config.json", "weights/model.safetensors", "a.jpg", "crops/a.jpg", "noend", "m.onnx"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    for word in ("shipped", shipped_name(), "run", ".", "weights", "m.onnx", "nowhere.xml", "openvino/x.xml"):
        assert is_model(word), word
    for word in ("a.jpg", "crops", "noend", "nowhere", "./shipped", "video.mp4", "org/name"):
        assert not is_model(word), word
    assert before_images(["noend", "a.jpg"], "")[1] == [Path("noend"), Path("a.jpg")]
    assert before_images(["org/name", "a.jpg"], "") == ("org/name", [Path("a.jpg")])
    assert before_images(["hf:org/name", "crops"], "") == ("hf:org/name", [Path("crops")])
    assert before_images(["run"], "m.onnx") == ("m.onnx", [Path("run")])
    assert before_files(["run", "video.mp4", "b.csv"], "", ("VIDEO", "BOXES"))[0] == "run"
    with pytest.raises(ConfigError, match=r"Expected \[MODEL\] VIDEO BOXES, got run b.csv"):
        before_files(["run", "b.csv"], "", ("VIDEO", "BOXES"))
    with pytest.raises(ConfigError, match=r"Expected \[MODEL\] VIDEO BOXES, got x y z"):
        before_files(["x", "y", "z"], "run", ("VIDEO", "BOXES"))


@pytest.mark.parametrize(
    "words", [("calibrate", "shipped", "{0}"), ("adapt", "shipped", "{0}/query", "--camera-from", "name")]
)
def test_nothing_is_written_into_the_package(run: Run, blocks: Path, words: tuple[str, ...]) -> None:
    # A calibration there would differ from its checksum, and the model would be refused as damaged.
    before = {file: file.read_bytes() for file in FOLDER.rglob("*.json")}
    status, text = run(*(word.format(blocks) for word in words), "--device", "cpu")
    assert status == 2
    assert "is not a folder of your own" in text
    assert "-o FILE" in text
    assert {file: file.read_bytes() for file in FOLDER.rglob("*.json")} == before
