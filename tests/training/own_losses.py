"""Losses as other packages have them: with parameters, over the whole batch, and a plain function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partreid.losses.extra import LOSSES, LossSetup
from partreid.types import ModelOutput


@LOSSES.register("test-center")
class CenterLoss(nn.Module):
    """Squared distance of foreground embeddings to a learned center of their person (Wen et al. 2016)."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(setup.num_identities, setup.width))

    def forward(self, output: ModelOutput, pid_index: Tensor, labels: Tensor | None) -> Tensor:
        return (output.features.foreground - self.centers[pid_index]).square().sum(dim=1).mean()


@LOSSES.register("test-spread")
class SpreadLoss:
    """Mean distance of all pairs of the whole batch."""

    def __init__(self, setup: LossSetup) -> None:
        self.gather = setup.gather

    def __call__(self, output: ModelOutput, pid_index: Tensor, labels: Tensor | None) -> Tensor:
        rows = self.gather(output.features.global_)
        return (rows[:, None] - rows).square().sum(dim=2).mean()


@LOSSES.register("test-visible")
def visible(output: ModelOutput, pid_index: Tensor, labels: Tensor | None) -> Tensor:
    """One minus the mean attention outside the background."""
    return output.attention[:, 0].mean()
