"""Batch norms with other statistics than those of the training.

The network itself is not changed. Instead the input x of a batch norm is scaled and shifted to x'. The norm still uses
its own mean m and variance v, but its output is the one for a mean m' and a variance v': (x' - m)/√v = (x - m')/√v'.
This also works for layers that do more after the norm, and an image that needs no change passes unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Statistics(NamedTuple):
    """Mean and variance of every channel: [..., C] float32."""

    mean: Tensor
    variance: Tensor


class Change(NamedTuple):
    """Factor and summand for every channel of a batch norm's input: [..., C] float32."""

    scale: Tensor
    shift: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Apply a change to x [N, C, ...]: [C] for all images, or [N, C] for each."""
        scale, shift = (one.view(-1, x.shape[1], *[1] * (x.ndim - 2)) for one in self)
        return torch.addcmul(shift, x.float(), scale).to(x.dtype)


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """A network's batch norms with stored statistics, by name."""
    found = {name: one for name, one in model.named_modules() if isinstance(one, _BatchNorm)}
    return {name: one for name, one in found.items() if one.running_mean is not None and one.running_var is not None}


def trained(norm: _BatchNorm) -> Statistics:
    """A batch norm's own statistics, [C]."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return Statistics(norm.running_mean.float(), norm.running_var.float())


def change_to(norm: _BatchNorm, wanted: Statistics) -> Change:
    """The change of the input by which a batch norm works with other statistics, [C] or [cameras, C]."""
    own = trained(norm)
    scale = ((own.variance + norm.eps) / (wanted.variance + norm.eps)).sqrt()
    return Change(scale, own.mean - wanted.mean * scale)


@contextmanager
def changed(norms: Mapping[str, _BatchNorm], change: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Within the block, a batch norm gets ``change(name, x)`` instead of its input x. This affects this thread only."""
    me = threading.get_ident()

    def before(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...] | None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            return (change(name, inputs[0]),) if threading.get_ident() == me else None

        return hook

    handles = [norm.register_forward_pre_hook(before(name)) for name, norm in norms.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Gathered:
    """Mean and variance of one batch norm's input over all batches so far, in float64."""

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Include a batch [N, C, ...]."""
        values = x.detach().float().transpose(0, 1).flatten(1)  # [C, numbers of a channel]
        variance, mean = torch.var_mean(values, dim=1, correction=0)
        count, mean, squares = values.shape[1], mean.double().cpu(), variance.double().cpu() * values.shape[1]
        if self._count:
            both, step = self._count + count, mean - self._mean
            squares = self._squares + squares + step.square() * (self._count * count / both)
            count, mean = both, self._mean + step * (count / both)
        self._count, self._mean, self._squares = count, mean, squares

    def mixed(self, own: Statistics, weight: float) -> Statistics:
        """A mixture: ``weight`` of the gathered statistics, the rest of the network's own."""
        gathered = (self._mean.to(own.mean), (self._squares / self._count).to(own.mean))
        return Statistics(*(torch.lerp(old, new, weight) for old, new in zip(own, gathered, strict=True)))
