"""The commands take a ReID network file by its name as a backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.models.tiny_networks import IMAGENET_BYTES, named, save_openvino


@pytest.fixture
def network(tmp_path: Path) -> str:
    return named(save_openvino(tmp_path / "net.xml", turned=True, normalise=IMAGENET_BYTES))


def test_evaluate_embed_and_search(run: Run, network: str, blocks: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    status, text = run("evaluate", network, blocks, "--out", out, "--device", "cpu")
    assert status == 0, text
    assert json.loads((out / "results.json").read_text())
    assert (out / "report.html").is_file()
    status, text = run("embed", network, blocks / "query", "--out", tmp_path / "e.safetensors", "--device", "cpu")
    assert status == 0, text
    gallery = tmp_path / "gallery"
    status, text = run("gallery", "add", gallery, blocks / "bounding_box_test", "--model", network, "--device", "cpu")
    assert status == 0, text
    image = next((blocks / "query").glob("*.jpg"))
    status, text = run("gallery", "search", gallery, image, "--model", network, "--device", "cpu")
    assert status == 0, text
    assert image.name[:4] in text


def test_a_training_is_told_how_images_are_prepared(run: Run, network: str, blocks: Path, tmp_path: Path) -> None:
    status, text = run("train", blocks, "-o", tmp_path / "run", "--backbone", network)
    assert status != 0
    assert "--set preprocess.order=bgr" in text
    assert not (tmp_path / "run").exists()


def test_a_calibration_needs_a_place(run: Run, network: str, blocks: Path) -> None:
    status, text = run("evaluate", network, blocks, "--calibration", "auto", "--device", "cpu")
    assert status != 0
    assert "save_pretrained" in text
    status, text = run("calibrate", network, blocks, "--device", "cpu")
    assert status != 0
    assert "save_pretrained" in text
