"""A run that is stopped at any step and resumed ends with the very weights of the unbroken one."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError
from partreid.models.checkpoint import CHECKPOINT_FOLDER, load_checkpoint
from partreid.retrieval.calibration import CALIBRATION_FILE
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import StepRecord
from partreid.training.loop import Trainer
from partreid.training.train_config import TrainConfig
from tests.conftest import tiny_config

EVERY_STEP = 1e-9
"""Minutes between checkpoints."""
MODEL, STATE = f"{CHECKPOINT_FOLDER}/model.safetensors", f"{CHECKPOINT_FOLDER}/train_state.pt"


class StopAt:
    """Stops a training after some steps."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps
        self.epochs: list[Mapping[str, float]] = []

    def on_step(self, record: StepRecord) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        self.epochs.append({name: value for name, value in means.items() if name != "images_per_second"})

    def close(self) -> None:
        pass


def config(*overrides: str) -> TrainConfig:
    """With all that draws random numbers or has a memory: drop-connect, look-alikes, averages, accumulation."""
    return tiny_config(
        "model.backbone=efficientnet_lite0",
        "batch.identities_per_batch=2",
        "batch.look_alikes=true",
        "augment.flip_probability=0.5",
        "augment.paste_probability=0.5",
        "augment.jitter_probability=0.5",
        "augment.resolution_probability=0.5",
        "optimizer.accumulation=2",
        "optimizer.ema_decay=0.9",
        *overrides,
    )


def train(blocks: Path, out: Path, *, stop: int | None = None, resume: bool = False, workers: int = 0) -> StopAt:
    runtime = RuntimeConfig(device="cpu", precision="float32", save_minutes=EVERY_STEP, workers=workers)
    callback = StopAt(stop)
    trainer = Trainer(config(), read_dataset(blocks).train, out, runtime=runtime, callbacks=[callback])
    if resume:
        trainer.resume()
    trainer.fit()
    return callback


@pytest.fixture(scope="module")
def whole(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StopAt]:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    return out, train(blocks, out)


def assert_same_run(one: Path, other: Path) -> None:
    """The same averaged weights, and the same everything in the state but the speed."""
    assert (one / MODEL).read_bytes() == (other / MODEL).read_bytes()
    states = [torch.load(path / STATE, weights_only=True) for path in (one, other)]
    for state in states:
        for means in (state["means"], *state["history"].values()):
            means.pop("images_per_second", None)  # the last epoch's are in both
    assert states[0].keys() == states[1].keys() >= {"model", "updates", "optimizer"}
    assert repr(states[0]) == repr(states[1])
    for key, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][key]), key
    for number, moments in states[0]["optimizer"]["state"].items():
        assert all(torch.equal(v, states[1]["optimizer"]["state"][number][k]) for k, v in moments.items())


@pytest.mark.parametrize(("stops", "workers"), [((1,), 0), ((1, 0, 3), 2)])
def test_a_run_stopped_at_any_step_resumes_bit_for_bit(
    stops: tuple[int, ...], workers: int, whole: tuple[Path, StopAt], blocks: Path, tmp_path: Path
) -> None:
    for i, steps in enumerate(stops):
        with pytest.raises(KeyboardInterrupt):
            train(blocks, tmp_path, stop=steps, resume=i > 0, workers=workers)
    assert torch.load(tmp_path / STATE, weights_only=True)["step"] > 0, "it stopped within an epoch"
    callback = train(blocks, tmp_path, resume=True)
    assert_same_run(whole[0], tmp_path)
    assert callback.epochs == whole[1].epochs[-len(callback.epochs) :]


def test_an_epoch_is_resumed_without_reading_what_was_used(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tmp_path, stop=2)
    runtime = RuntimeConfig(device="cpu", precision="float32")
    trainer = Trainer(config("optimizer.epochs=1"), read_dataset(blocks).train, tmp_path, runtime=runtime)
    trainer.resume()
    step, read, fetch = trainer.progress.step, [], type(trainer.loader.dataset).__getitem__
    monkeypatch.setattr(
        type(trainer.loader.dataset), "__getitem__", lambda self, index: read.append(index) or fetch(self, index)
    )
    trainer.fit()
    assert step == 2
    assert len(read) == 4 * (trainer.loader.sampler.batches - 2 * step)


