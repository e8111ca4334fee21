"""A run folder, and what makes an interrupted training go on as if nothing had happened.

::

    RUN/checkpoint/   config.json, model.safetensors, metrics.json; train.toml, train_state.pt to resume
    RUN/logs/         TensorBoard
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partreid.errors import CheckpointError
from partreid.files import atomic_folder
from partreid.models.backbones.weights import load_exactly, read_state_dict
from partreid.models.checkpoint import (
    CHECKPOINT_FOLDER,
    WEIGHTS_FILE,
    Checkpoint,
    find_checkpoint,
    write_checkpoint,
)
from partreid.training.config import TrainConfig

CONFIG_FILE, STATE_FILE = "train.toml", "train_state.pt"


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: epochs done. means: of the last epoch's steps.
        pids: the person of each training class. Without the sets' names, so that a folder may be moved.
        history: the means of every epoch by its number, counted from 1. Runs begun with earlier versions lack theirs.
    """

    epoch: int
    means: dict[str, float]
    pids: tuple[int, ...]
    history: Mapping[int, dict[str, float]] = field(default_factory=dict)

    def after(self, means: dict[str, float]) -> Progress:
        """Progress after one more epoch with these means."""
        epoch = self.epoch + 1
        return Progress(epoch, means, self.pids, {**self.history, epoch: means})

    def metrics(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """What stands in the checkpoint's ``metrics.json``; ``environment`` of the last epoch."""
        history = [{"epoch": epoch, **means} for epoch, means in self.history.items()]
        return {"epoch": self.epoch, "train": self.means, "history": history, "environment": dict(environment)}


def save_run(
    run: Path, checkpoint: Checkpoint, config: TrainConfig, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write ``RUN/checkpoint`` whole or not at all: model, configuration and state belong to one epoch.

    Raises:
        CheckpointError: it cannot be written; the former checkpoint is unchanged.
    """
    with atomic_folder(run / CHECKPOINT_FOLDER, error=CheckpointError) as folder:
        write_checkpoint(checkpoint, folder)
        (folder / CONFIG_FILE).write_text(config.to_toml(), encoding="utf-8")
        state = {**vars(progress), "optimizer": optimizer.state_dict()}
        try:
            torch.save(state, folder / STATE_FILE)
        except RuntimeError as error:  # torch reports a full disk so
            raise CheckpointError(f"Cannot write {folder / STATE_FILE}: {error}. Is the disk full?") from error


def load_run_config(run: Path) -> TrainConfig:
    """The configuration that a run was started with.

    Raises:
        CheckpointError: there is no run. ConfigError: its configuration does not fit this version.
    """
    return TrainConfig.load(_part(run, CONFIG_FILE))


def restore(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, pids: tuple[int, ...]) -> Progress:
    """Load weights and optimiser state into fresh ones.

    Args:
        run: its folder. model, optimizer: to load into. pids: as in :class:`Progress`, of the training now.

    Raises:
        CheckpointError: there is nothing to resume, or it does not fit: each class would be another person, for one.
    """
    path = _part(run, STATE_FILE)
    try:
        state = _read_state(path)
        known = state.get("pids", pids)  # runs of earlier versions do not know theirs
        progress = Progress(int(state["epoch"]), dict(state["means"]), tuple(known), dict(state.get("history", {})))
        if progress.pids != pids:
            raise CheckpointError(
                f"{run} was trained on other persons: expected the {len(progress.pids)} identities it began with, got "
                f"{len(pids)}{' others' if len(progress.pids) == len(pids) else ''}. Resume with the same data sets."
            )
        load_exactly(model, read_state_dict(path.with_name(WEIGHTS_FILE)), source=str(path.with_name(WEIGHTS_FILE)))
        optimizer.load_state_dict(state["optimizer"])
        return progress
    except _DAMAGED as error:
        if isinstance(error, CheckpointError):
            raise
        raise _unreadable(path, error) from None


def trained_on(run: Path) -> tuple[int, ...] | None:
    """The person of each training class of a run; None where an earlier version did not write them down.

    Raises:
        CheckpointError: there is no run, or its state cannot be read.
    """
    path = _part(run, STATE_FILE)
    try:
        pids = _read_state(path).get("pids")
    except _DAMAGED as error:
        raise _unreadable(path, error) from None
    return None if pids is None else tuple(pids)


_DAMAGED = (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError)


def _read_state(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read ({error}). Start the training anew in another folder.")


def _part(run: Path, name: str) -> Path:
    path = find_checkpoint(run) / name
    if not path.is_file():
        raise CheckpointError(f"{run} cannot be resumed: it has a model, but no {name}.")
    return path
