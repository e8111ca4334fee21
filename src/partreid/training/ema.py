"""An exponential moving average of a model's weights, often better than the weights of the last step."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from partreid.models.network import ReIDNetwork


class WeightAverage:
    """Follows a model's weights: average ← d · average + (1 - d) · weights after every optimiser step.

    The d of step n is min(decay, (1 + n) / (10 + n)), so that a short training does not keep its random start. The
    running statistics of BN layers are averaged too, because they belong to the weights. Counters are copied.

    Args:
        model: the model in training. decay: in (0, 1).

    Attributes:
        model: the average, in evaluation mode. updates: steps that went into it.
    """

    def __init__(self, model: ReIDNetwork, decay: float) -> None:
        self.decay = decay
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def update(self, model: ReIDNetwork) -> None:
        """Add the weights after a step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, theirs = ([*one.parameters(), *one.buffers()] for one in (self.model, model))
        floating = [i for i, tensor in enumerate(mine) if tensor.is_floating_point()]
        average_all = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average_all([mine[i] for i in floating], [theirs[i] for i in floating], 0)
        for average, tensor in zip(mine, theirs, strict=True):
            if not average.is_floating_point():
                average.copy_(tensor)
