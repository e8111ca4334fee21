"""Whether compiled loops are worth having, and how work is cut."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

_WORTH_COMPILING = 2**27  # numbers to work on; below, importing numba takes longer than it saves


def compiled_loops(work: int) -> ModuleType | None:
    """The module of compiled loops, where numba is installed and the work is large enough.

    Args:
        work: how many numbers the loop goes through.

    Example:
        >>> compiled_loops(1000) is None
        True
    """
    if work < _WORTH_COMPILING:
        return None
    try:
        from partreid.functional import compiled
    except ImportError:
        return None
    return compiled


def even_slices(count: int, largest: int) -> list[slice]:
    """``count`` things in as few slices of at most ``largest`` (at least 1) as can be, alike in size.

    Example:
        >>> even_slices(7, 3)
        [slice(0, 3, None), slice(3, 6, None), slice(6, 7, None)]
    """
    if not count:
        return []
    step = math.ceil(count / math.ceil(count / max(1, largest)))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def room(*shape: int, like: Tensor) -> Tensor:
    """An empty tensor of the type and on the device of another.

    On a CPU NumPy makes it: it asks Linux for large pages, which are several times quicker to come by.

    Example:
        >>> room(2, 3, like=torch.zeros(1)).shape
        torch.Size([2, 3])
    """
    if like.device.type != "cpu" or like.dtype not in (torch.float32, torch.float64):
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, np.float32 if like.dtype == torch.float32 else np.float64))
