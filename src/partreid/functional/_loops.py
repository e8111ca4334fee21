"""Decides whether compiled loops pay, and how work is divided."""

from __future__ import annotations

from types import ModuleType

_WORTH_COMPILING = 2**27  # for fewer numbers, importing numba takes longer than it saves


def compiled_loops(work: int) -> ModuleType | None:
    """The module of compiled loops, if numba is installed and there is enough work.

    Args:
        work: number of values that the loop processes.
    """
    if work < _WORTH_COMPILING:
        return None
    try:
        from partreid.functional import _compiled
    except ImportError:
        return None
    return _compiled
