"""Where things run: device, arithmetic, memory. Never stored with a model."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from partreid import processes
from partreid.base_config import ConfigModel
from partreid.errors import ConfigError
from partreid.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Arithmetic = Literal["float32", "bfloat16", "float16"]


class RuntimeConfig(ConfigModel):
    """Where a training or an evaluation runs."""

    device: str = "auto"
    """"auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps"."""
    precision: Precision = "auto"
    """Arithmetic of the network: "auto" takes bfloat16 where device and backbone gain from it, else float32;
    "float16" is for GPUs without bfloat16, and scales the loss in training."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Threads that read training images ahead; 0 reads them between the steps."""
    cache_mib: Annotated[int, Field(ge=0)] = 2048
    """Memory for training images that are kept decoded after their first reading, in MiB; 0 keeps none."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Images at once when embedding."""
    compile: bool = False
    """Whether training runs through torch.compile, which needs a C++ compiler and a minute at the start."""
    save_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Minutes between checkpoints within an epoch, beside the one at its end; 0 = none within."""


def runtime_of(
    runtime: RuntimeConfig | None, *, device: object = None, precision: object = None, batch_size: object = None
) -> RuntimeConfig:
    """Where to run, said as one object or by its everyday fields.

    Args:
        runtime: the whole. device: "cpu", "cuda:1", a number (of a GPU) or PyTorch's device. precision, batch_size: as
            the fields. None = not said.

    Raises:
        ConfigError: it is said in both ways, or a value does not fit.

    Example:
        >>> runtime_of(None, device=1, batch_size=8).device
        'cuda:1'
    """
    fields = {"device": device, "precision": precision, "batch_size": batch_size}
    said: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if not said:
        return RuntimeConfig.given(runtime)
    if runtime is not None:
        raise ConfigError(f"Give either runtime=RuntimeConfig(...) or {'=..., '.join(said)}=..., not both.")
    if "device" in said:
        said["device"] = f"cuda:{device}" if type(device) is int else str(device)
    return RuntimeConfig(**said)


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" takes a GPU if there is one, under torchrun that of this process.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    several = processes.launched()
    if name == "auto":
        for kind, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
            if there and not several:
                return torch.device(kind)
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if several and name not in ("cpu", "cuda"):
        raise ConfigError(f"Under torchrun each process has its own device: expected --device cpu or cuda, got {name}.")
    try:
        device = torch.device(name, processes.local_rank()) if several and name == "cuda" else torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise ConfigError(f"Device {name!r} cannot be used here: {reason}. Try --device auto or cpu.") from None
    return device


def resolve_arithmetic(device: torch.device, precision: Precision, *, gains: bool = True) -> Arithmetic:
    """The arithmetic of a network on a device; "auto" takes bfloat16 where the device has matrix units for it.

    Args:
        device: where. precision: what was asked for.
        gains: whether the network is quicker in bfloat16 on a CPU with such units; depthwise convolutions are not.

    Raises:
        ConfigError: float16 without a GPU: there it is slower than float32, and less exact.
    """
    if precision == "float16" and device.type != "cuda":
        raise ConfigError(f"Precision float16 needs an NVIDIA or AMD GPU, got {device.type}. Take bfloat16 or float32.")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has_matrix_units = getattr(torch.cpu, "_is_amx_tile_supported", None)  # not a promised part of PyTorch
    fast = gains and device.type == "cpu" and has_matrix_units is not None and has_matrix_units()
    return "bfloat16" if fast else "float32"


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library can be told so (Linux).

    The library gives blocks of many megabytes back to the system and asks for them again at every feature map, page by
    page: 7 % of the processor time of a light training step (docs/performance.md), a quarter of embedding's with the
    light model (docs/embed.md).
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def check_compiler() -> None:
    """Whether torch.compile can work here.

    Raises:
        ConfigError: there is no C++ compiler.
    """
    known = (os.environ.get("CXX", "").split(" ")[0], "g++", "clang++", "cl")
    if not any(name and shutil.which(name) for name in known):
        raise ConfigError(
            "torch.compile needs a C++ compiler, and none was found (g++, clang++, $CXX). Install one, or leave "
            "--compile away."
        )


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialised tensor for a whole batch.

    On the CPU the memory is NumPy's, which asks Linux for huge pages. New memory is mapped when it is first written to:
    in small pages that takes longer than what is written (a batch of 64 images, 25 MB as float32, is 6,000 of them).
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)
