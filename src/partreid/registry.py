"""What a name stands for: partreid's own things, and those of other packages (docs/extending.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, overload

from partreid.errors import ConfigError, PartReIDError, nearest, warn

T = TypeVar("T", bound=Callable[..., Any])
S = TypeVar("S")


class Registry(Generic[T]):
    """Functions and classes of one kind by name.

    A name is known if it is partreid's own, if this process registered it, or if an installed package has an entry
    point of that name. Only the last is known to new processes and to the commands as well. Nothing is imported before
    its name is asked for. A name that ends with a slash stands for all that begin with it: ``timm/``.

    Args:
        kind: what they are, for messages. group: of the entry points.
        own: partreid's, by name; a text is a place, ``module:object``, as in an entry point.

    Attributes:
        own: the names of partreid's that nobody replaced.

    Example:
        >>> rules = Registry("rule", group="partreid.examples", own={"root": "math:sqrt"})
        >>> @rules.register("half")
        ... def half(x):
        ...     return x / 2
        >>> rules.names(), rules["root"](9.0), rules["half"](9.0)
        (('half', 'root'), 3.0, 4.5)
    """

    def __init__(self, kind: str, *, group: str, own: Mapping[str, T | str] | None = None) -> None:
        self.kind, self.group, self.own = kind, group, set(own or ())
        self._here: dict[str, T | EntryPoint] = {
            name: EntryPoint(name, thing, group) if isinstance(thing, str) else thing
            for name, thing in (own or {}).items()
        }

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self.names())})"

    @overload
    def register(self, name: str, *, replace: bool = False) -> Callable[[S], S]: ...
    @overload
    def register(self, name: str, thing: S, *, replace: bool = False) -> S: ...
    def register(self, name: str, thing: Any = None, *, replace: bool = False) -> Any:
        """Make a name known in this process; a decorator where ``thing`` is left out.

        Args:
            name: letters, digits, ``_+-``; with a slash at its end, of all names that begin with it.
            replace: whether it may take the place of another.

        Returns:
            ``thing``, unchanged.

        Raises:
            ConfigError: the name is taken or cannot be one, or the thing cannot be called.
        """
        if not isinstance(name, str) or not re.fullmatch(r"[\w+-]+/?", name):
            raise ConfigError(f"Expected the name of a {self.kind}: letters, digits, _, + or -; got {name!r:.80}.")
        if thing is None:
            return lambda thing: self.register(name, thing, replace=replace)
        if not callable(thing):
            raise ConfigError(f"Expected a function or a class for the {self.kind} {name!r}, got {thing!r:.80}.")
        if name in self and self._here.get(name) is not thing and not replace:
            raise ConfigError(
                f"There is a {self.kind} {name!r} already. Take another name, or replace it with replace=True. "
                "A package that has an entry point need not register."
            )
        self._here[name] = thing
        self.own.discard(name)
        return thing

    def unregister(self, name: str) -> None:
        """Forget what was registered in this process."""
        self._here.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._here or name in self._installed

    def __getitem__(self, name: str) -> T:
        """What a name stands for.

        Raises:
            ConfigError: nothing, or what a package has there cannot be imported.
        """
        key = self.key(name)
        if key in self._here:
            thing = self._here[key]
        else:
            thing, *others = self._installed[key]
            if others:
                origins = " and ".join(map(_origin, self._installed[key]))
                raise ConfigError(f"{origins} each have a {self.kind} {key!r}. Uninstall all but one.")
        if isinstance(thing, EntryPoint):
            thing = self._load(thing)
            self._here[key] = thing
        return thing

    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        return tuple(sorted({*self._here, *self._installed}))

    def key(self, name: str) -> str:
        """The name itself, or the beginning that stands for it: ``timm/`` for ``timm/resnet18``.

        Raises:
            ConfigError: the name is not known; the message has the nearest one.
        """
        if isinstance(name, str):
            for key in (name, "".join(name.partition("/")[:2])):
                if key in self:
                    return key
        raise ConfigError(
            f"Unknown {self.kind} {name!r:.80}. {nearest(str(name), self.names())} One of another package: install it "
            f"here (entry point group {self.group!r}), or register it first."
        )

    def check(self, name: str) -> str:
        """``name``, if it is known; see :meth:`key`."""
        self.key(name)
        return name

    @cached_property
    def _installed(self) -> dict[str, list[EntryPoint]]:
        """Entry points of other packages by name."""
        found: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            if entry.name in self._here:
                warn(f"{_origin(entry)} has a {self.kind} {entry.name!r} too: it is not used.")
            else:
                found.setdefault(entry.name, []).append(entry)
        return found

    def _load(self, entry: EntryPoint) -> T:
        try:
            thing: T = entry.load()
        except Exception as error:  # whatever the import of another package may raise
            if entry.dist is None or isinstance(error, PartReIDError):
                raise
            raise ConfigError(
                f"The {self.kind} {entry.name!r} of {_origin(entry)} cannot be imported from {entry.value!r} "
                f"({type(error).__name__}: {error}). Repair that package, or uninstall it."
            ) from error
        if not callable(thing):
            raise ConfigError(
                f"The {self.kind} {entry.name!r} of {_origin(entry)} is no function or class: {thing!r:.80}."
            )
        return thing


def _origin(entry: EntryPoint) -> str:
    return "partreid" if entry.dist is None else f"the package {entry.dist.name} {entry.dist.version}"
