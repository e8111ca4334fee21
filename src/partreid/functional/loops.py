"""Whether compiled loops are worth having, and how work is cut."""

from __future__ import annotations

import math
from types import ModuleType

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
        from partreid.functional import _compiled
    except ImportError:
        return None
    return _compiled


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
