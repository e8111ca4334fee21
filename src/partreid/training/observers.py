"""What watches a training: progress bars, TensorBoard. The loop calls them; they never change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class StepRecord:
    """One training step: ``epoch`` and ``step`` from 0, ``values`` by name (losses, rate, images a second)."""

    epoch: int
    step: int
    steps_in_epoch: int
    values: Mapping[str, float]


class TrainingObserver(Protocol):
    """Told of every step and of every finished epoch."""

    def on_step(self, record: StepRecord) -> None:
        """A step was taken."""

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """An epoch ended and its checkpoint is written; ``means`` of its steps."""

    def close(self) -> None:
        """Training ended, or failed."""


class TensorBoardObserver:
    """Writes every epoch's means to ``<run>/logs`` for TensorBoard."""

    def __init__(self, run: Path) -> None:
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        self._logger = TensorBoardLogger(root_dir=run, name="logs", version="")

    def on_step(self, record: StepRecord) -> None:
        """Nothing: epochs are enough to see a trend, and keep the files small."""

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """One point per value."""
        self._logger.log_metrics(dict(means), step=epoch + 1)

    def close(self) -> None:
        """Flush and close the file."""
        self._logger.finalize("success")
