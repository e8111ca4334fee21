"""The values of training steps, read from the device a few steps at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from partreid.errors import TrainingError
from partreid.training.callbacks import StepRecord

STEPS_BETWEEN_READINGS = 10
"""Steps between two readings on a GPU, because reading waits for all work given to the GPU."""


class Meter:
    """Collects each step's values, and reads them as numbers from time to time; on a CPU at every step.

    Args:
        device: of the values. mean: function that averages a tensor over all processes.
    """

    def __init__(self, device: torch.device, mean: Callable[[Tensor], Tensor]) -> None:
        self._every = 1 if device.type == "cpu" else STEPS_BETWEEN_READINGS
        self._mean = mean
        self._unread: list[tuple[StepRecord, int, Tensor]] = []
        self._names: tuple[str, ...] = ()
        self._since = time.perf_counter()

    def add(self, record: StepRecord, losses: Sequence[Mapping[str, Tensor]], *, images: int) -> None:
        """Add a step: scalars by name for each of its batches. ``images``: number of images of all processes."""
        self._names = tuple(losses[0])
        values = torch.stack([torch.stack([one[name].detach().float() for name in self._names]) for one in losses])
        self._unread.append((record, images, values.mean(dim=0)))

    @property
    def due(self) -> bool:
        """Whether to read now: after some steps, and at the end of an epoch. It is the same in every process."""
        last, _, _ = self._unread[-1]
        return len(self._unread) >= self._every or last.step + 1 == last.steps_in_epoch

    def read(self) -> list[StepRecord]:
        """The steps since the last reading, with means over their batches and all processes.

        Raises:
            TrainingError: one of them is not finite; every process raises it.
        """
        rows = self._mean(torch.stack([values for _, _, values in self._unread])).tolist()
        now = time.perf_counter()
        speed = {"images_per_second": sum(count for _, count, _ in self._unread) / (now - self._since)}
        self._since = now
        records = [
            replace(record, values={**dict(zip(self._names, row, strict=True)), **record.values, **speed})
            for (record, _, _), row in zip(self._unread, rows, strict=True)
        ]
        self._unread.clear()
        for record in records:
            if wrong := [name for name, value in record.values.items() if not math.isfinite(value)]:
                raise TrainingError(
                    f"The loss is not a finite number in epoch {record.epoch + 1}, step {record.step + 1}: "
                    f"{', '.join(wrong)}. The last checkpoint is kept. Lower optimizer.learning_rate, or set "
                    "--precision float32, and check the images."
                )
        return records
