"""Bodies of requests, read within limits of size and time; and JSON that has only one meaning."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request

from partreid.app.turns import Budget
from partreid.app.uploads import Limits, TooLargeError
from partreid.errors import ConfigError, PartReIDError


class SlowError(PartReIDError, TimeoutError):
    """The body of a request does not arrive in time."""


@asynccontextmanager
async def body(request: Request, limits: Limits, most: int, problem: str, budget: Budget) -> AsyncIterator[bytes]:
    """The body of a request of at most ``most`` bytes, which count in the budget while the block runs.

    Raises:
        TooLargeError: the body is too large; the message is ``problem``. If the announced length is too large, nothing
            is read.
        SlowError: it takes too long, or pauses too long.
        ClientDisconnect: the client leaves. BusyError: the budget is used up.
    """
    announced = request.headers.get("content-length", "")
    # A number with more digits is too large anyway.
    size = int(announced[:20]) if announced.isascii() and announced.isdecimal() else most
    if size > most:
        raise TooLargeError(problem)
    with budget.take(size):
        content, stream = bytearray(), request.stream()
        try:
            async with asyncio.timeout(limits.transfer_seconds):
                some = b"-"
                while some:
                    async with asyncio.timeout(limits.silence_seconds):
                        some = await anext(stream, b"")
                    content += some
                    if len(content) > most:
                        raise TooLargeError(problem)
        except TimeoutError:
            raise SlowError(
                f"The image or question did not arrive in time: it may take {limits.transfer_seconds:g} seconds, with "
                f"no pause longer than {limits.silence_seconds:g}. Make the image smaller, or try a faster connection."
            ) from None
        yield bytes(content)


def parse_question(body: bytes) -> dict[str, Any]:
    """A JSON object. ConfigError if a name occurs twice or a number is not finite.

    Example:
        >>> parse_question(b'{"k": 3}')
        {'k': 3}
    """
    try:
        content = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except ConfigError:
        raise
    except (ValueError, RecursionError):
        raise ConfigError("The question is not valid JSON.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"Expected a JSON object, got {type(content).__name__}.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"The question has {twice!r:.80} twice. Give it once.")
    return content


def _no_constant(text: str) -> None:
    raise ConfigError(f"JSON has no number {text}. Expected a finite one.")
