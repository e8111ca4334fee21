"""``objective.extra``: losses of one's own are named in the configuration, trained, logged, saved and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError, ConfigError, ShapeError, TrainingError
from partreid.losses.extra import LOSSES, ExtraLosses, LossSetup
from partreid.losses.objective import objective
from partreid.models.checkpoint import read_metrics
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from partreid.training.state import STATE_FILE, load_run_config
from partreid.training.supervised import build_model
from partreid.types import ReIDDataset
from tests.conftest import tiny_config
from tests.training import own_losses
from tests.training.test_loop import Recorder

CPU = RuntimeConfig(device="cpu", precision="float32")
ALL = ("objective.extra.test-center=0.01", "objective.extra.test-spread=1e-3", "objective.extra.test-visible=0.5")


@pytest.fixture
def dataset(blocks: Path) -> ReIDDataset:
    return read_dataset(blocks)


@pytest.fixture
def own() -> Iterator[str]:
    LOSSES.register("test-own", own_losses.visible)
    yield "test-own"
    LOSSES.unregister("test-own")


def test_a_resumed_run_has_the_parameters_of_its_losses_bit_for_bit(dataset: ReIDDataset, tmp_path: Path) -> None:
    config = tiny_config("optimizer.epochs=3", *ALL)
    whole = Trainer(config, dataset.train, tmp_path / "whole", runtime=CPU)
    begun = {name: value.clone() for name, value in whole.learner.extra.state_dict().items()}
    whole.fit()
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, dataset.train, tmp_path / "broken", runtime=CPU, callbacks=[Recorder(interrupt_after=1)]).fit()
    assert load_run_config(tmp_path / "broken") == config
    resumed = Trainer(config, dataset.train, tmp_path / "broken", runtime=CPU)
    resumed.resume()
    resumed.fit()
    for module in ("model", "extra"):
        expected, found = (getattr(trainer.learner, module).state_dict() for trainer in (whole, resumed))
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items()), module
    centers = "loss_test-center.centers"
    assert list(begun) == [centers]
    assert not torch.equal(begun[centers], whole.learner.extra.state_dict()[centers])
    terms = read_metrics(tmp_path / "whole")["train"]
    assert {"extra/test-center", "extra/test-spread", "extra/test-visible"} <= terms.keys()


def test_the_model_begins_with_the_same_weights_as_without(dataset: ReIDDataset, tmp_path: Path) -> None:
    learner = Trainer(tiny_config(*ALL), dataset.train, tmp_path, runtime=CPU).learner
    plain = build_model(tiny_config(), len(learner.extra.get_parameter("loss_test-center.centers"))).state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in learner.model.state_dict().items())


def test_the_total_is_the_weighted_sum(dataset: ReIDDataset, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(*ALL), dataset.train, tmp_path, runtime=CPU)
    output, pids = trainer.learner.model(torch.randn(4, 3, 64, 32)), torch.tensor([0, 0, 1, 1])
    labels = torch.randint(0, 6, (4, 4, 2))
    config = trainer.config.objective
    with_extra = objective(output, pids, labels, config, extra=trainer.learner.extra)
    without = objective(output, pids, labels, config.model_copy(update={"extra": {}}))
    added = sum(weight * with_extra.terms[f"extra/{name}"] for name, weight in config.extra.items())
    torch.testing.assert_close(with_extra.total, without.total + added)
    with pytest.raises(ConfigError, match=r"objective\.extra = .*give extra=ExtraLosses"):
        objective(output, pids, labels, config)


def test_weight_0_is_not_built(own: str) -> None:
    assert ExtraLosses({own: 0.0}, LossSetup(1, 8, ())).weights == {}


def test_a_run_without_its_learned_loss_is_another_training(dataset: ReIDDataset, tmp_path: Path) -> None:
    Trainer(tiny_config("optimizer.epochs=1", ALL[0]), dataset.train, tmp_path, runtime=CPU).fit()
    plain = Trainer(tiny_config("optimizer.epochs=2"), dataset.train, tmp_path, runtime=CPU)
    with pytest.raises(CheckpointError, match=r"train_state\.pt, objective\.extra, .*loss_test-center\.centers"):
        plain.resume(allow_changes=True)


def test_a_run_of_an_earlier_version_goes_on(dataset: ReIDDataset, tmp_path: Path) -> None:
    Trainer(tiny_config("optimizer.epochs=1"), dataset.train, tmp_path, runtime=CPU).fit()
    path = tmp_path / "checkpoint" / STATE_FILE
    state = torch.load(path, weights_only=True)
    del state["extra"]
    torch.save(state, path)
    resumed = Trainer(tiny_config("optimizer.epochs=2"), dataset.train, tmp_path, runtime=CPU)
    resumed.resume()
    assert resumed.epoch == 1


def test_parameters_that_are_no_numbers_are_not_saved(dataset: ReIDDataset, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(ALL[0]), dataset.train, tmp_path, runtime=CPU)
    torch.nn.init.constant_(trainer.learner.extra.get_parameter("loss_test-center.centers"), torch.nan)
    with pytest.raises(TrainingError, match="loss_test-center|no longer a"):
        trainer._save()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(lambda *_: 3.0, "got float"), (lambda *_: torch.zeros(2), r"got torch\.float32 \(2,\)")],
)
def test_a_loss_is_one_number(own: str, wrong: object, said: str, dataset: ReIDDataset, tmp_path: Path) -> None:
    LOSSES.register(own, wrong, replace=True)
    trainer = Trainer(tiny_config(f"objective.extra.{own}=1"), dataset.train, tmp_path, runtime=CPU)
    with pytest.raises(ShapeError, match=rf"The loss 'test-own' must give one .*{said}"):
        trainer.fit()


def test_unknown_names_are_told_before_training() -> None:
    with pytest.raises(ConfigError, match=r"objective\.extra.*Unknown loss 'test-centre'\. Did you mean 'test-center'"):
        tiny_config("objective.extra.test-centre=1")
    with pytest.raises(ConfigError, match=r"objective\.extra\.test-center = -1"):
        tiny_config("objective.extra.test-center=-1")
