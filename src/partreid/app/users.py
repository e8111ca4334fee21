"""Users of the page. Each has a token and a role."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias, get_args

from partreid.errors import ConfigError, DataError
from partreid.files import atomic_file, hold_work
from partreid.json_files import read_json
from partreid.types.moments import written_time

Role: TypeAlias = Literal["search", "add", "delete"]
"""What a user may do; each includes the ones before it."""

ROLES: tuple[Role, ...] = get_args(Role)

_FORMAT, _VERSION = "partreid-users", 1
_PREFIX = "partreid_"  # scanners of repositories recognise published tokens by it
_NAME = re.compile(r"[\w.@-]{1,80}")


class UsersError(DataError):
    """The file of users cannot be read or written."""


@dataclass(frozen=True)
class User:
    """A user.

    Attributes:
        name: as in the audit log. role: what the user may do. created: the time, ISO 8601 in UTC.
        sha256: of the token, in hexadecimal digits. A token has 256 random bits, so nobody can guess it from this.

    Raises:
        DataError: the name has other characters than letters, digits and ``_.@-``, the role is unknown, or the hash is
            not valid.
    """

    name: str
    role: Role
    created: str
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DataError(f"A user's name has 1 to 80 letters, digits, or _ . @ -; got {self.name!r:.80}.")
        if self.role not in ROLES:
            raise DataError(f"Expected a role of {', '.join(ROLES)}, got {self.role!r:.80}.")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise DataError(f"Expected the SHA-256 of the token of {self.name}.")
        written_time(self.created, local=False)

    def may(self, role: Role) -> bool:
        """Whether the user's role is that one, or includes it.

        Example:
            >>> User("anna", "add", "2026-11-30T00:00:00Z", "0" * 64).may("search")
            True
        """
        return ROLES.index(self.role) >= ROLES.index(role)


class Users:
    """The users in a file, which only its owner can read. Changes apply at once, also to a running page.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._known: tuple[User, ...] = ()
        self._turn = Lock()

    def listed(self) -> tuple[User, ...]:
        """All users, in the order in which they were added; none without a file.

        Raises:
            UsersError: the file is damaged, is of another kind, or others may write to it.
        """
        with self._turn:
            try:
                facts = self.path.stat()
            except FileNotFoundError:
                self._seen, self._known = None, ()
                return ()
            except OSError as error:
                raise UsersError(f"{self.path} cannot be read: {error.strerror}.") from None
            if facts.st_mode & 0o022:
                raise DataError(
                    f"Others may write to {self.path}, and so let themselves in. Run: chmod 600 {self.path}"
                )
            seen = facts.st_ino, facts.st_size, facts.st_mtime_ns
            if seen != self._seen:
                self._known, self._seen = _read(self.path), seen
            return self._known

    def find(self, token: str) -> User | None:
        """The user with that token; None if it is nobody's.

        Raises:
            UsersError: as :meth:`listed`.
        """
        return self.of_hash(sha256(token.encode("utf-8", "replace")).hexdigest())

    def of_hash(self, digest: str) -> User | None:
        """The user whose token has that SHA-256; errors as for :meth:`find`."""
        found = None
        for user in self.listed():  # compares all users, so that the time taken reveals nothing
            if compare_digest(user.sha256, digest):
                found = user
        return found

    def add(self, name: str, role: Role) -> str:
        """Add a user.

        Returns:
            The token. It is not stored anywhere, so a user who loses it needs a new one.

        Raises:
            DataError: there is a user of that name, or the name or the role is not valid; or as :meth:`listed`.
        """
        token = _PREFIX + secrets.token_urlsafe(32)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        new = User(name, role, created, sha256(token.encode()).hexdigest())

        def change(users: tuple[User, ...]) -> tuple[User, ...]:
            if any(user.name == name for user in users):
                raise DataError(f"There is a user {name} already. Revoke that one first, or choose another name.")
            return (*users, new)

        self._change(change)
        return token

    def revoke(self, name: str) -> None:
        """Revoke a user's token for good.

        Raises:
            ConfigError: there is no user of that name. UsersError: as :meth:`listed`.
        """

        def change(users: tuple[User, ...]) -> tuple[User, ...]:
            left = tuple(user for user in users if user.name != name)
            if len(left) == len(users):
                known = ", ".join(user.name for user in users) or "nobody"
                raise ConfigError(f"There is no user {name!r:.80} in {self.path}. Known: {known}.")
            return left

        self._change(change)

    def _change(self, how: Callable[[tuple[User, ...]], tuple[User, ...]]) -> None:
        with hold_work(self.path.with_name(f".{self.path.name}.lock"), f"changing {self.path}", error=UsersError):
            users = how(self.listed())
            content = {"format": _FORMAT, "version": _VERSION, "users": [asdict(user) for user in users]}
            with atomic_file(self.path, error=UsersError, private=True) as temporary:
                temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> tuple[User, ...]:
    content = read_json(path, error=UsersError)
    try:
        if (content["format"], content["version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"format {content['format']!r:.40}, version {content['version']!r:.40}")
        users = tuple(User(**user) for user in content["users"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsersError(f"{path} holds no users that this version can read: {error}") from None
    if len({user.name for user in users}) < len(users):
        raise UsersError(f"{path} has two users of one name. Take one of them out.")
    return users
