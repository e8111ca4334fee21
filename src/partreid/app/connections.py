"""Connections from strangers: none is kept that only keeps the page waiting, and there is room for one more always."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from uvicorn.protocols.http.h11_impl import H11Protocol

from partreid.app.uploads import Limits

State: TypeAlias = Literal["asking", "sending", "fetching", "answered"]
"""What a connection is at: it has not asked yet, sends a body, fetches an answer, or is being answered."""

_OFTEN = 0.5  # seconds between two looks at a connection, at most


class Connection(H11Protocol):  # type: ignore[misc] # mypy does not follow uvicorn
    """One connection. uvicorn's own limits neither how long the head of a request takes, nor a body, nor how long an
    answer is not fetched, and beyond its number of connections it refuses everybody. Made by :func:`connection_class`.
    """

    limits = Limits()
    """How long it may keep the page waiting, and how many there may be."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin; where there are too many, the one that has kept the page waiting longest must go."""
        super().connection_made(transport)
        self._was, self._since = self._state(), self.loop.time()
        self._look_soon: asyncio.TimerHandle | None = None
        self._dropped = False
        self._look()
        there = [one for one in self.connections if isinstance(one, Connection) and not one._dropped]
        if len(there) > self.limits.connections:
            waited_for = [one for one in there if one is not self and one.looked_at()[0] != "answered"]
            # First those that have not even asked: who sends or fetches something is slow at worst.
            min(waited_for, key=lambda one: (one._was[0] != "asking", one._since), default=self)._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._look_soon is not None:
            self._look_soon.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End soon, since the page does; whatever state the connection is in."""
        try:
            super().shutdown()
        except Exception:  # h11 refuses to end what is half said
            self._drop()

    def looked_at(self) -> tuple[State, object]:
        """What it is at, and in which request; notes since when."""
        now = self._state()
        if now != self._was:
            self._was, self._since = now, self.loop.time()
        return now

    def _look(self) -> None:
        """End it if it has kept the page waiting too long; else look again soon."""
        state, _ = self.looked_at()
        limit = {"asking": self.limits.silence_seconds, "answered": float("inf")}.get(
            state, self.limits.transfer_seconds + self.limits.silence_seconds
        )
        if self.loop.time() - self._since > limit:
            self._drop()
            return
        self._look_soon = self.loop.call_later(min(_OFTEN, limit), self._look)

    def _drop(self) -> None:
        self._dropped = True
        self.transport.abort()

    def _state(self) -> tuple[State, object]:
        if self.transport is not None and self.transport.get_write_buffer_size():
            return "fetching", self.cycle
        if self.cycle is None:
            return "asking", None
        if self.cycle.more_body:
            # Of a body that nobody reads any more, since it was refused, the rest is thrown away.
            return ("asking" if self.cycle.response_complete else "sending"), self.cycle
        return ("asking" if self.cycle.response_complete else "answered"), self.cycle


def connection_class(limits: Limits) -> type[Connection]:
    """What uvicorn's ``http`` takes: a :class:`Connection` with these limits."""
    return type("Connection", (Connection,), {"limits": limits})
