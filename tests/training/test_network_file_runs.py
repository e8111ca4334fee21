"""A run whose backbone is a network file: whole by itself, and resumed with that very file or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError
from partreid.inference.extractor import PartExtractor
from partreid.models.backbones import preprocess_for
from partreid.runtime import RuntimeConfig
from partreid.training.data import check_same_config
from partreid.training.loop import Trainer
from partreid.training.presets import find_config
from partreid.training.state import load_run_config
from partreid.training.train_config import TrainConfig
from tests.conftest import tiny_config
from tests.models.tiny_networks import IMAGENET_BYTES, named, save_openvino

RUNTIME = RuntimeConfig(device="cpu", precision="float32")


def config(file: Path, *overrides: str) -> TrainConfig:
    name = named(file)
    return tiny_config(*overrides).override(
        {"model": {"backbone": name, "own_embedding": True, "embedding_dim": None}, "pretrained": "imagenet"},
        preprocess=preprocess_for(name),
    )


def trained(config: TrainConfig, blocks: Path, run: Path, *, resume: bool = False) -> None:
    trainer = Trainer(config, read_dataset(blocks).train, run, runtime=RUNTIME)
    if resume:
        trainer.resume()
    trainer.fit()


@pytest.fixture(scope="module")
def original(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``user/net.xml``, and ``run``: one epoch of two, of the average of the weights. Read only."""
    root = tmp_path_factory.mktemp("original")
    (root / "user").mkdir()
    file = save_openvino(root / "user" / "net.xml", turned=True, normalise=IMAGENET_BYTES)
    trained(config(file, "optimizer.epochs=1", "optimizer.ema_decay=0.9"), blocks, root / "run")
    return root


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """The same in this test's own folder."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    toml = tmp_path / "run/checkpoint/train.toml"
    assert str(original / "user/net.xml") in toml.read_text()
    toml.write_text(toml.read_text().replace(str(original), str(tmp_path)))
    return tmp_path / "run"


@pytest.fixture
def file(run: Path) -> Path:
    return run.parent / "user/net.xml"


def longer(run: Path) -> TrainConfig:
    return load_run_config(run).override("optimizer.epochs=2")


def test_a_run_is_resumed_without_the_users_file(run: Path, file: Path, blocks: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    trained(longer(whole), blocks, whole, resume=True)
    moved = Path(shutil.move(run, tmp_path / "moved"))
    shutil.rmtree(file.parent)
    assert longer(moved).model.backbone == f"openvino/{moved.absolute()}/checkpoint/backbone/net.xml"
    assert find_config(moved) == load_run_config(moved)
    trained(longer(moved), blocks, moved, resume=True)
    one, other = (PartExtractor.from_pretrained(path, device="cpu") for path in (whole, moved))
    assert one.fingerprint == other.fingerprint, "the same weights to the last bit, and the same file"
    assert f'backbone = "openvino/{file}"' in (moved / "checkpoint/train.toml").read_text()
    assert str(tmp_path) not in (moved / "checkpoint/config.json").read_text()


def test_a_file_that_was_moved_is_the_same(run: Path, file: Path, blocks: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.move(file.parent, tmp_path / "elsewhere")) / file.name
    there = longer(run).override({"model.backbone": named(elsewhere)})
    check_same_config(run, there)
    trained(there, blocks, run, resume=True)
    with pytest.raises(CheckpointError, match=r"started with model.backbone = .*#first_map"):
        check_same_config(run, there.model_copy(update={"model": there.model.model_copy(
            update={"backbone": f"{named(elsewhere)}#first_map"})}))  # fmt: skip


@pytest.mark.parametrize("changed", ["graph", "numbers"])
def test_a_file_that_has_changed_is_refused(changed: str, run: Path, file: Path, blocks: Path) -> None:
    activation, seed = ("sigmoid", 0) if changed == "graph" else ("relu", 1)
    save_openvino(file, turned=True, normalise=IMAGENET_BYTES, activation=activation, seed=seed)
    with pytest.raises(CheckpointError, match=r"net.xml is not the file that .*run was started with.*--set model.back"):
        check_same_config(run, longer(run))
    with pytest.raises(
        CheckpointError, match=r"was read from another file than .*net.xml. Take the one that lies there"
    ):
        trained(longer(run), blocks, run, resume=True)
    copy = longer(run).override({"model.backbone": f"openvino/{run.absolute()}/checkpoint/backbone/net.xml"})
    trained(copy, blocks, run, resume=True)
    assert json.loads((run / "checkpoint/metrics.json").read_text())["epoch"] == 2


def test_a_damaged_copy_is_not_resumed(run: Path, file: Path) -> None:
    shutil.rmtree(file.parent)
    (run / "checkpoint/backbone/net.bin").write_bytes(b"\0")
    with pytest.raises(CheckpointError, match="net.bin is not the file that this model was saved with"):
        load_run_config(run)


def test_another_training_starts_from_its_backbone(run: Path, file: Path, blocks: Path, tmp_path: Path) -> None:
    start = config(file, "optimizer.epochs=1").override({"pretrained": str(run)})
    Trainer(start, read_dataset(blocks).train, tmp_path / "next", runtime=RUNTIME)
    other = save_openvino(tmp_path / "b.xml", turned=True, normalise=IMAGENET_BYTES, activation="sigmoid")
    with pytest.raises(CheckpointError, match="was read from another file than .*b.xml"):
        Trainer(
            start.override({"model.backbone": named(other)}),
            read_dataset(blocks).train,
            tmp_path / "n",
            runtime=RUNTIME,
        )
