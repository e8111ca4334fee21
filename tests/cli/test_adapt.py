"""``partreid adapt``, and the commands that embed with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partreid.inference.adapting import LEAST, WEIGHT
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.runners.adaptation import ADAPTATION_FILE, Adaptation
from tests.cli.conftest import Run
from tests.inference.adapted import write_crops, write_run


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the layout of Market-1501: training images of cameras 1 and 2."""
    root = tmp_path_factory.mktemp("adapt") / "market"
    write_crops(root / "bounding_box_train", {"1": LEAST, "2": LEAST})
    write_crops(root / "query", {"1": 4})
    write_crops(root / "bounding_box_test", {"1": 3, "2": 6})
    return root


@pytest.fixture(scope="module")
def adapted(crops: Path) -> Path:
    return write_run(crops.parent / "run")


def test_adapt_then_evaluate_embed_and_search(run: Run, crops: Path, adapted: Path, tmp_path: Path) -> None:
    cpu = ("--device", "cpu")
    status, text = run("adapt", adapted, crops / "bounding_box_train", "--camera-from", "name", *cpu)
    assert status == 0, text
    made = Adaptation.load(adapted)
    assert (made.cameras, made.images, made.weight) == (("1", "2"), (LEAST, LEAST), WEIGHT)
    assert made.fingerprint in text
    file = adapted / "checkpoint" / ADAPTATION_FILE

    status, text = run("evaluate", adapted, crops, "--adaptation", file, "-o", tmp_path / "scores", *cpu)
    assert status == 0, text
    assert "mean of its cameras'" not in text
    assert f"cameras adapted to ({made.fingerprint})" in " ".join(text.split())
    assert json.loads((tmp_path / "scores" / "results.json").read_text())["query"]["adaptation"] == made.fingerprint

    extractor = PartExtractor.from_pretrained(adapted, device="cpu", adaptation="auto")
    told = ("--adaptation", "auto", "--camera-from", r"_c(?P<camera>\d+)_")
    status, text = run("embed", adapted, crops / "query", "-o", tmp_path / "e.safetensors", *told, *cpu)
    assert status == 0, text
    assert load_embeddings(tmp_path / "e.safetensors")[0].model == extractor.fingerprint

    gallery = tmp_path / "gallery"
    pattern = ("--pattern", r"_c(?P<camera>\d+)_")
    add = ("gallery", "add", gallery, crops / "bounding_box_test", "--model", adapted, *pattern, *cpu)
    status, text = run(*add, "--adaptation", "auto")
    assert status == 0, text
    assert "mean of its cameras'" not in text
    query = sorted((crops / "query").iterdir())[0]
    search = ("gallery", "search", gallery, query, "--model", adapted, "-k", "1", *cpu)
    status, text = run(*search, *told)
    assert status == 0, text
    assert "mean of its cameras'" not in text
    status, text = run(*search, "--adaptation", "auto")
    assert status == 0, text
    assert "mean of its cameras'" in " ".join(text.split())
    status, text = run(*search)
    assert status == 2
    assert "adaptation that it was made with" in " ".join(text.split())
    status, text = run(*add)
    assert status == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--camera-from", "nothing"), "with a group"),
        (("--camera-from", "folder", "--weight", "0"), "weight above 0"),
        (("--camera-from", r"pid(?P<camera>\d+)"), "finds no camera in the name"),
        ((), "--camera-from"),
    ],
)
def test_mistakes(run: Run, crops: Path, adapted: Path, arguments: tuple[str, ...], message: str) -> None:
    status, text = run("adapt", adapted, crops / "bounding_box_train", *arguments, "--device", "cpu")
    assert status == 2
    assert message in " ".join(text.split())


def test_an_exported_file_cannot_be_adapted(run: Run, crops: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    status, text = run(
        "adapt", tmp_path / "model.onnx", crops, "--camera-from", "name", "-o", tmp_path / "a.safetensors"
    )
    assert status == 2
    assert "onnx" in text
