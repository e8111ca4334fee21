"""Where things run: device and arithmetic. Never stored with a model."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

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
    """Processes that read pictures; 0 reads in the training process."""
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
