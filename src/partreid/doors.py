"""The door of a package: its public names, each loaded when it is first asked for (PEP 562).

So ``import partreid`` and ``partreid --help`` load neither PyTorch nor anything else that they do not use.
"""

from __future__ import annotations

import ast
import dis
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import walk_packages
from types import ModuleType

from partreid.errors import WrongImportError, WrongNameError
from partreid.other_words import meant


def door(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Its public names stand in ``__all__``. Where each is defined is read from the package's own imports, those under
    ``if TYPE_CHECKING``: type checkers and editors see the same. Submodules are found as well:
    ``import partreid; partreid.tracking.Tracklet``. A name that is not there is answered by what was meant.
    """
    module = sys.modules[package]
    public: list[str] = module.__all__

    @cache
    def homes() -> dict[str, str]:
        try:
            source = inspect.getsource(module)
        except OSError:
            source = ""  # an application that was frozen without it
        imports = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
        return {name.name: node.module or "" for node in imports for name in node.names}

    def load(name: str) -> object:
        if name in public:
            value: object = getattr(import_module(homes().get(name) or _home(package, name)), name)
        elif not name.startswith("_") and find_spec(f"{package}.{name}"):
            value = import_module(f"{package}.{name}")
        else:
            near = meant(name, public, "partreid")
            advice = f"Did you mean {near[0]!r}?" if near and near[0] in public else f"Write {' or '.join(near)}."
            problem = f"{package} has no {name!r}. {advice if near else f'dir({package}) lists what it has.'}"
            asking = sys._getframe(1)
            # Python turns an AttributeError of "from partreid import ..." into an ImportError without these words.
            if dis.opname[asking.f_code.co_code[asking.f_lasti]] == "IMPORT_FROM":
                raise WrongImportError(problem, name=package)
            raise WrongNameError(problem)
        setattr(module, name, value)
        return value

    return load, lambda: list(public)


def _home(package: str, name: str) -> str:
    """The module of a package that defines a name, found by importing one after the other: slow, but without source."""
    for found in walk_packages(sys.modules[package].__path__, f"{package}."):
        if "._" not in found.name and ".cli" not in found.name:  # commands have the names of what they call
            with suppress(ImportError):  # of an optional library
                if not isinstance(getattr(import_module(found.name), name, sys), ModuleType):
                    return found.name
    raise WrongNameError(f"No module of this application defines {name!r}. Include all of {package} in it.")
