"""PyTorch for modules that a command without a network needs too: ``from partreid.lazy import torch``.

It takes a second to import. Here it is imported when the first of its names is used, so that ``partreid gallery info``
and the like start at once. Classes made of PyTorch's (``nn.Module``) need it at once: their modules import it plainly.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeGuard, TypeVar

if TYPE_CHECKING:
    import torch as torch
    from torch import Tensor
else:

    class _Lazy(ModuleType):
        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self.__name__), name)
            setattr(self, name, value)  # the next time it is found without this method
            return value

    torch = _Lazy("torch")

P = ParamSpec("P")
R = TypeVar("R")


def no_grad(function: Callable[P, R]) -> Callable[P, R]:
    """``@torch.no_grad()``, which as a decorator would need PyTorch at once."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad():
            return function(*args, **kwargs)

    return call


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a tensor of PyTorch, which is not imported for it: before that there are none.

    Example:
        >>> is_tensor(torch.ones(2)), is_tensor([1.0, 1.0])
        (True, False)
    """
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(value, kind)
