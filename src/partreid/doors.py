"""The door of a package: its public names, each loaded when it is first asked for (PEP 562).

So ``import partreid`` and ``partreid --help`` load neither PyTorch nor anything else that they do not use.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec


def door(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Its public names stand in ``__all__``. Where each is defined is read from the package's own imports, those under
    ``if TYPE_CHECKING``: type checkers and editors see the same. Submodules are found as well:
    ``import partreid; partreid.tracking.Tracklet``.
    """
    module = sys.modules[package]
    public: list[str] = module.__all__

    @cache
    def homes() -> dict[str, str]:
        imports = (node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom))
        return {name.name: node.module or "" for node in imports for name in node.names}

    def load(name: str) -> object:
        if name in public:
            value: object = getattr(import_module(homes()[name]), name)
        elif not name.startswith("_") and find_spec(f"{package}.{name}"):
            value = import_module(f"{package}.{name}")
        else:
            near = "".join(f" Did you mean {word!r}?" for word in get_close_matches(name, public, n=1))
            raise AttributeError(f"{package} has no {name!r}.{near or f' dir({package}) lists what it has.'}")
        setattr(module, name, value)
        return value

    return load, lambda: list(public)
