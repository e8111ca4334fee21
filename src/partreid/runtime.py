"""Where things run: device, arithmetic, memory. Never stored with a model."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from partreid.config import ConfigModel
from partreid.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]


class RuntimeConfig(ConfigModel):
    """Where a training or an evaluation runs."""

    device: str = "auto"
    """"auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps"."""
    precision: Precision = "auto"
    """Arithmetic of the network: "auto" takes bfloat16 where the device computes it fast, else float32."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Threads that read training pictures ahead; 0 reads them between the steps."""
    cache_mib: Annotated[int, Field(ge=0)] = 2048
    """Memory for training pictures that are kept decoded after their first reading, in MiB; 0 keeps none."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Pictures at once when embedding."""


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" takes a GPU if there is one.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        for kind, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
            if there:
                return torch.device(kind)
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise ConfigError(f"Device {name!r} cannot be used here: {reason}. Try --device auto or cpu.") from None
    return device


def computes_in_bfloat16(device: torch.device, precision: Precision) -> bool:
    """Whether the network runs in bfloat16; "auto" only where the device has matrix units for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_matrix_units = getattr(torch.cpu, "_is_amx_tile_supported", None)  # not a promised part of PyTorch
    return device.type == "cpu" and has_matrix_units is not None and bool(has_matrix_units())


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialised tensor for a whole batch.

    On the CPU the memory is NumPy's, which asks Linux for huge pages. New memory is mapped when it is first written to:
    in small pages that takes longer than what is written (a batch of 64 pictures, 25 MB as float32, is 6,000 of them).
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)
