"""Rules that decide which requests the page answers, and rules for browsers."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # Scripts, styles and requests only from this page's address; images also as data URLs. Nothing inline, no eval.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Hosts:
    """The host names that the page answers to. This refuses other sites' names that point here (DNS rebinding).

    Attributes:
        names: host names in small letters. addresses: whether to answer to any IP address. This is safe, because
            nobody can make an address point elsewhere.

    Example:
        >>> Hosts.bound_to("127.0.0.1").allow("localhost:8000"), Hosts.bound_to("127.0.0.1").allow("evil.example")
        (True, False)
    """

    names: frozenset[str]
    addresses: bool = False

    @classmethod
    def bound_to(cls, host: str, more: Iterable[str] = ()) -> Self:
        """The names of a page that listens at ``host``, and ``more`` names, such as a proxy's."""
        own = {"localhost", "127.0.0.1", "::1", host.lower(), *(name.lower() for name in more)}
        return cls(frozenset(own), addresses=not is_local(host))

    def allow(self, header: str) -> bool:
        """Whether a Host header is one of these, with any port."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if not header.isascii() or any(sign in header for sign in "/?#@\\ \t"):
            return False
        return name in self.names or (self.addresses and _is_address(name))


def is_local(host: str) -> bool:
    """Whether only this machine can connect to that host."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Refuses requests under unknown names and from other sites, and adds :data:`HEADERS` to all answers.

    It wraps the whole application, so that answers with status 500 have the headers too. Starlette's
    TrustedHostMiddleware is not used: it has no rule for "any IP address", and its refusal does not say what to do.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = self._problem(scope)
        if problem is None:
            try:
                await self._app(scope, receive, send_guarded)
            except CancelledError:  # after Ctrl-C, the server would print a traceback for each waiting request
                problem = None if begun else (503, "The page has been closed.")
        if problem is not None:
            await JSONResponse({"error": problem[1]}, problem[0])(scope, receive, send_guarded)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        """Status and message of a request that is refused."""
        given = Headers(scope=scope)
        host: str = given.get("host", "")
        if not self._hosts.allow(host):
            return 421, (
                f"This page does not answer to the name {host[:80]!r}. Ask for it by the address that was printed when "
                "it started, or start it with --allow-host NAME."
            )
        if not self._from_page(scope, given, host):
            return 403, "This request comes from another site, and only the page itself may send it."
        return None

    @staticmethod
    def _from_page(scope: Scope, given: Headers, host: str) -> bool:
        """Whether the browser says that the request comes from the page itself. Anybody may open the page."""
        if given.get("authorization", "").lower().startswith("bearer "):
            return True  # another site's page cannot send it: its browser must ask first, and is refused
        site: str | None = given.get("sec-fetch-site")
        if scope["method"] in ("GET", "HEAD"):
            return site in (None, "same-origin", "none") or scope["path"] == "/"
        if site is not None:
            return site == "same-origin"
        # Over plain http to another machine, browsers send no Sec-Fetch-Site, but a POST always has its origin.
        origin: str = given.get("origin", "")
        return origin.lower().partition("://")[2] == host.lower()
