"""The page over HTTP: requests become calls of the service, its answers become JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from partreid.app.guard import Guard, Hosts
from partreid.app.messages import ItemQuestion, MergeQuestion, Question, SplitQuestion
from partreid.app.service import PageService
from partreid.app.turns import Budget, BusyError, Turns
from partreid.app.uploads import Limits, TooLargeError, UnknownImageError, too_many_bytes
from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, DataError, PartReIDError

_Handler = Callable[[Request], Awaitable[Response]]
_Asked = TypeVar("_Asked", bound=ConfigModel)

_JSON_BYTES, _QUESTIONS_BYTES = 2**18, 2**24
_ABOUT_SECONDS, _RETRY_SECONDS = 0.5, "5"
_MOST_WORDS = 1000
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class SlowError(PartReIDError, TimeoutError):
    """The body of a request does not arrive in time."""


class Endpoints:
    """One method for each address; each answers with JSON or an image."""

    def __init__(self, service: PageService) -> None:
        self.service = service
        limits = service.limits
        # The model runs once at a time; images are small work, and a browser asks for many at once.
        self.model = Turns(together=1, waiting=limits.waiting, seconds=limits.answer_seconds)
        self.images = Turns(together=2, waiting=128, seconds=limits.answer_seconds)
        self.look_around = Turns(together=1, waiting=32, seconds=min(_ABOUT_SECONDS, limits.answer_seconds))
        self.known = service.about()
        self.uploads, self.questions = Budget(limits.unfinished_bytes), Budget(_QUESTIONS_BYTES)

    async def health(self, request: Request) -> Response:
        """GET: the page runs. Waits neither for the model nor for the disk."""
        return _answer({"ok": True})

    async def about(self, request: Request) -> Response:
        """GET: what the page is about; the last known answer where the gallery does not answer at once."""

        def ask() -> None:
            self.known = self.service.about()

        with suppress(BusyError):
            await self.look_around.run(request, ask)
        return _answer(asdict(self.known))

    async def keep(self, request: Request) -> Response:
        """POST of an image file."""
        limits = self.service.limits
        async with body(request, limits, limits.upload_bytes, too_many_bytes(limits), self.uploads) as data:
            kept = await self.model.run(request, lambda: self.service.keep(data))
        return _answer(asdict(kept))

    async def image(self, request: Request) -> Response:
        """GET of a kept image: ?id=."""
        name = request.query_params.get("id", "")
        return _image(await self.images.run(request, lambda: self.service.preview(name)))

    async def item(self, request: Request) -> Response:
        """GET of an item's image: ?id=."""
        name = request.query_params.get("id", "")
        try:
            return _image(await self.images.run(request, lambda: self.service.item_image(name)))
        except DataError as error:
            raise HTTPException(404, str(error)) from None

    async def persons(self, request: Request) -> Response:
        """GET: the persons of the gallery."""
        return _answer(asdict(await self.images.run(request, self.service.journeys.persons)))

    async def journey(self, request: Request) -> Response:
        """GET of a person's journey: ?person=."""
        name = request.query_params.get("person", "")
        return _answer(asdict(await self.images.run(request, lambda: self.service.journeys.journey(name))))

    def asked(self, kind: type[_Asked], answer: Callable[[_Asked], Any]) -> _Handler:
        """POST of a question, which the service answers."""

        async def handler(request: Request) -> Response:
            # A form of any other site can send other types without a preflight request.
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise HTTPException(415, "Expected the content type application/json.")
            problem = f"The question is longer than {_JSON_BYTES} bytes."
            async with body(request, self.service.limits, _JSON_BYTES, problem, self.questions) as content:
                question = kind.parse(parse_question(content), source="question")
            return _answer(asdict(await self.model.run(request, lambda: answer(question))))

        return handler


def create_app(service: PageService, hosts: Hosts) -> Guard:
    """The page as an ASGI application.

    Args:
        service: what answers. hosts: the names that it answers to.
    """
    page = Endpoints(service)
    static = {
        entry.name: (entry.read_bytes(), _TYPES[entry.name.rpartition(".")[2]])
        for entry in (files("partreid.app") / "static").iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }

    async def file(request: Request) -> Response:
        # Only files read at the start are served: no path leads elsewhere, and no disk is waited for.
        name = request.path_params.get(
            "name", "persons.html" if request.url.path.endswith("/persons") else "index.html"
        )
        if name not in static:
            raise HTTPException(404)
        content, kind = static[name]
        return Response(content, media_type=kind)

    routes = [
        Route("/", file),
        Route("/persons", file),
        Route("/static/{name}", file),
        Route("/health", page.health),
        Route("/api/about", page.about),
        Route("/api/images", page.keep, methods=["POST"]),
        Route("/api/image", page.image),
        Route("/api/item", page.item),
        Route("/api/look", page.asked(Question, lambda one: service.look(one.query)), methods=["POST"]),
        Route("/api/search", page.asked(Question, service.search), methods=["POST"]),
        Route("/api/compare", page.asked(ItemQuestion, service.compare), methods=["POST"]),
        Route("/api/persons", page.persons),
        Route("/api/journey", page.journey),
        Route("/api/merge", page.asked(MergeQuestion, service.journeys.merge), methods=["POST"]),
        Route("/api/split", page.asked(SplitQuestion, service.journeys.split), methods=["POST"]),
    ]
    statuses = {
        PartReIDError: 400, SlowError: 408, UnknownImageError: 410, TooLargeError: 413, BusyError: 503,
        ClientDisconnect: 400,
    }  # fmt: skip
    handlers: Mapping[Any, Any] = {
        **{kind: _saying(status) for kind, status in statuses.items()},
        HTTPException: _http_problem,
        Exception: _saying(500, "Something went wrong inside the page; the terminal it runs in tells more."),
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # one address for each thing
    return Guard(app, hosts)


@asynccontextmanager
async def body(request: Request, limits: Limits, most: int, problem: str, budget: Budget) -> AsyncIterator[bytes]:
    """The body of a request of at most ``most`` bytes, which count in the budget while the block runs.

    Raises:
        TooLargeError: it is too large, with the message ``problem``; nothing is read where its announced length is.
        SlowError: it takes too long, or pauses too long.
        ClientDisconnect: the client leaves. BusyError: the budget is used up.
    """
    announced = request.headers.get("content-length", "")
    # A longer number is too large anyway.
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
    """A JSON object with each name once and finite numbers only; else a ConfigError.

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
        raise ConfigError(f"The question has {twice!r:.80} twice. Say it once.")
    return content


def _no_constant(text: str) -> None:
    raise ConfigError(f"JSON has no number {text}. Expected a finite one.")


def _answer(content: Mapping[str, Any], status: int = 200) -> Response:
    # ASCII: a text may hold half of a surrogate pair, which UTF-8 cannot.
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


def _image(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")


def _saying(status: int, said: str = "") -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        words = said or str(error) or "Nobody waited for the answer."
        answer = _answer({"error": words if len(words) <= _MOST_WORDS else words[:_MOST_WORDS] + " …"}, status)
        if status == 503:
            answer.headers["retry-after"] = _RETRY_SECONDS
        return answer

    return handler


async def _http_problem(request: Request, error: HTTPException) -> Response:
    response = _answer({"error": error.detail[:_MOST_WORDS]}, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response
