"""A run folder, and the state with which a training is resumed as if it had not been interrupted.

::

    RUN/checkpoint/   config.json, model.safetensors, metrics.json; train.toml, train_state.pt to resume;
                      backbone/ with the network file that the backbone was read from
    RUN/logs/         TensorBoard
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from partreid import processes
from partreid.errors import CheckpointError, TrainingError
from partreid.files import atomic_folder
from partreid.losses.extra import ExtraLosses
from partreid.models.backbones.weights import load_exactly, read_state_dict
from partreid.models.carried import check_same_file
from partreid.models.checkpoint import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    TRAIN_FILE,
    WEIGHTS_FILE,
    Checkpoint,
    find_checkpoint,
    write_checkpoint,
)
from partreid.models.network import ReIDNetwork
from partreid.training.callbacks import StepRecord
from partreid.training.ema import WeightAverage
from partreid.training.started_with import load_train_config, to_keep
from partreid.training.train_config import TrainConfig

if TYPE_CHECKING:  # its import takes a second
    from lightning_fabric.plugins.precision import Precision

STATE_FILE, LOCK_FILE = "train_state.pt", ".training"

_WEIGHTS = "weights_sha256"
"""Entry of a state with the digest of the weights beside it. States of earlier versions lack it."""


@dataclass(frozen=True)
class Progress:
    """The progress of a training.

    Attributes:
        epoch: number of complete epochs. means: of the last epoch's steps.
        pids: the person of each training class, without the sets' names, so that a folder may be moved.
        history: the means of every epoch by its number, counted from 1. Epochs of earlier versions are missing.
        step: optimiser steps done in the current, incomplete epoch. sums: of these steps' values, for its means.
        processes: number of processes in the current epoch.
        data: digests of :class:`TrainingData`. Only the first process has them. Runs of earlier versions have none.
        centres: of the classes, at the beginning of the current epoch, if look-alikes share a batch.
    """

    epoch: int
    means: dict[str, float]
    pids: tuple[int, ...]
    history: Mapping[int, dict[str, float]] = field(default_factory=dict)
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    processes: int = 1
    data: Mapping[str, Tensor] = field(default_factory=dict, compare=False)
    centres: Tensor | None = field(default=None, compare=False)

    @property
    def begun(self) -> bool:
        """Whether a step has been taken."""
        return self.epoch > 0 or self.step > 0

    def after_steps(self, records: Sequence[StepRecord]) -> Progress:
        """Progress after these steps of an epoch."""
        sums = dict(self.sums)
        for record in records:
            for name, value in record.values.items():
                sums[name] = sums.get(name, 0.0) + value / record.steps_in_epoch
        return replace(self, step=self.step + len(records), sums=sums)

    def after_epoch(self) -> Progress:
        """Progress when the steps of an epoch are done."""
        epoch = self.epoch + 1
        history = {**self.history, epoch: self.sums}
        return replace(self, epoch=epoch, means=self.sums, history=history, step=0, sums={}, centres=None)

    def metrics(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The content of the checkpoint's ``metrics.json``. ``environment``: of the last epoch."""
        history = [{"epoch": epoch, **means} for epoch, means in self.history.items()]
        begun = {"steps_of_next_epoch": self.step} if self.step else {}
        return {"epoch": self.epoch, **begun, "train": self.means, "history": history, "environment": dict(environment)}


