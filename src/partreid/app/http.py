"""The page over HTTP: a thin layer that turns requests into calls of the service, and answers into JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any, TypeVar

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from partreid.app.guard import App, Guard, Hosts
from partreid.app.messages import ItemQuestion, Question
from partreid.app.pictures import TooLargeError, UnknownPictureError, too_many_bytes
from partreid.app.service import PageService
from partreid.errors import ConfigError, DataError, PartReIDError

Result = TypeVar("Result")
_Handler = Callable[[Request], Awaitable[Response]]

_JSON_BYTES = 2**18
_MOST_WORDS = 1000
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class BusyError(PartReIDError, RuntimeError):
    """More requests wait already than may."""


class Turns:
    """Runs jobs in threads, few at a time; others wait for their turn, or are turned away."""

    def __init__(self, *, together: int, waiting: int) -> None:
        self._turn, self._most, self._there = anyio.Semaphore(together), together + waiting, 0

    async def run(self, request: Request, job: Callable[[], Result]) -> Result:
        """What the job returns, once it is its turn.

        Raises:
            BusyError: too many wait.
            ClientDisconnect: nobody waits for the answer any more, so the job was not begun.
        """
        if self._there >= self._most:
            raise BusyError("The page is busy with other requests. Wait a moment, then try again.")
        self._there += 1
        try:
            async with self._turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await anyio.to_thread.run_sync(job)
        finally:
            self._there -= 1


class Endpoints:
    """One method for each address; all answer with JSON or a picture."""

    def __init__(self, service: PageService) -> None:
        self.service = service
        # The model runs once at a time; pictures are small work, and a browser asks for many at once.
        self.model = Turns(together=1, waiting=service.limits.waiting)
        self.pictures = Turns(together=2, waiting=128)

    async def about(self, request: Request) -> Response:
        """GET: what the page is about."""
        return _answer(asdict(await self.pictures.run(request, self.service.about)))

    async def keep(self, request: Request) -> Response:
        """POST of a picture file."""
        data = await _body(request, self.service.limits.upload_bytes, too_many_bytes(self.service.limits))
        return _answer(asdict(await self.model.run(request, lambda: self.service.keep(data))))

    async def picture(self, request: Request) -> Response:
        """GET of a kept picture: ?id=."""
        name = request.query_params.get("id", "")
        return _picture(await self.pictures.run(request, lambda: self.service.preview(name)))

    async def item(self, request: Request) -> Response:
        """GET of an item's picture: ?id=."""
        name = request.query_params.get("id", "")
        try:
            return _picture(await self.pictures.run(request, lambda: self.service.item_picture(name)))
        except DataError as error:
            raise HTTPException(404, str(error)) from None

    async def look(self, request: Request) -> Response:
        """POST of a question, of which the query alone counts."""
        question = Question.parse(await _json(request), source="question")
        return _answer(asdict(await self.model.run(request, lambda: self.service.look(question.query))))

    async def search(self, request: Request) -> Response:
        """POST of a question."""
        question = Question.parse(await _json(request), source="question")
        return _answer(asdict(await self.model.run(request, lambda: self.service.search(question))))

    async def compare(self, request: Request) -> Response:
        """POST of a question with an item."""
        question = ItemQuestion.parse(await _json(request), source="question")
        return _answer(asdict(await self.model.run(request, lambda: self.service.compare(question))))


def create_app(service: PageService, hosts: Hosts) -> App:
    """The page as an ASGI application.

    Args:
        service: what answers. hosts: by which names it may be asked for.
    """
    page = Endpoints(service)
    static = {
        entry.name: (entry.read_bytes(), _TYPES[entry.name.rpartition(".")[2]])
        for entry in (files("partreid.app") / "static").iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }

    async def file(request: Request) -> Response:
        # Names are looked up among those read at the start: a path leads nowhere else.
        name = request.path_params.get("name", "index.html")
        if name not in static:
            raise HTTPException(404)
        content, kind = static[name]
        return Response(content, media_type=kind)

    routes = [
        Route("/", file),
        Route("/static/{name}", file),
        Route("/api/about", page.about),
        Route("/api/pictures", page.keep, methods=["POST"]),
        Route("/api/picture", page.picture),
        Route("/api/item", page.item),
        Route("/api/look", page.look, methods=["POST"]),
        Route("/api/search", page.search, methods=["POST"]),
        Route("/api/compare", page.compare, methods=["POST"]),
    ]
    statuses = {PartReIDError: 400, TooLargeError: 413, UnknownPictureError: 410, BusyError: 503, ClientDisconnect: 400}
    handlers: Mapping[Any, Any] = {
        **{kind: _saying(status) for kind, status in statuses.items()},
        HTTPException: _http_problem,
        Exception: _own_fault,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # one address for each thing
    return Guard(app, hosts)


async def _body(request: Request, limit: int, problem: str) -> bytes:
    """The request's body; one that is too large is not read to its end."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > limit:
        raise TooLargeError(problem)
    body = bytearray()
    async for some in request.stream():
        body += some
        if len(body) > limit:
            raise TooLargeError(problem)
    return bytes(body)


async def _json(request: Request) -> dict[str, Any]:
    # Another type could be sent from any site without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Expected the content type application/json.")
    body = await _body(request, _JSON_BYTES, f"The question is longer than {_JSON_BYTES} bytes.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ConfigError("The question is not valid JSON.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"Expected a JSON object, got {type(content).__name__}.")
    return content


def _answer(content: Mapping[str, Any], status: int = 200) -> Response:
    # ASCII: a text may hold half of a surrogate pair, which UTF-8 cannot.
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


def _picture(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")


def _saying(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        words = str(error) or "Nobody waited for the answer."
        return _answer({"error": words if len(words) <= _MOST_WORDS else words[:_MOST_WORDS] + " …"}, status)

    return handler


async def _http_problem(request: Request, error: HTTPException) -> Response:
    response = _answer({"error": error.detail[:_MOST_WORDS]}, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _own_fault(request: Request, error: Exception) -> Response:
    return _answer({"error": "Something went wrong inside the page; the terminal it runs in tells more."}, 500)
