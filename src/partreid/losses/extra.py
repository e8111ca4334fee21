"""Your own losses in addition to Eq. 5, by name in ``objective.extra`` (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from partreid.errors import ShapeError
from partreid.losses.loss_config import LOSSES
from partreid.objects import Guided
from partreid.types import ModelOutput

Gather: TypeAlias = Callable[[Tensor], Tensor]
"""Joins a tensor's rows from several processes. Each process has a part of the batch."""


@dataclass(frozen=True, repr=False)
class LossSetup(Guided):
    """Facts about the training, given to a loss when it is built.

    Attributes:
        num_identities: training classes; each number in ``pid_index`` [B] lies below it.
        width: D of the global, foreground and part embeddings; f_c has K·D.
        parts: names of the K parts.
        gather: joins [B, ...] of all processes to [processes · B, ...], with gradients. With one process it returns the
            tensor itself. If several processes share a batch, each sees only its part, so a loss that compares images
            with one another must gather them first. The mean of the processes' losses is minimised.
    """

    num_identities: int
    width: int
    parts: tuple[str, ...]
    gather: Gather = lambda rows: rows


class ExtraLosses(nn.Module):
    """The losses of ``objective.extra``. Their parameters are trained, saved and resumed together with the model's.

    Args:
        weights: of each loss by name; 0 = not applied. setup: for losses that are classes.

    Raises:
        ConfigError: there is no loss of such a name.
    """

    def __init__(self, weights: Mapping[str, float], setup: LossSetup) -> None:
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self._calls: dict[str, Callable[..., object]] = {}
        for name in self.weights:
            loss = LOSSES[name]
            self._calls[name] = built = loss(setup) if isinstance(loss, type) else loss
            if isinstance(built, nn.Module):
                self.add_module(f"loss_{name}", built)

    def forward(self, output: ModelOutput, pid_index: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """Each loss by its name, unweighted. Arguments as for :func:`~partreid.losses.objective.objective`.

        Raises:
            ShapeError: a loss is not a single number.
        """
        return {name: _number(name, loss(output, pid_index, labels)) for name, loss in self._calls.items()}


def _number(name: str, loss: object) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        got = f"{loss.dtype} {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ShapeError(f"The loss {name!r} must give one floating-point number, a tensor of shape (), got {got}.")
    return loss