def test_the_checkpoint_within_an_epoch_is_the_average_and_says_so(blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tmp_path, stop=1)
    assert load_checkpoint(tmp_path).metrics["steps_of_next_epoch"] == 1
    assert load_checkpoint(tmp_path).metrics["epoch"] == 0
    state = torch.load(tmp_path / STATE, weights_only=True)
    average = load_checkpoint(tmp_path).model.state_dict()
    name = "global_neck.classifier.weight"
    # d of the first step is 2/11; before it, the average is what the seed drew.
    start = Trainer(config(), read_dataset(blocks).train, tmp_path / "new", runtime=RuntimeConfig(device="cpu"))
    expected = 2 / 11 * start.learner.model.state_dict()[name] + 9 / 11 * state["model"][name]
    assert torch.allclose(average[name], expected, atol=1e-7)
    assert not torch.equal(average[name], state["model"][name])
    running = "global_neck.bn.running_mean"
    assert torch.allclose(average[running], 9 / 11 * state["model"][running], atol=1e-7), "BN statistics are averaged"


def test_what_a_kill_left_half_written_is_cleared_away(blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tmp_path, stop=1)
    (tmp_path / CHECKPOINT_FOLDER).rename(tmp_path / f"{CHECKPOINT_FOLDER}.previous")
    (tmp_path / f".{CHECKPOINT_FOLDER}.x1").mkdir()
    (tmp_path / f".{CHECKPOINT_FOLDER}.x1" / "model.safetensors").write_bytes(b"half")
    train(blocks, tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FOLDER]


def test_what_lies_beside_the_weights_goes_along(blocks: Path, tmp_path: Path) -> None:
    """A calibration was lost with the next checkpoint; now it stays, and says itself whose it was."""
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tmp_path, stop=1)
    (tmp_path / CHECKPOINT_FOLDER / CALIBRATION_FILE).write_text("kept")
    train(blocks, tmp_path, resume=True)
    assert (tmp_path / CHECKPOINT_FOLDER / CALIBRATION_FILE).read_text() == "kept"


@pytest.mark.slow
def test_kill_9_at_random_moments(blocks: Path, tmp_path: Path) -> None:
    """The command itself, killed without warning, six times or until it ends."""
    file = tmp_path / "config.toml"
    file.write_text(config("optimizer.epochs=8").to_toml())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

    def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "partreid", "train", str(blocks), "-o", str(out), "--config", str(file),
                   "--no-evaluate", "--device", "cpu", "--precision", "float32",
                   "--save-minutes", str(EVERY_STEP), *more]  # fmt: skip
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    random_delays = random.Random(0)
    for attempt in range(30):
        resume = ("--resume",) if attempt else ()
        process = start(tmp_path / "broken", *resume)
        before = time.monotonic()
        mark = _written(tmp_path / "broken")
        while process.poll() is None and _written(tmp_path / "broken") == mark and time.monotonic() - before < 60:
            time.sleep(0.02)
        time.sleep(random_delays.uniform(0, 0.6))
        if attempt < 6:
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
    assert attempt >= 2, "it was killed at least twice"
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def _written(run: Path) -> float:
    try:
        return (run / STATE).stat().st_mtime
    except OSError:
        return 0.0


def test_weights_of_another_moment_are_refused(blocks: Path, tmp_path: Path) -> None:
    """One file of a run put back from an older copy: the optimizer's moments would belong to other weights."""
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tmp_path / "early", stop=1)
    shutil.copytree(tmp_path / "early", tmp_path / "late")
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tmp_path / "late", stop=1, resume=True)
    (tmp_path / "late" / MODEL).write_bytes((tmp_path / "early" / MODEL).read_bytes())
    with pytest.raises(CheckpointError, match=r"train_state\.pt beside it were not written together"):
        train(blocks, tmp_path / "late", resume=True)


def _torch_file(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"some text\n" * 20,
        b"(" * 10_000,
        b"PK\x03\x04" + bytes(200),
        *map(
            _torch_file, ([1, 2], None, torch.ones(3), {"pids": 5}, {"pids": "abc"}, {"epoch": "one"}, {"epoch": [1]})
        ),
    ],
)
def test_a_state_that_is_none_is_a_typed_error(content: bytes, blocks: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(), read_dataset(blocks).train, tmp_path, runtime=RuntimeConfig(device="cpu"))
    (tmp_path / STATE).parent.mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"train_state\.pt cannot be read \([^\n]{1,220}\)\. Start a new training"
    ):
        trainer.resume()
