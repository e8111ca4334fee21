"""The page's memory: values by name. The least recently used value is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A cache for several threads with a limit on the size of all values. The newest value stays, however large it is.

    Args:
        limit: of the sum of sizes. size: function that returns a value's size; by default 1.

    Example:
        >>> kept = Recent[str](2)
        >>> for name in "abc":
        ...     kept.put(name, name.upper())
        >>> kept.get("a"), kept.get("c")
        (None, 'C')
    """

    def __init__(self, limit: int, size: Callable[[Value], int] = lambda _: 1) -> None:
        self._limit, self._size, self._taken = limit, size, 0
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: Hashable) -> Value | None:
        """The value of that name; None if there is none, or no longer."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def put(self, name: Hashable, value: Value) -> None:
        """Remember a value. It replaces a former value of that name."""
        with self._lock:
            self._remove(name)
            self._values[name] = value
            self._taken += self._size(value)
            while self._taken > self._limit and len(self._values) > 1:
                self._taken -= self._size(self._values.popitem(last=False)[1])

    def forget(self, name: Hashable) -> None:
        """Forget the value of that name, if there is one."""
        with self._lock:
            self._remove(name)

    def _remove(self, name: Hashable) -> None:
        if name in self._values:
            self._taken -= self._size(self._values.pop(name))
