"""Access control: the caller, the caller's role, and the rate of requests."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from hashlib import sha256

from starlette.exceptions import HTTPException
from starlette.requests import Request

from partreid.app.operations import SESSION_COOKIE, Operation
from partreid.app.rates import RateLimit
from partreid.app.recent import Recent
from partreid.app.turns import run_soon
from partreid.app.users import ROLES, Role, User, Users

SESSION_SECONDS = 12 * 3600
"""How long a browser's session lasts."""

_WHO_IS_WHO = ("merge", "split")  # the service decides whether it changes them
_MOST_SESSIONS = 1000
_FAILURES = 10  # wrong tokens a minute from one address
_LONGEST_TOKEN = 200
_FILE_SECONDS = 5.0


@dataclass(frozen=True)
class Caller:
    """The caller: the name, the role (None = may do nothing that needs one), and the address."""

    name: str
    role: Role | None
    address: str

    def may(self, role: Role | None) -> bool:
        """Whether the caller's role is sufficient."""
        return role is None or (self.role is not None and ROLES.index(self.role) >= ROLES.index(role))


class Access:
    """Decides on each request.

    Args:
        users: the users; None = anybody may search, and may merge and split persons if the page allows it.
        rate: limit of requests for each user, and for each address without a user; None = no limit.
    """

    def __init__(self, users: Users | None, rate: RateLimit | None) -> None:
        self.users, self._rate = users, rate
        self._failures = RateLimit(_FAILURES)
        self._sessions = Recent[tuple[str, float]](_MOST_SESSIONS)  # hash of the user's token, and the end

    async def identify(self, request: Request) -> Caller:
        """The caller; without a valid token, a caller without a role.

        Raises:
            HTTPException: 401 for a token that belongs to nobody; 429 if this was tried too often.
            UsersError: the file of users cannot be read. BusyError: its disk does not answer.
        """
        address = request.client.host if request.client else ""
        if self.users is None:
            return Caller("", "search", address)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = None
        if scheme:
            if scheme.lower() != "bearer":
                raise _unknown("Expected the header Authorization: Bearer TOKEN.")
            user = await self.check_token(token.strip(), address)
        elif (session := self._sessions.get(_digest(request.cookies.get(SESSION_COOKIE, "")))) is not None:
            digest, end = session
            user = await self._ask(digest) if time.monotonic() < end else None
        return Caller("", None, address) if user is None else Caller(user.name, user.role, address)

    def admit(self, caller: Caller, operation: Operation) -> None:
        """Allow a caller an operation, or refuse it.

        Raises:
            HTTPException: 429 after too many requests; 401 or 403 if the role is not sufficient.
        """
        if self._rate is not None:
            wait = self._rate.take(f"user {caller.name}" if caller.name else f"address {caller.address}")
            if wait:
                raise _too_many(wait, f"At most {self._rate.per_minute} requests a minute are answered.")
        if not (caller.may(operation.role) or (self.users is None and operation.name in _WHO_IS_WHO)):
            if caller.role is None:
                raise _unknown("This needs a token: log in, or send the header Authorization: Bearer TOKEN.")
            advice = "start the page with --users FILE" if self.users is None else "ask for a token of that role"
            raise HTTPException(403, f"This needs the role {operation.role}: {advice}.")

    async def check_token(self, token: str, address: str) -> User:
        """The user with that token; errors as for :meth:`identify`."""
        user = await self._ask(_digest(token)) if len(token) <= _LONGEST_TOKEN else None
        if user is None:
            if wait := self._failures.take(address):
                raise _too_many(wait, "Too many wrong tokens came from this address.")
            raise _unknown("This token belongs to no user: it is misspelt, or was revoked.")
        return user

    def begin_session(self, user: User) -> str:
        """The cookie's content for a browser's new session. It is not the token."""
        session = secrets.token_urlsafe(32)
        self._sessions.put(_digest(session), (user.sha256, time.monotonic() + SESSION_SECONDS))
        return session

    def end_session(self, request: Request) -> None:
        """Forget a browser's session."""
        self._sessions.forget(_digest(request.cookies.get(SESSION_COOKIE, "")))

    async def _ask(self, digest: str) -> User | None:
        assert self.users is not None
        users, problem = self.users, "The file of users does not answer. Try again later."
        return await run_soon(lambda: users.of_hash(digest), seconds=_FILE_SECONDS, problem=problem)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def _unknown(words: str) -> HTTPException:
    return HTTPException(401, words, {"www-authenticate": "Bearer"})


def _too_many(wait: float, words: str) -> HTTPException:
    return HTTPException(429, words, {"retry-after": str(int(wait) + 1)})
