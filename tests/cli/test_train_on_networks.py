"""``partreid train --preset parts-on FILE``: heads on a network of one's own, and labels on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from partreid.errors import CheckpointError, ConfigError
from partreid.models.backbones import build_backbone, preprocess_for
from partreid.training.network_presets import NETWORK_PRESETS
from partreid.training.presets import find_config, get_preset
from partreid.training.state import load_run_config
from tests.cli.conftest import Run
from tests.datasets.test_person_folders import write_keypoints, write_people
from tests.models.tiny_networks import IMAGENET_BYTES, save_openvino

SMALL = (
    "--height", "64", "--width", "32", "--epochs", "1", "--device", "cpu", "--precision", "float32", "--set",
    "batch.identities_per_batch=2", "--set", "pretrained=none",
)  # fmt: skip


@pytest.fixture
def osnet(tmp_path: Path) -> Path:
    """Weights of an OSNet as the model zoo has them."""
    file = tmp_path / "weights" / "net.pth"
    file.parent.mkdir()
    state = build_backbone("osnet_x0_25").state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file


def test_heads_train_on_a_file_and_the_run_resumes(run: Run, blocks: Path, osnet: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", blocks, "--preset", "parts-on", osnet, "-o", out, *SMALL[:-2])
    status, text = run(*arguments)
    assert status == 0, text
    assert "Feature maps of 24 training images are kept in" in text
    assert "96 of them are computed by PyTorch in float32" in text
    assert "rank-1" in text
    config = load_run_config(out)
    assert (config.model.backbone, config.pretrained) == ("osnet_x0_25", str(osnet))
    assert config.model.slots[:2] == ("global", "foreground")
    status, text = run(*arguments[:-4], *arguments[-2:], "--resume", "--no-evaluate")
    assert status == 0, text
    assert "Resumed after epoch 1 of 1" in text
    assert "Feature maps" not in text, "there is nothing left to train"


def test_the_network_may_be_the_backbone_option(run: Run, blocks: Path, tmp_path: Path) -> None:
    status, text = run(
        "train", blocks, "-o", tmp_path / "run", "--preset", "fine-tune", "--backbone", "resnet18", "--no-evaluate",
        *SMALL,
    )  # fmt: skip
    assert status == 0, text
    config = load_run_config(tmp_path / "run")
    assert (config.model.backbone, config.model.own_embedding) == ("resnet18", False)
    assert config.objective.distillation.global_ == 0, "resnet18 has no embedding to be held to"
    assert "Feature maps" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "parts-on"], 'stands on a network: expected "parts-on FILE"'),
        (["--preset", "parts-on", "none.pth"], "There is no network file none.pth"),
        (
            ["--preset", "parts-on", "resnet18", "--backbone", "resnet50"],
            "needs exactly one network, got resnet18, resnet50",
        ),
        (["--make-labels", "pose.txt"], "Expected a pose network (.xml, .tflite) or keypoints (.json, .npz)"),
        (["--preset", "bot", "--make-labels", "pose.xml"], "this configuration does not use labels"),
    ],
)
def test_mistakes(arguments: list[str], message: str, run: Run, blocks: Path, tmp_path: Path) -> None:
    status, text = run("train", blocks, "-o", tmp_path / "run", *arguments)
    assert status == 2
    assert message in " ".join(text.split())


def test_pictures_by_person_are_enough(run: Run, tmp_path: Path) -> None:
    root = write_people(tmp_path / "shop", ["anna", "bob", "carl"])
    keypoints = write_keypoints(tmp_path / "people.npz", root)
    status, text = run(
        "train", f"persons={root}", "--preset", "parts-on", "resnet18", "--make-labels", keypoints, "-o",
        tmp_path / "run", *SMALL,
    )  # fmt: skip
    assert status == 0, text
    assert "9 training images of 3 identities" in text
    assert len(list((root / "masks" / "keypoints").glob("*/*.npy"))) == 9
    assert "No queries, so nothing to evaluate" in text


def test_presets_that_need_a_network_are_listed_with_it(run: Run) -> None:
    status, text = run("config", "list")
    assert status == 0
    assert all(f"{name} FILE" in text for name in NETWORK_PRESETS)
    status, text = run("config", "diff", "parts-on resnet18", "fine-tune resnet18")
    assert status == 0, text
    assert "optimizer.frozen_stride" in text
    status, text = run("config", "show", "--preset", "parts-on resnet18")
    assert status == 0
    assert 'backbone = "resnet18"' in text


def test_what_a_network_is_told_by(osnet: Path, tmp_path: Path) -> None:
    for name in ("osnet_x0_5", "osnet_ain_x0_25", "osnet_ibn_x1_0"):
        file = tmp_path / f"{name}.pth"
        torch.save(build_backbone(name).state_dict(), file)
        assert get_preset(f"parts-on {file}").model.backbone == name
    torch.save(build_backbone("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(ConfigError, match=r"holds no OSNet .*--backbone NAME --set pretrained="):
        get_preset(f"parts-on {tmp_path / 'resnet18.pth'}")
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        get_preset(f"parts-on {tmp_path / 'broken.pth'}")
    before = torch.random.get_rng_state()
    assert find_config(f"fine-tune {osnet}").objective.distillation.global_ == 5
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_network_file_trains_heads_and_evaluates(run: Run, blocks: Path, tmp_path: Path) -> None:
    file = save_openvino(tmp_path / "net.xml", turned=True, normalise=IMAGENET_BYTES)
    config = get_preset(f"parts-on {file}")
    assert config.model.own_embedding
    assert config.model.backbone == f"openvino/{file}"
    assert config.preprocess == preprocess_for(f"openvino/{file}")
    status, text = run(
        "train", blocks, "--preset", "parts-on", file, "-o", tmp_path / "run", "--epochs", "1", "--batch-size", "8",
        "--device", "cpu",
    )  # fmt: skip
    assert status == 0, text
    assert "Feature maps of 24 training images" in text
    assert "rank-1" in text
