"""Losses of your own beside Eq. 5, by name in ``objective.extra`` (docs/extending.md)."""

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
"""Joins the rows of one tensor from several processes, each of which has a part of the batch."""


@dataclass(frozen=True, repr=False)
class LossSetup(Guided):
    """What a loss is told of its training when it is built.

    Attributes:
        num_identities: training classes; each number in ``pid_index`` [B] lies below it.
        width: D of the global, foreground and part embeddings; f_c has K·D.
        parts: names of the K parts.
        gather: [B, ...] of every process as [processes · B, ...], with gradients; alone, the tensor itself. Where
            several processes share a batch, each sees its part of it: a loss that compares images with one another
            gathers them first. The mean of the processes' losses is minimised.
    """

    num_identities: int
    width: int
    parts: tuple[str, ...]
    gather: Gather = lambda rows: rows


class ExtraLosses(nn.Module):
    """The losses of ``objective.extra``: their parameters are trained and resumed with the model's.

    Args:
        weights: of each loss by name; 0 = not applied. setup: for those that are built.

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
        """Each loss by its name, unweighted. Arguments as of :func:`~partreid.losses.objective.objective`.

        Raises:
            ShapeError: a loss is not one number.
        """
        return {name: _number(name, loss(output, pid_index, labels)) for name, loss in self._calls.items()}


def _number(name: str, loss: object) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        got = f"{loss.dtype} {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ShapeError(f"The loss {name!r} must give one floating-point number, a tensor of shape (), got {got}.")
    return loss
