"""What a step is made of: accumulation, averages of the weights, readings, compilation, arithmetic."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from partreid.datasets.augment import Augmented
from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError, TrainingError
from partreid.models.backbones import gains_from_bfloat16
from partreid.runtime import RuntimeConfig, check_compiler, keep_freed_memory
from partreid.training.callbacks import StepRecord
from partreid.training.ema import WeightAverage
from partreid.training.loop import Trainer
from partreid.training.meter import STEPS_BETWEEN_READINGS, Meter
from partreid.training.state import restore
from partreid.training.supervised import SupervisedModel, build_model
from tests.conftest import tiny_config

CPU = RuntimeConfig(device="cpu", precision="float32")


class Collect:
    """Keeps every record."""

    def __init__(self) -> None:
        self.records: list[StepRecord] = []

    def on_step(self, record: StepRecord) -> None:
        self.records.append(record)

    def on_epoch(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


def test_gradients_of_accumulated_batches_are_averaged(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config("batch.identities_per_batch=2", "optimizer.accumulation=4", "optimizer.epochs=1")
    callback = Collect()
    trainer = Trainer(config, read_dataset(blocks).train, tmp_path, runtime=CPU, callbacks=[callback])
    alone = copy.deepcopy(trainer.learner.model)  # its BN statistics move as the trained one's do
    supervised = SupervisedModel(alone.train(), config.objective)
    steps: list[tuple[list[dict[str, Tensor]], Tensor]] = []
    seen: list[tuple[Augmented, Tensor]] = []
    weight = trainer.learner.model.concat_neck.classifier.weight

    def step() -> None:
        losses = [supervised(batch, pids) for batch, pids in seen]
        for one in losses:
            (one["loss"] / len(seen)).backward()
        assert weight.grad is not None
        steps.append((losses, weight.grad.clone()))
        torch.testing.assert_close(alone.concat_neck.classifier.weight.grad, weight.grad, rtol=1e-4, atol=1e-7)
        alone.zero_grad()
        seen.clear()

    monkeypatch.setattr(trainer.learner.optimizer, "step", lambda *_, **__: step())
    augment = type(trainer.augmentation).__call__

    def remember(self: object, images: Tensor, maps: Tensor, pids: Tensor, generator: torch.Generator) -> Augmented:
        seen.append((augment(self, images, maps, pids, generator), pids))  # type: ignore[arg-type]
        return seen[-1][0]

    monkeypatch.setattr(type(trainer.augmentation), "__call__", remember)
    trainer.fit()
    total = trainer.loader.sampler.batches
    assert [len(losses) for losses, _ in steps] == [4] * (total // 4) + ([total % 4] if total % 4 else [])
    for record, (losses, _) in zip(callback.records, steps, strict=True):
        assert record.values["loss"] == pytest.approx(sum(float(one["loss"].detach()) for one in losses) / len(losses))
        assert record.steps_in_epoch == len(steps)


def test_the_average_is_the_recurrence_written_out() -> None:
    model = build_model(tiny_config("model.attention=none"), 3)
    average = WeightAverage(model, 0.5)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(1, 12):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1)
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            whole = not tensor.is_floating_point()
            expected[name] = tensor.clone() if whole else decay * expected[name] + (1 - decay) * tensor
    for name, tensor in average.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
    assert not any(p.requires_grad for p in average.model.parameters())
    assert not average.model.training


def test_a_gpu_is_read_every_few_steps_and_at_the_end() -> None:
    meter = Meter(torch.device("meta"), lambda values: values)  # the values themselves lie on the CPU
    read, steps = [], 2 * STEPS_BETWEEN_READINGS + 3
    for step in range(steps):
        losses = [{"loss": torch.tensor(step + 0.25)}, {"loss": torch.tensor(step + 0.75)}]
        meter.add(StepRecord(0, step, steps, {"learning_rate": 0.1}), losses, images=8)
        if meter.due:
            read.append(meter.read())
    assert [len(records) for records in read] == [STEPS_BETWEEN_READINGS, STEPS_BETWEEN_READINGS, 3]
    records = [record for one in read for record in one]
    assert [record.values["loss"] for record in records] == [step + 0.5 for step in range(steps)]
    assert all(record.values["images_per_second"] > 0 for record in records)
    meter.add(StepRecord(1, 4, 9, {"learning_rate": 0.1}), [{"loss": torch.tensor(float("inf"))}], images=8)
    with pytest.raises(TrainingError, match="not a finite number in epoch 2, step 5: loss"):
        meter.read()


def test_a_state_of_another_optimizer_kind_goes_on_in_this_one(blocks: Path, tmp_path: Path) -> None:
    """As runs of earlier versions have it: Adam not fused, nothing of steps within an epoch."""
    config = tiny_config("optimizer.epochs=1")
    Trainer(config, read_dataset(blocks).train, tmp_path, runtime=CPU).fit()
    file = tmp_path / "checkpoint" / "train_state.pt"
    state = torch.load(file, weights_only=True)
    state["optimizer"]["param_groups"][0]["fused"] = None
    for name in ("step", "sums", "processes", "scaling"):
        del state[name]
    torch.save(state, file)
    more = Trainer(config.override(["optimizer.epochs=2", "optimizer.ema_decay=0.9"]), read_dataset(blocks).train,
                   tmp_path, runtime=CPU)  # fmt: skip
    more.progress = restore(tmp_path, more.learner, more.pids)
    assert more.learner.optimizer.param_groups[0]["fused"] is True
    assert more.learner.average is not None
    weights = more.learner.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in more.learner.average.model.state_dict().items())
    more.fit()
    assert more.epoch == 2


def test_a_compiler_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"torch\.compile needs a C\+\+ compiler, and none was found"):
        check_compiler()


@pytest.mark.slow
def test_a_compiled_training_learns_the_same_and_keeps_its_keys(blocks: Path, tmp_path: Path) -> None:
    check_compiler()
    config, values, keys = tiny_config("optimizer.epochs=1"), [], []
    for compiled in (False, True):
        callback = Collect()
        runtime = CPU.model_copy(update={"compile": compiled})
        trainer = Trainer(config, read_dataset(blocks).train, tmp_path / str(compiled), runtime=runtime,
                          callbacks=[callback])  # fmt: skip
        keys.append(list(trainer.fit().model.state_dict()))
        values.append(callback.records[0].values)
    assert keys[0] == keys[1]
    assert values[1]["loss"] == pytest.approx(values[0]["loss"], rel=1e-4)


def test_auto_precision_asks_the_backbone() -> None:
    assert gains_from_bfloat16("resnet50")
    assert gains_from_bfloat16("timm/resnet50")
    assert gains_from_bfloat16("efficientnet_lite0")
    assert not gains_from_bfloat16("osnet_x1_0")
    keep_freed_memory()  # nothing to see; it must not fail where the C library is another
