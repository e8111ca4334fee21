"""What public objects share: a wrong word is answered by the right one, and a look at one takes a few lines."""

from __future__ import annotations

import ast
import functools
import html
import inspect
import re
import sys
import types
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Union, Unpack, get_args, get_origin, get_type_hints

from partreid.errors import PartReIDError, WrongNameError, WrongTypeError
from partreid.other_words import meant

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 60
"""Characters that one value takes in a ``repr``."""
_FEW = 6
"""So many values of a list are shown one by one."""


def guided(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose wrong calls are answered by what was expected: an unknown or missing argument, or a wrong type.

    Nothing is looked at before the function itself has failed.

    Example:
        >>> def embed(images, *, order="rgb"): ...
        >>> guided(embed)([], color="bgr")
        Traceback (most recent call last):
        partreid.errors.WrongTypeError: embed has no argument 'color'. Did you mean order=? embed(images, *, order)
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (TypeError, AttributeError) as error:
            problem = None if isinstance(error, PartReIDError) else wrong_call(function, args, kwargs)
            if problem is None:
                raise
            raise WrongTypeError(problem) from error

    return call


def wrong_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """What is wrong about the arguments of a call, as far as its signature tells."""
    signature, hints = inspect.signature(function), _hints(function)
    parameters = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
    name = function.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
    keywords = _typed_keywords(signature, hints)
    shown = f"{name}({', '.join([*_shown(parameters), *keywords])})"
    known = [one for one in (*parameters, *keywords) if one not in ("self", "cls")]
    for keyword in kwargs:
        if keyword not in known:
            close = [f"{one}=" if one.isidentifier() else one for one in meant(keyword, known, name.rpartition(".")[2])]
            advice = f" Did you mean {' or '.join(close)}?" if close else ""
            return f"{name} has no argument {keyword!r}.{advice} {shown}"
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        lines = meant(str(error).partition(" ")[0], [], name.rpartition(".")[2])  # "too many ...", "missing ..."
        return f"{name}: {error}. Write {' or '.join([*lines, shown])}"
    for argument, value in bound.arguments.items():
        several = argument in parameters and parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL
        wrong = [one for one in (value if several else [value]) if not _fits(one, hints.get(argument, Any))]
        if argument in parameters and wrong:
            value = wrong[0]
            expected = re.sub(r"\w+\.(?=\w)", "", inspect.formatannotation(hints[argument]))
            return f"{name}: expected {argument} as {expected}, got {value!r:.80} of type {type(value).__name__}."
    return None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments' types, as far as the names in them are known."""
    called = inspect.unwrap(function.__init__ if inspect.isclass(function) else function)
    hints: dict[str, Any] = {}
    late = _LateNames(called.__module__)
    for name, hint in inspect.get_annotations(called).items():
        with suppress(NameError, TypeError, ImportError):
            one = types.SimpleNamespace(__annotations__={name: hint})
            hints |= get_type_hints(one, called.__globals__, late)
    return hints


class _LateNames(dict[str, Any]):
    """Names that a module imports for type checkers alone, because that takes long: imported when asked for."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module
        self._homes: dict[str, str] = {}
        with suppress(OSError):  # an application that was frozen without the source
            tree = ast.parse(inspect.getsource(sys.modules[module]))
            imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
            self._homes = {name.asname or name.name: node.module or "" for node in imports for name in node.names}

    def __missing__(self, name: str) -> Any:
        if name in vars(sys.modules[self._module]) or name not in self._homes:
            raise KeyError(name)
        return getattr(import_module(self._homes[name]), name)


def _shown(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    parts: list[str] = []
    for name, one in parameters.items():
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if name not in ("self", "cls"):
            parts.append(name)
    return parts


def _typed_keywords(signature: inspect.Signature, hints: Mapping[str, Any]) -> list[str]:
    """The keywords of ``**name: Unpack[...]``."""
    names = [one.name for one in signature.parameters.values() if one.kind is one.VAR_KEYWORD and one.name in hints]
    return [
        key for name in names if get_origin(hints[name]) is Unpack for key in get_args(hints[name])[0].__annotations__
    ]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value, with the elements of a list or tuple, can be of an annotated type."""
    kind = get_origin(hint)
    if kind in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if kind is Literal:
        return value in get_args(hint)
    if hint is None or hint is Any:
        return hint is Any or value is None
    items, kind = get_args(hint), kind or hint
    if isinstance(value, list | tuple | str | bytes | set | range) and items[1:] in ((), (...,)) and items:
        return isinstance(value, kind) and all(_fits(one, items[0]) for one in value)
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True
    return isinstance(value, (int, float) if kind is float else kind)


class _Guiding(ABCMeta):
    """Constructors and attributes of classes that answer as :class:`Guided` says."""

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().__call__(*args, **kwargs)
            except (TypeError, AttributeError) as error:
                problem = None if isinstance(error, PartReIDError) else wrong_call(cls, args, kwargs)
                if problem is None:
                    raise
                raise WrongTypeError(problem) from error

        def __getattr__(cls, name: str) -> Any:
            raise _no_attribute(cls, name)

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of the constructor: ``inspect`` would take ``__call__`` above."""
        own = inspect.signature(cls.__init__)  # type: ignore[misc]
        return own.replace(parameters=list(own.parameters.values())[1:], return_annotation=own.empty)


class Guided(metaclass=_Guiding):
    """The base of public objects.

    An unknown attribute or argument, a missing one and one of another type raise an error that names what was meant
    (:mod:`partreid.other_words`). A ``repr`` takes a few lines, however much there is in the object.
    """

    def __init_subclass__(cls) -> None:
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if inspect.isfunction(member):
                setattr(cls, name, guided(member))
            elif isinstance(member, classmethod):
                setattr(cls, name, classmethod(guided(member.__func__)))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if inspect.getattr_static(type(self), name, None) is not None:  # a property that failed: its own words
                return object.__getattribute__(self, name)
            raise _no_attribute(type(self), name)

    def __repr__(self) -> str:
        if not is_dataclass(self):
            return object.__repr__(self)
        told = (f"{one.name}={brief(getattr(self, one.name))}" for one in fields(self) if one.repr)
        return f"{type(self).__name__}({', '.join(told)})"


def _no_attribute(cls: type, name: str) -> WrongNameError:
    """What to say of an attribute that is not there; Python itself asks for many that begin with an underscore."""
    if name.startswith("_"):
        return WrongNameError(f"{cls.__name__} has no attribute {name!r}.")
    known = [one for one in dir(cls) if not one.startswith("_")]
    known += [one.name for one in fields(cls) if one.name not in known] if is_dataclass(cls) else []
    written = [_written(cls, one) for one in meant(name, known, cls.__name__)]
    return WrongNameError(
        f"{cls.__name__} has no {name!r}. "
        + (f"Write {' or '.join(written)}." if written else f"It has: {', '.join(known)}.")
    )


def _written(cls: type, name: str) -> str:
    """How an attribute is used."""
    member = inspect.getattr_static(cls, name, None)
    function = getattr(member, "__func__", member)
    if not inspect.isfunction(function):
        return f".{name}" if name.isidentifier() else name
    needed = [one.name for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    owner = cls.__name__ if isinstance(member, classmethod) else ""
    return f"{owner}.{name}({', '.join(one for one in needed if one not in ('self', 'cls', 'conditions'))})"


def brief(value: object) -> str:
    """A value in at most a line.

    Example:
        >>> brief(list(range(1000))), brief({"a": 1}), len(brief("x" * 100))
        ('[1000 items]', "{'a': 1}", 60)
    """
    if getattr(value, "ndim", 0) and hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        brackets = {list: "[]", tuple: "()"}.get(type(value), "{}")
        inner = f"{len(value)} items"
        if len(value) <= _FEW:
            pairs = value.items() if isinstance(value, Mapping) else ((None, one) for one in value)
            text = ", ".join(f"{key!r}: " * isinstance(value, Mapping) + brief(one) for key, one in pairs)
            inner = text if len(text) < _LONGEST else inner
        return brackets[:1] + inner + brackets[1:]
    text = " ".join(repr(value).split())
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[: half - 1]}...{text[2 - half :]}"


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for a notebook; every text is escaped.

    Example:
        >>> html_table("Scores", ["rank-1"], [["<b>"]])
        '<table><caption>Scores</caption><tr><th>rank-1</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """

    def row(cells: Iterable[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    lines = "".join(row(cells, "td") for cells in rows)
    return f"<table><caption>{html.escape(caption)}</caption>{row(head, 'th')}{lines}</table>"
