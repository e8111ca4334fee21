"""The model inside the package: found by its names, read without a network, refused where it is damaged."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from partreid import Gallery, MatchCalibration, PartExtractor, build_network, load_checkpoint
from partreid.errors import CheckpointError, DataError
from partreid.models import shipped
from partreid.models.checkpoint import find_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.reports.shipped import CARD_FILE, LARGEST
from partreid.retrieval.how_compared import model_name
from partreid.training.presets import find_config
from partreid.training.supervised import build_model

NAME = shipped.shipped_name()
BOX = shipped.FOLDER / NAME


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the box in the place of the package's, which a test may change."""
    folder = shutil.copytree(shipped.FOLDER, tmp_path / "box")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder


def test_it_is_the_default_and_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    default = PartExtractor.from_pretrained(device="cpu")
    for name in (shipped.SHIPPED, NAME):
        assert PartExtractor.from_pretrained(name, device="cpu").fingerprint == default.fingerprint
    assert default.fingerprint == shipped.read_index()["fingerprints"][NAME]
    assert {tensor.dtype for tensor in default.model.parameters()} == {torch.float32}
    image = np.random.default_rng(0).integers(0, 255, (80, 40, 3), dtype=np.uint8)
    assert default.embed(image).validate().model == default.fingerprint


def test_the_box_is_small_and_half_precision_and_has_a_card() -> None:
    assert sum(file.stat().st_size for file in BOX.rglob("*")) <= LARGEST
    state = load_file(BOX / "model.safetensors")
    assert {value.dtype for value in state.values() if value.ndim >= 2} == {torch.float16}
    assert load_checkpoint(NAME).model.num_identities == 0
    card = (BOX / CARD_FILE).read_text(encoding="utf-8")
    lines = card.partition(f"# {NAME}")[2].strip().splitlines()
    assert "ImageNet" in lines[0]
    assert all(word in card for word in ("license: apache-2.0", "licences", "Limits", "rank-1", NAME))
    assert {file.relative_to(BOX).as_posix() for file in BOX.rglob("*")} == set(shipped.read_index()["files"])


def test_its_calibration_and_its_training_are_found_by_name() -> None:
    extractor = PartExtractor.from_pretrained(device="cpu")
    assert MatchCalibration.load("shipped", extractor=extractor).model == extractor.fingerprint
    config = find_config("shipped")
    assert config.model.backbone == extractor.model.config.backbone
    start = build_model(config.override(["pretrained=shipped"]), 3).state_dict()
    whole = extractor.model.state_dict()
    key = next(key for key in whole if key.startswith("backbone.") and whole[key].ndim == 4)
    assert torch.equal(start[key], whole[key])


def test_what_the_names_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: Path) -> None:
    monkeypatch.chdir(tmp_path)
    model = build_network(ModelConfig(backbone="resnet18", parts="five", embedding_dim=8), 2)
    for folder in (NAME, "shipped"):
        PartExtractor(model, PreprocessConfig(height=64, width=32)).save_pretrained(folder)
        with pytest.warns(UserWarning, match=rf"{folder} is the model inside the package. .* is \./{folder}"):
            assert find_checkpoint(folder) == copy / NAME
        for own in (Path(folder), f"./{folder}"):
            assert find_checkpoint(own) == Path(folder)
    assert model_name("shipped") == NAME
    index = shipped.read_index()
    index["fingerprints"]["partreid-light-0"] = "0" * 16
    (copy / shipped.INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=f"came with another version of partreid; {NAME} comes with this one"):
        find_checkpoint("partreid-light-0")
    assert shipped.named_model("0" * 16) == f"partreid-light-0 ({'0' * 16})"
    assert shipped.named_model("1" * 16) == "1" * 16
    with Gallery("people") as gallery:
        assert gallery.extractor is None


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "calibration.json"])
def test_a_damaged_box_is_refused(file: str, copy: Path) -> None:
    path = copy / NAME / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{file} is damaged: its SHA-256 .* Install partreid again\."):
        PartExtractor.from_pretrained()
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"{file} cannot be read: .* Install partreid again\."):
        PartExtractor.from_pretrained()


@pytest.mark.parametrize("content", [None, "", "[]", "{}"])
def test_without_its_index_other_models_work(content: str | None, copy: Path, tmp_path: Path) -> None:
    (copy / shipped.INDEX_FILE).unlink()
    if content is not None:
        (copy / shipped.INDEX_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=r"cannot be used.* Install partreid again\."):
        PartExtractor.from_pretrained()
    model = build_network(ModelConfig(backbone="resnet18", parts="five", embedding_dim=8), 2)
    run = PartExtractor(model, PreprocessConfig(height=64, width=32)).save_pretrained(tmp_path / "run")
    assert PartExtractor.from_pretrained(str(run)).slots[0] == "foreground"
    assert shipped.named_model("1" * 16) == "1" * 16


def test_a_gallery_without_an_extractor_takes_images_with_it(tmp_path: Path, copy: Path) -> None:
    images = [np.random.default_rng(n).integers(0, 255, (64, 32, 3), dtype=np.uint8) for n in range(3)]
    with Gallery(tmp_path / "people") as gallery:
        gallery.add(images, ["a", "b", "c"])
        fingerprint = gallery.model
    assert shipped.named_model(fingerprint).startswith(NAME)
    with Gallery(tmp_path / "people") as gallery:
        assert gallery.search(images[1])[0][0].id == "b"
        assert gallery.extractor is not None
    other = PartExtractor(
        build_network(ModelConfig(backbone="resnet18", parts="five", embedding_dim=8), 2),
        PreprocessConfig(height=64, width=32),
    )
    foreign = Gallery(extractor=other)
    foreign.add(images[:1], ["a"])
    foreign.extractor = None
    with pytest.raises(DataError, match=rf"made by another model \({other.fingerprint}\) than .* {NAME}"):
        foreign.search(images[0])
    with pytest.raises(DataError, match=rf"expected the fingerprint {NAME} \({fingerprint}\), got {other.fingerprint}"):
        Gallery(tmp_path / "people", extractor=other)
