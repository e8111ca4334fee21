"""The mean of several models' weights is one model; what has no mean is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import CheckpointError, ConfigError
from partreid.models.averaging import average_checkpoints
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig

CONFIG = ModelConfig(backbone="resnet18", parts="five", embedding_dim=8)
SIZE = PreprocessConfig(height=64, width=32)


@pytest.fixture(scope="module")
def start() -> BPBReID:
    torch.manual_seed(0)
    return BPBReID(CONFIG, 7).eval()


@pytest.fixture
def folder(start: BPBReID, tmp_path: Path) -> Path:
    return save_checkpoint(Checkpoint(start, SIZE, {"mAP": 0.5}), tmp_path / "start")


def further(start: BPBReID, out: Path, seed: int, *, identities: int = 4, **fields: Any) -> Path:
    """A model whose weights lie near the first one's, as after a further training on other people."""
    torch.manual_seed(seed)
    model = BPBReID(start.config.model_copy(update=fields), identities)
    moved = {
        key: value + 0.1 * value.abs().mean() * torch.randn_like(value) if value.is_floating_point() else value + seed
        for key, value in start.state_dict().items()
        if "neck.classifier" not in key and "necks." not in key
    }
    model.load_state_dict(moved, strict=False)
    return save_checkpoint(Checkpoint(model.eval(), SIZE), out)


def test_every_weight_is_the_weighted_mean_of_theirs(start: BPBReID, folder: Path, tmp_path: Path) -> None:
    other = further(start, tmp_path / "other", 1, identities=3, visibility="argmax")
    made = average_checkpoints([folder, other], [3, 1])
    one, two = (load_checkpoint(path).model.state_dict() for path in (folder, other))
    identities = {key for key in one if "neck" in key and "classifier" in key}
    for key, value in made.model.state_dict().items():
        if key in identities:
            assert len(value) == 0
        elif value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * one[key] + 0.25 * two[key])
        else:
            assert torch.equal(value, one[key])
    assert made.model.config == CONFIG  # it compares as the first
    assert (made.model.num_identities, made.preprocess, made.metrics) == (0, SIZE, {})


def test_models_that_are_the_same_stay_the_same(folder: Path) -> None:
    made, one = average_checkpoints([folder] * 3).model.state_dict(), load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(value, one[key]) for key, value in made.items() if len(value.shape) == 0 or len(value))


@pytest.mark.parametrize(
    "weights", [[1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")], [1, 1, 1], ["x", 1], 3]
)
def test_weights_that_make_no_mean(folder: Path, weights: Any) -> None:
    with pytest.raises(ConfigError, match=r"Expected 2 positive weights, one for each model, got "):
        average_checkpoints([folder, folder], weights)


def test_data_sets_are_those_of_all_models_if_all_are_known(start: BPBReID, folder: Path, tmp_path: Path) -> None:
    one, two = ({"name": name, "images": 4} for name in ("street", "crowd"))
    runs = []
    for number, data in enumerate(([one], [one, two])):
        metrics = {"data": data, "mAP": 0.5}
        runs.append(save_checkpoint(Checkpoint(start, SIZE, metrics), tmp_path / str(number)))
    assert average_checkpoints(runs).metrics == {"data": [one, two]}
    assert average_checkpoints([*runs, folder]).metrics == {}


def test_one_model_has_no_average(folder: Path) -> None:
    for sources in ([folder], [], str(folder)):
        with pytest.raises(ConfigError, match="needs two or more models"):
            average_checkpoints(sources)


def test_models_that_are_not_alike_are_refused(start: BPBReID, folder: Path, tmp_path: Path) -> None:
    other = further(start, tmp_path / "other", 1, foreground_pooling="mean")
    with pytest.raises(CheckpointError, match=r"model\.foreground_pooling is mean and not weighted_average"):
        average_checkpoints([folder, other])
    larger = save_checkpoint(Checkpoint(start, SIZE.model_copy(update={"height": 128})), tmp_path / "larger")
    with pytest.raises(CheckpointError, match=r"larger cannot be averaged with .*preprocess\.height is 128 and not 64"):
        average_checkpoints([folder, larger])
    torch.manual_seed(5)
    stranger = save_checkpoint(Checkpoint(BPBReID(CONFIG, 7).eval(), SIZE), tmp_path / "stranger")
    with pytest.raises(CheckpointError, match=r"not trained from one start: the mean cosine .* is -?0\.0"):
        average_checkpoints([folder, stranger])
