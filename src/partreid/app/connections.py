"""Connections: the page ends those that keep it waiting, so that it always has space for one more."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from uvicorn.protocols.http.h11_impl import H11Protocol

from partreid.app.uploads import Limits

State: TypeAlias = Literal["asking", "sending", "fetching", "answered"]
"""State of a connection: no request yet, the body arrives, the answer is being sent, or it is being computed."""

_OFTEN = 0.5  # longest time between two checks of a connection, in seconds


class Connection(H11Protocol):  # type: ignore[misc] # mypy does not follow uvicorn
    """One connection, made by :func:`connection_class`.

    uvicorn's own class has no time limit for the head of a request, for a body, or for a client that does not read its
    answer; and beyond its limit of connections (``limit_concurrency``) it refuses everybody.
    """

    limits = Limits()
    """How long a connection may keep the page waiting, and how many connections there may be."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin. If there are too many connections, end the one that has kept the page waiting longest."""
        super().connection_made(transport)
        self._was, self._since = self._state(), self.loop.time()
        self._look_soon: asyncio.TimerHandle | None = None
        self._dropped = False
        self._look()
        there = [one for one in self.connections if isinstance(one, Connection) and not one._dropped]
        if len(there) > self.limits.connections:
            waited_for = [one for one in there if one is not self and one.looked_at()[0] != "answered"]
            # Connections without a request are ended first, because the others may only be slow.
            min(waited_for, key=lambda one: (one._was[0] != "asking", one._since), default=self)._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._look_soon is not None:
            self._look_soon.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End soon, in any state, because the page ends."""
        try:
            super().shutdown()
        except Exception:  # h11 refuses to end a half-sent request
            self._drop()

    def looked_at(self) -> tuple[State, object]:
        """The connection's state and request. It notes the time when they change."""
        now = self._state()
        if now != self._was:
            self._was, self._since = now, self.loop.time()
        return now

    def _look(self) -> None:
        """End the connection if it has kept the page waiting too long. Otherwise check again soon."""
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
            # The request was refused, so the rest of its body is thrown away.
            return ("asking" if self.cycle.response_complete else "sending"), self.cycle
        return ("asking" if self.cycle.response_complete else "answered"), self.cycle


def connection_class(limits: Limits) -> type[Connection]:
    """A class for uvicorn's option ``http``: a :class:`Connection` with these limits."""
    return type("Connection", (Connection,), {"limits": limits})
