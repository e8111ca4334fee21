"""Training on several devices with one process each, started by torchrun, and their communication at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from partreid import processes
from partreid.runtime import Arithmetic

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}

Network = TypeVar("Network", bound=nn.Module)


def start_fabric(device: torch.device, arithmetic: Arithmetic) -> Fabric:
    """A Fabric that places a model, averages its gradients over all processes, and computes in the requested
    arithmetic.

    Args:
        device: of this process. arithmetic: of the network; its weights stay float32.
    """
    # Imported here, because it takes a second that other commands should not wait for.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    precision = _PRECISION[arithmetic]
    # In a Slurm job its own guess would be wrong, and no curves would be written.
    rank_zero_only.rank = processes.rank()  # type: ignore[attr-defined]
    if not processes.launched():
        devices = 1 if device.index is None else [device.index]
        return Fabric(
            accelerator=device.type,
            devices=devices,
            precision=precision,  # type: ignore[arg-type]
            plugins=LightningEnvironment(),  # otherwise a job of Slurm, LSF or MPI would count as several processes
        )
    processes.join(device)
    fabric = Fabric(
        accelerator=device.type,
        devices=processes.local_count(),
        num_nodes=processes.count() // processes.local_count(),
        # The identity classifiers of regions without an identity loss get no gradient.
        strategy=DDPStrategy(find_unused_parameters=True),
        precision=precision,  # type: ignore[arg-type]
        plugins=TorchElasticEnvironment(),
    )
    fabric.launch()
    return fabric


def gather(tensor: Tensor) -> Tensor:
    """[B, ...] of every process as [processes · B, ...]; gradients flow back.

    Each process must have as many rows. If all processes compute the same loss from the gathered rows, averaging their
    gradients gives the gradient of that loss.
    """
    if tensor.dtype in (torch.bfloat16, torch.float16):  # not every backend can sum them
        tensor = tensor.float()
    gathered: Tensor = _Gather.apply(tensor.contiguous())  # type: ignore[no-untyped-call]
    return gathered


def synchronize_batchnorm(model: Network, device: torch.device) -> Network:
    """The model with BN statistics over the batches of all processes. Its state-dict keys do not change."""
    if device.type == "cuda":
        return cast(Network, nn.SyncBatchNorm.convert_sync_batchnorm(model))  # type: ignore[no-untyped-call]
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = _SyncedBatchNorm
    return model


def _sum(tensor: Tensor) -> Tensor:
    """Over all processes."""
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(processes.count())]
        distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient).chunk(processes.count())[processes.rank()]


class _Sum(torch.autograd.Function):
    """The sum over all processes. Its gradient is that of the sum of all their losses."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _sum(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient)


class _SyncedBatchNorm(_BatchNorm):
    """BN over all processes in plain operations, because PyTorch's own only runs on GPUs."""

    def _check_input_dim(self, input: Tensor) -> None:
        return

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] → the same shape, normalised over all axes except C."""
        if not self.training or self.running_mean is None or self.running_var is None or self.momentum is None:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input if input.dtype == torch.float64 else input.float()
        number = input.numel() // input.shape[1] * processes.count()
        mean: Tensor = _Sum.apply(values.sum(dims)) / number  # type: ignore[no-untyped-call]
        centred = values - mean.view(shape)
        variance: Tensor = _Sum.apply(centred.square().sum(dims)) / number  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(variance.detach() * number / (number - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)
