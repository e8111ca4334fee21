"""The API: every operation with its path, question, answer and role. The OpenAPI description is made from them.

The same classes parse requests and describe them, so that description and behaviour cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from partreid.app import change_messages as change
from partreid.app import messages
from partreid.app.users import Role
from partreid.base_config import ConfigModel
from partreid.version import __version__

API = "/api/v1"
"""The beginning of all operations' paths. A change that breaks programs gets another number."""

IMAGE, TEXT, BYTES = "image/jpeg", "text/plain", "application/octet-stream"


class TokenQuestion(ConfigModel):
    """A token that begins a browser's session."""

    token: str = Field(min_length=1, max_length=200)
    """The token, as ``partreid users add`` showed it."""


@dataclass(frozen=True)
class Health:
    """The server runs."""

    ok: bool


@dataclass(frozen=True)
class Session:
    """The caller: the name ("" = unknown), the role, and whether a token is needed at all."""

    user: str
    role: Role | None
    needed: bool


@dataclass(frozen=True)
class Problem:
    """The reason of a refusal, in words."""

    error: str


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Attributes:
        name: of the handler, and in the description. method, path: of HTTP; the path follows :data:`API`.
        summary: a description in one sentence. role: the role that a user needs; None = anybody may ask.
        answer: a class, or a media type. question: the body of a POST: a class, a media type, or None.
        parameter: the required parameter of the query string; "" = none.
    """

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    role: Role | None
    answer: type | str
    question: type[ConfigModel] | str | None = None
    parameter: str = ""


_M, _C = messages, change
OPERATIONS: tuple[Operation, ...] = (
    Operation("health", "GET", "/health", "Whether the server runs.", None, Health),
    Operation("openapi", "GET", "/openapi.json", "This description.", None, dict),
    Operation("session", "GET", "/session", "Who asks.", None, Session),
    Operation("log_in", "POST", "/session", "Begin a session of a browser: sets a cookie.", None, Session,
              TokenQuestion),
    Operation("log_out", "DELETE", "/session", "End the session of a browser.", None, Session),
    Operation("metrics", "GET", "/metrics", "Counts and times for Prometheus.", "search", TEXT),
    Operation("about", "GET", "/about", "What the gallery holds and can be asked.", "search", _M.About),
    Operation("send_image", "POST", "/images", "Send an image file; it is kept in memory for a while, under a name "
              "that nobody can guess.", "search", _M.KeptImage, BYTES),
    Operation("image", "GET", "/image", "An image that was sent, as JPEG.", "search", IMAGE, parameter="id"),
    Operation("item", "GET", "/item", "The image of an item, as JPEG.", "search", IMAGE, parameter="id"),
    Operation("look", "POST", "/look", "Which parts are visible in a query.", "search", _M.Look, _M.Question),
    Operation("search", "POST", "/search", "Search by images that were sent, or by items.", "search", _M.Ranking,
              _M.Question),
    Operation("compare", "POST", "/compare", "Compare a query with one item, part by part.", "search",
              _M.ComparisonAnswer, _M.ItemQuestion),
    Operation("persons", "GET", "/persons", "The persons that were linked.", "search", _M.Persons),
    Operation("journey", "GET", "/journey", "Where a person was.", "search", _M.Journey, parameter="person"),
    Operation("add", "POST", "/add", "Embed images that were sent, and add them as items.", "add", _C.Added,
              _C.AddQuestion),
    Operation("link", "POST", "/link", "Give tracks of one person one name.", "add", _C.LinkAnswer, _C.LinkQuestion),
    Operation("merge", "POST", "/merge", "Say that two persons are one.", "add", _M.Edited, _M.MergeQuestion),
    Operation("split", "POST", "/split", "Say that tracks are of somebody else.", "add", _M.Edited,
              _M.SplitQuestion),
    Operation("delete", "POST", "/delete", "Delete items by id, for good.", "delete", _C.Deleted, _C.DeleteQuestion),
    Operation("expire", "POST", "/expire", "Delete items that were seen before a moment, for good.", "delete",
              _C.Expired, _C.ExpireQuestion),
)  # fmt: skip

REFUSALS = {
    400: "The question is wrong; the message says what was expected.",
    401: "A valid token is needed.",
    403: "The user's role, or the browser's origin, does not allow it.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    410: "The image is not kept any more. Send it again.",
    413: "The body is too large.",
    415: "The body has another content type than expected.",
    421: "The server does not answer to that host name.",
    429: "Too many requests. Wait as many seconds as Retry-After says.",
    500: "Something is wrong inside the server; its terminal tells more.",
    503: "The server is busy. Wait as many seconds as Retry-After says.",
}
"""Statuses that any operation may answer with, and their meaning. The body is a :class:`Problem`."""


def describe() -> dict[str, Any]:
    """The description of the API in OpenAPI 3.1, from which programs can make clients or tests."""
    kinds = {one.answer: "serialization" for one in OPERATIONS if isinstance(one.answer, type)}
    kinds |= {one.question: "validation" for one in OPERATIONS if isinstance(one.question, type)}
    kinds |= {Problem: "serialization"}
    wanted: list[Any] = [(kind, mode, TypeAdapter(kind)) for kind, mode in kinds.items()]
    schemas, shared = TypeAdapter.json_schemas(wanted, ref_template="#/components/schemas/{model}")
    known = {kind: schema for (kind, _), schema in schemas.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(API + one.path, {})[one.method.lower()] = _described(one, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "partreid", "version": __version__, "description": "Search a gallery of people seen."},
        "paths": paths,
        "components": {
            "schemas": shared.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
            },
        },
    }


SESSION_COOKIE = "partreid_session"
"""Name of the cookie of a browser's session."""


def _described(one: Operation, known: dict[Any, Any]) -> dict[str, Any]:
    refused = {"application/json": {"schema": known[Problem]}}
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "responses": {
            "200": {"description": "The answer.", "content": _content(one.answer, known)},
            **{str(status): {"description": why, "content": refused} for status, why in REFUSALS.items()},
        },
        "security": [] if one.role is None else [{"token": []}, {"session": []}],
    }
    if one.role is not None:
        found["description"] = f"Needs the role {one.role}."
    if one.question is not None:
        found["requestBody"] = {"required": True, "content": _content(one.question, known)}
    if one.parameter:
        found["parameters"] = [
            {"name": one.parameter, "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}}
        ]
    return found


def _content(kind: type | str, known: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "string"} | ({} if kind == TEXT else {"format": "binary"})}}
    return {"application/json": {"schema": known[kind]}}
