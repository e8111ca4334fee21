"""Callbacks of the training loop at every step and epoch: progress bars, TensorBoard, and your own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from partreid.errors import MissingDependencyError, needs_extra
from partreid.objects import Guided


@dataclass(frozen=True, repr=False)
class StepRecord(Guided):
    """One training step: ``epoch`` and ``step`` from 0, ``values`` by name (losses, rate, images a second)."""

    epoch: int
    step: int
    steps_in_epoch: int
    values: Mapping[str, float]


class TrainingCallback(Guided):
    """Called at every step and after every epoch, in the first process only; a subclass overrides what it needs.

    Example:
        >>> class Print(TrainingCallback):
        ...     def on_epoch(self, epoch, means):
        ...         print(epoch, means["loss"])
        >>> Trainer("light", "market1501", "runs/light", callbacks=[Print()]).fit()  # doctest: +SKIP
    """

    def on_step(self, record: StepRecord) -> None:
        """A step was taken; its values were read from the device, up to ten steps at a time on a GPU."""

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """An epoch, counted from 0, ended and its checkpoint is written; ``means`` of its steps."""

    def close(self) -> None:
        """Training ended, or failed."""


class TensorBoardCallback(TrainingCallback):
    """Writes every epoch's means to ``<run>/logs`` for TensorBoard; steps would make the files large.

    Raises:
        MissingDependencyError: the extra ``tensorboard`` is not installed.
    """

    def __init__(self, run: Path) -> None:
        with needs_extra("tensorboard", "A training with TensorBoard"):
            import tensorboard  # noqa: F401 - Lightning's logger needs it
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        self._logger = TensorBoardLogger(root_dir=run, name="logs", version="")

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """One point per value."""
        self._logger.log_metrics(dict(means), step=epoch + 1)

    def close(self) -> None:
        """Flush and close the file."""
        self._logger.finalize("success")


def tensorboard(run: Path) -> tuple[TensorBoardCallback, ...]:
    """The callback, or none if TensorBoard is not installed; ``metrics.json`` contains the same numbers."""
    with suppress(MissingDependencyError):
        return (TensorBoardCallback(run),)
    return ()
