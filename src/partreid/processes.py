"""Several processes that work as one, started by torchrun: which of them this is, and what they tell each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # whoever only asks which process this is waits for no PyTorch
    import torch

T = TypeVar("T")


def launched() -> bool:
    """Whether torchrun started this process together with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and _number("WORLD_SIZE", 1) > 1


def rank() -> int:
    """Which process this is, of all on all machines; the first is 0."""
    return _number("RANK", 0) if launched() else 0


def count() -> int:
    """Processes on all machines together."""
    return _number("WORLD_SIZE", 1) if launched() else 1


def local_rank() -> int:
    """Which process this is on its machine."""
    return _number("LOCAL_RANK", 0) if launched() else 0


def local_count() -> int:
    """Processes on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1) if launched() else 1


def is_first() -> bool:
    """Whether this process writes and prints."""
    return rank() == 0


def join(device: torch.device) -> None:
    """Connect with the other processes: by NCCL between GPUs, else by gloo. Nothing happens where there are none."""
    if not launched():
        return
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave() -> None:
    """End the connection, after work that went well; after an error torchrun ends the other processes."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def gather_to_first(thing: T) -> list[T]:
    """What every process holds, in the order of their ranks, in the first one; nothing in the others.

    Alone, a process gathers its own. Every process must call it.
    """
    if not launched():
        return [thing]
    from torch import distributed

    things: list[T | None] | None = [None] * count() if is_first() else None
    distributed.gather_object(thing, things)
    return [one for one in things or () if one is not None]


def _number(name: str, otherwise: int) -> int:
    return int(os.environ.get(name, otherwise))
