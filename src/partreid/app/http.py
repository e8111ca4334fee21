"""The page and its API over HTTP: requests become calls of the service, its answers become JSON."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partreid.app.access import SESSION_SECONDS, Access, Caller
from partreid.app.bodies import body, parse_question
from partreid.app.guard import Guard, Hosts
from partreid.app.metrics import Metrics
from partreid.app.operations import API, OPERATIONS, SESSION_COOKIE, Operation, Session, TokenQuestion, describe
from partreid.app.rates import RateLimit
from partreid.app.refusals import answer_json, error_handlers, status_of
from partreid.app.service import PageService
from partreid.app.threads import jobs_at_work
from partreid.app.turns import Budget, BusyError, Turns, run_soon
from partreid.app.uploads import too_many_bytes
from partreid.app.users import Users
from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, DataError
from partreid.retrieval.recording import acting

_Handler = Callable[[Request], Awaitable[Response]]
_Result = TypeVar("_Result")

_JSON_BYTES, _QUESTIONS_BYTES = 2**18, 2**24
_ABOUT_SECONDS, _LOG_SECONDS = 0.5, 30.0
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NOT_YOURS = "Your token may only search: merging and splitting persons needs the role add."


class Endpoints:
    """Answers each operation with JSON or an image. The method with the operation's name does it, or one from
    :meth:`answers`."""

    def __init__(self, service: PageService, access: Access) -> None:
        self.service, self.access, self.metrics_kept = service, access, Metrics()
        limits = service.limits
        # The model runs one job at a time. Images are little work, and a browser asks for many at once.
        self.model = Turns(together=1, waiting=limits.waiting, seconds=limits.answer_seconds)
        self.images = Turns(together=2, waiting=128, seconds=limits.answer_seconds)
        self.look_around = Turns(together=1, waiting=32, seconds=min(_ABOUT_SECONDS, limits.answer_seconds))
        self.known = service.about()
        self.uploads, self.questions = Budget(limits.unfinished_bytes), Budget(_QUESTIONS_BYTES)
        self.description = describe()

    def answers(self) -> dict[str, Callable[[Any], Any]]:
        """The service's methods that answer JSON questions, by the operation's name."""
        service = self.service
        return {
            "look": lambda one: service.look(one.query),
            "search": service.search,
            "compare": service.compare,
            "merge": service.journeys.merge,
            "split": service.journeys.split,
            "add": service.changes.add,
            "link": service.changes.link,
            "delete": service.changes.delete,
            "expire": service.changes.expire,
        }

    def routes(self) -> list[Route]:
        """One route for each path, so that the answer to a wrong method names all methods of the path."""
        paths: dict[str, dict[str, _Handler]] = {}
        for operation in OPERATIONS:
            paths.setdefault(API + operation.path, {})[operation.method] = self._endpoint(operation)

        def of_path(handlers: Mapping[str, _Handler]) -> _Handler:
            async def endpoint(request: Request) -> Response:
                return await handlers["GET" if request.method == "HEAD" else request.method](request)

            return endpoint

        return [Route(path, of_path(handlers), methods=[*handlers]) for path, handlers in paths.items()]

    def _endpoint(self, operation: Operation) -> _Handler:
        """The endpoint of an operation. It checks access and counts requests."""
        handler: _Handler = (
            self._asked(operation, self.answers()[operation.name])
            if operation.name in self.answers()
            else getattr(self, operation.name)
        )

        async def endpoint(request: Request) -> Response:
            began, status = time.monotonic(), 500
            try:
                request.state.caller = await self._admit(request, operation)
                _check_parameter(request, operation.parameter)
                answer = await handler(request)
                status = answer.status_code
                return answer
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                self.metrics_kept.answered(operation.name, status, time.monotonic() - began)

        return endpoint

    async def _admit(self, request: Request, operation: Operation) -> Caller:
        """The caller, if the operation is allowed. A refusal is recorded."""
        caller = Caller("", None, request.client.host if request.client else "")
        try:
            caller = await self.access.identify(request)
            self.access.admit(caller, operation)
        except HTTPException as error:
            if error.status_code != 429:  # anybody could fill the log with these
                await self._record_refusal(caller, operation.name, error.detail)
            raise
        return caller

    async def _record_refusal(self, caller: Caller, operation: str, why: str) -> None:
        def record() -> None:
            with acting(caller.name or "page", source="page", address=caller.address):
                self.service.record_refusal(operation, why)

        await run_soon(record, seconds=_LOG_SECONDS, problem="The audit log does not answer. Try again later.")

    async def health(self, request: Request) -> Response:
        """Reports that the page runs. It waits neither for the model nor for the disk."""
        return answer_json({"ok": True})

    async def openapi(self, request: Request) -> Response:
        """The description of the API."""
        return answer_json(self.description)

    async def session(self, request: Request) -> Response:
        """Who asks."""
        caller = request.state.caller
        return answer_json(asdict(Session(caller.name, caller.role, self.access.users is not None)))

    async def log_in(self, request: Request) -> Response:
        """Begin a session, and set its cookie."""
        question = await self._read(request, TokenQuestion)
        if self.access.users is None:
            raise HTTPException(400, "This page knows no users, so nobody can log in. It was started without --users.")
        caller = request.state.caller
        try:
            user = await self.access.check_token(question.token, caller.address)
        except HTTPException as error:
            if error.status_code != 429:
                await self._record_refusal(caller, "log_in", error.detail)
            raise
        answer = answer_json(asdict(Session(user.name, user.role, True)))
        # The cookie has this request's path, so that several pages can run on one server.
        answer.set_cookie(
            SESSION_COOKIE, self.access.begin_session(user), max_age=SESSION_SECONDS, path=None,
            secure=request.url.scheme == "https", httponly=True, samesite="strict",
        )  # fmt: skip
        return answer

    async def log_out(self, request: Request) -> Response:
        """End a session."""
        self.access.end_session(request)
        answer = answer_json(asdict(Session("", None, self.access.users is not None)))
        answer.set_cookie(SESSION_COOKIE, "", max_age=0, path=None, httponly=True, samesite="strict")
        return answer

    async def metrics(self, request: Request) -> Response:
        """Counts and times for Prometheus."""
        text = self.metrics_kept.text(items=self.known.items, jobs=jobs_at_work())
        return Response(text, media_type=Metrics.media_type)

    async def about(self, request: Request) -> Response:
        """The description of the page. If the gallery does not answer at once, the last known one."""

        def ask() -> None:
            self.known = self.service.about()

        with suppress(BusyError):
            await self.look_around.run(request, ask)
        return answer_json(asdict(self.known))

    async def send_image(self, request: Request) -> Response:
        """Take an image file."""
        limits = self.service.limits
        async with body(request, limits, limits.upload_bytes, too_many_bytes(limits), self.uploads) as data:
            kept = await self.model.run(request, lambda: self.service.keep(data))
        return answer_json(asdict(kept))

    async def image(self, request: Request) -> Response:
        """A kept image: ?id=."""
        name = request.query_params["id"]
        return _image(await self.images.run(request, lambda: self.service.preview(name)))

    async def item(self, request: Request) -> Response:
        """An item's image: ?id=."""
        name = request.query_params["id"]
        try:
            return _image(
                await self.images.run(request, self._as_caller(request, lambda: self.service.item_image(name)))
            )
        except DataError as error:
            raise HTTPException(404, str(error)) from None

    async def persons(self, request: Request) -> Response:
        """The persons of the gallery."""
        found = await self.images.run(request, self._as_caller(request, self.service.journeys.persons))
        if self.access.users is not None and not request.state.caller.may("add") and found.edits:
            found = replace(found, edits=False, problem=_NOT_YOURS)
        return answer_json(asdict(found))

    async def journey(self, request: Request) -> Response:
        """A person's journey: ?person=."""
        name = request.query_params["person"]
        job = self._as_caller(request, lambda: self.service.journeys.journey(name))
        return answer_json(asdict(await self.images.run(request, job)))

    def _asked(self, operation: Operation, answer: Callable[[Any], Any]) -> _Handler:
        """Handle a POST with a question, which the service answers."""
        kind = operation.question
        assert isinstance(kind, type)

        async def handler(request: Request) -> Response:
            question = await self._read(request, kind)
            job = self._as_caller(request, lambda: answer(question))
            return answer_json(asdict(await self.model.run(request, job)))

        return handler

    async def _read(self, request: Request, kind: type[ConfigModel]) -> Any:
        """The question in a body."""
        # Forms of other sites can send other content types without a preflight request.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Expected the content type application/json.")
        problem = f"The question is longer than {_JSON_BYTES} bytes."
        async with body(request, self.service.limits, _JSON_BYTES, problem, self.questions) as content:
            return kind.parse(parse_question(content), source="question")

    def _as_caller(self, request: Request, job: Callable[[], _Result]) -> Callable[[], _Result]:
        """The job with the caller's name, which the audit log records."""
        caller: Caller = request.state.caller

        def run() -> _Result:
            with acting(caller.name or "page", source="page", address=caller.address):
                return job()

        return run


def _check_parameter(request: Request, name: str) -> None:
    """A required parameter of the query string. ConfigError if it is missing, empty, or given twice."""
    if name and (len(given := request.query_params.getlist(name)) != 1 or not given[0]):
        raise ConfigError(f"Expected ?{name}=... once, got it {len(given)} times, or empty.")


def create_app(
    service: PageService, hosts: Hosts, *, users: Users | None = None, rate: RateLimit | None = None
) -> Guard:
    """The page and its API as an ASGI application.

    Args:
        service: answers the questions. hosts: host names that the page answers to.
        users: allowed users; None = anybody may search. rate: limit of requests.
    """
    page = Endpoints(service, Access(users, rate))
    static = {
        entry.name: (entry.read_bytes(), _TYPES[entry.name.rpartition(".")[2]])
        for entry in (files("partreid.app") / "static").iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }

    async def file(request: Request) -> Response:
        # Only files read at the start are served, so no path can lead elsewhere, and no request waits for a disk.
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
        *page.routes(),
    ]
    app = Starlette(routes=routes, exception_handlers=error_handlers())
    app.router.redirect_slashes = False  # every resource has exactly one address
    return Guard(app, hosts)


def _image(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")
