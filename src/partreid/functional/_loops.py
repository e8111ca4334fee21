"""Whether compiled loops are worth having, and how work is cut."""

from __future__ import annotations

from types import ModuleType

_WORTH_COMPILING = 2**27  # numbers to work on; below, importing numba takes longer than it saves


def compiled_loops(work: int) -> ModuleType | None:
    """The module of compiled loops, where numba is installed and the work is large enough.

    Args:
        work: how many numbers the loop goes through.
    """
    if work < _WORTH_COMPILING:
        return None
    try:
        from partreid.functional import _compiled
    except ImportError:
        return None
    return _compiled