@dataclass(frozen=True, eq=False)
class Learner:
    """Everything that a step changes.

    Attributes:
        model: the model in training. optimizer: of its weights, and those of ``extra``. average: of its weights, if
            there is one. scaling: Fabric's precision, which has a state if it scales the loss (float16). extra: the
            user's own losses.
    """

    model: ReIDNetwork
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    scaling: Precision
    extra: ExtraLosses

    @property
    def result(self) -> ReIDNetwork:
        """The model that is saved and evaluated: the average, if there is one."""
        return self.model if self.average is None else self.average.model

    def state(self) -> dict[str, Any]:
        """The values that a resumed training needs in addition to the weights of ``result``."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "scaling": self.scaling.state_dict()}
        state["extra"] = self.extra.state_dict()
        if self.average is not None:
            state |= {"model": self.model.state_dict(), "updates": self.average.updates}
        return state

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any], *, source: str) -> None:
        """Load the weights of ``result`` and a state from :meth:`state`, also one of an earlier version."""
        load_exactly(self.result, dict(weights), source=source)
        if self.average is not None:
            load_exactly(self.model, dict(state.get("model", weights)), source=source)
            self.average.updates = int(state.get("updates", 0))
        elif "model" in state:  # only the first process has the average, or it is not used any more
            load_exactly(self.model, dict(state["model"]), source=source)
        load_exactly(self.extra, dict(state.get("extra", {})), source=f"{STATE_FILE}, objective.extra,")
        saved = state["optimizer"]
        for group, mine in zip(saved["param_groups"], self.optimizer.param_groups, strict=False):
            group["fused"] = mine["fused"]  # the way a step is computed depends on the machine
            group["scale"] = mine["scale"]  # earlier versions do not store it; it was 1
        self.optimizer.load_state_dict(saved)
        if state.get("scaling"):
            self.scaling.load_state_dict(state["scaling"])


def save_run(run: Path, checkpoint: Checkpoint, config: TrainConfig, learner: Learner, progress: Progress) -> None:
    """Write ``RUN/checkpoint`` completely or not at all, so that model, configuration and state belong to one step."""
    _check_finite(learner, progress)
    with atomic_folder(run / CHECKPOINT_FOLDER, error=CheckpointError) as folder:
        write_checkpoint(checkpoint, folder)
        kept = to_keep(config, run / CHECKPOINT_FOLDER)
        (folder / TRAIN_FILE).write_text(kept.to_toml(), encoding="utf-8")
        state = {**vars(progress), **learner.state(), _WEIGHTS: _digest(folder / WEIGHTS_FILE)}
        try:
            torch.save(state, folder / STATE_FILE)
        except RuntimeError as error:  # torch reports a full disk this way
            raise CheckpointError(f"Cannot write {folder / STATE_FILE}: {error}. Is the disk full?") from error
        former = run / CHECKPOINT_FOLDER
        for file in former.iterdir() if former.is_dir() else ():
            # Other files beside the weights are kept. A calibration knows its weights, and is refused with new ones.
            if file.is_file() and not (folder / file.name).exists():
                shutil.copy2(file, folder / file.name)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from None


def load_run_config(run: Path) -> TrainConfig:
    """The configuration that a run was started with.

    Raises:
        CheckpointError: there is no run. ConfigError: its configuration does not fit this version.
    """
    return load_train_config(_part(run, TRAIN_FILE).parent)


def restore(run: Path, learner: Learner, pids: tuple[int, ...], *, shares: bool = True) -> Progress:
    """Load weights and state into a fresh learner.

    ``shares``: whether processes share each batch, so that an epoch's steps are the same with any number of them.
    """
    path = _part(run, STATE_FILE)
    try:
        state = _read_state(path)
        progress = Progress(
            int(state["epoch"]),
            dict(state["means"]),
            tuple(state.get("pids", pids)),  # runs of earlier versions do not know theirs
            dict(state.get("history", {})),
            int(state.get("step", 0)),
            dict(state.get("sums", {})),
            int(state.get("processes", 1)),
            dict(state.get("data", {})),
            state.get("centres"),
        )
        _check_same_training(progress, pids, run, shares)
        weights = path.with_name(WEIGHTS_FILE)
        check_same_file(learner.model.backbone, path.with_name(CONFIG_FILE))
        if state.get(_WEIGHTS, "") not in ("", _digest(weights)):
            raise CheckpointError(
                f"{weights} and {path.name} beside it were not written together: they do not belong to one step. "
                "Put the whole folder back from one copy, or start a new run in another folder."
            )
        learner.load(read_state_dict(weights), state, source=str(weights))
        return replace(progress, processes=processes.count())
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


def _check_finite(learner: Learner, progress: Progress) -> None:
    """Raise a TrainingError if weights are not finite. They may not be, even if the loss of the step is finite."""
    tensors = {**learner.extra.state_dict(), **learner.model.state_dict(), **learner.result.state_dict()}
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    finite = torch.stack([tensor.isfinite().all() for tensor in floating.values()]).tolist()
    if wrong := [name for name, fine in zip(floating, finite, strict=True) if not fine]:
        raise TrainingError(
            f"Weights are no finite numbers after epoch {progress.epoch} and {progress.step} steps: {wrong[0]}"
            f"{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}. The last checkpoint is kept. Lower "
            "optimizer.learning_rate, or set --precision float32, and check the images."
        )


def _check_same_training(progress: Progress, pids: tuple[int, ...], run: Path, shares: bool) -> None:
    if progress.pids != pids:
        raise CheckpointError(
            f"{run} was trained on other persons: expected the {len(progress.pids)} identities it began with, got "
            f"{len(pids)}{' others' if len(progress.pids) == len(pids) else ''}. Resume with the same data sets."
        )
    if progress.step and not shares and progress.processes != processes.count():
        raise CheckpointError(
            f"{run} stopped within an epoch of {progress.processes} processes, each with its own batches, and there "
            f"are {processes.count()} now. Resume it with as many (torchrun --nproc-per-node)."
        )


def trained_on(run: Path) -> tuple[int, ...] | None:
    """The person of each training class of a run; None where an earlier version did not write them down."""
    path = _part(run, STATE_FILE)
    try:
        pids = _read_state(path).get("pids")
        return None if pids is None else tuple(map(int, pids))
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


_DAMAGED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # of values read


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes can cause any error in PyTorch's reader
        raise _unreadable(path, error) from None
    if not isinstance(state, dict):
        raise _unreadable(path, TypeError(f"it holds a {type(state).__name__}"))
    return state


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, CheckpointError):  # its message is clear already
        return error
    said = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return CheckpointError(f"{path} cannot be read ({said:.200}). Start a new training in another folder.")


def _part(run: Path, name: str) -> Path:
    try:
        path = find_checkpoint(run) / name
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} So there is nothing to resume: begin the training without --resume, or give another run's folder."
        ) from None
    if not path.is_file():
        raise CheckpointError(f"{run} cannot be resumed: it has a model, but no {name}.")
    return path


def checkpoint_stamp(run: Path) -> tuple[int, ...]:
    """A stamp that changes whenever the checkpoint of a run is written."""
    stat = _part(run, STATE_FILE).stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
