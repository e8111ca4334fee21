"""Answers as JSON, and the status and message of an error."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from partreid.app.bodies import SlowError
from partreid.app.turns import BusyError
from partreid.app.uploads import TooLargeError, UnknownImageError
from partreid.app.users import UsersError
from partreid.errors import PartReIDError
from partreid.retrieval.audit_log import AuditLogError

_RETRY_SECONDS = "5"
_MOST_WORDS = 1000
_log = logging.getLogger("uvicorn.error")  # the terminal

_UNSAID = "The page cannot read or write a file that it needs for this, so it was not done; its terminal tells more."

_STATUSES: dict[type[Exception], int] = {
    AuditLogError: 500, UsersError: 500,
    SlowError: 408, UnknownImageError: 410, TooLargeError: 413, BusyError: 503, ClientDisconnect: 400,
    PartReIDError: 400,
}  # fmt: skip


def status_of(error: Exception) -> int:
    """The status of the answer to an error."""
    if isinstance(error, HTTPException):
        return int(error.status_code)
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)


def answer_json(content: Mapping[str, Any], status: int = 200) -> Response:
    """An answer as JSON."""
    # ASCII, because a text may contain half of a surrogate pair, which UTF-8 cannot encode.
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


def _saying(status: int, said: str = "") -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        if said == _UNSAID:
            _log.error("%s", error)
        words = said or str(error) or "Nobody waited for the answer."
        answer = answer_json({"error": words if len(words) <= _MOST_WORDS else words[:_MOST_WORDS] + " …"}, status)
        if status == 503:
            answer.headers["retry-after"] = _RETRY_SECONDS
        return answer

    return handler


async def _http_problem(request: Request, error: HTTPException) -> Response:
    response = answer_json({"error": error.detail[:_MOST_WORDS]}, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def error_handlers() -> Mapping[Any, Callable[[Request, Any], Awaitable[Response]]]:
    """The handlers of each kind of error."""
    return {
        **{kind: _saying(status, _UNSAID if status == 500 else "") for kind, status in _STATUSES.items()},
        HTTPException: _http_problem,
        Exception: _saying(500, "Something went wrong inside the page; the terminal it runs in tells more."),
    }
