"""Parsing the locations of galleries on servers, and hiding their secrets in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from partreid.errors import DataError

_POSTGRES = "Expected postgres://user@host:5432/database?gallery=name."
_QDRANT = "Expected qdrant://host:6333/name, or qdrant+https://host/name."
_SECRET = re.compile(r"pass(?!file)|pwd|secret|token|api.?key|^key$", re.IGNORECASE)
"""Names of parameters whose values nobody should see."""


def postgres_address(location: str) -> tuple[str, str, str, tuple[str, ...]]:
    """The address for PostgreSQL, the gallery's name, the location without passwords, and the passwords.

    Raises:
        DataError: it is not an address, or names no gallery. The message contains nothing that may be a password.

    Example:
        >>> postgres_address("postgres://me:secret@host/db?gallery=people&sslmode=require")[1:]
        ('people', 'postgres://me@host/db?gallery=people&sslmode=require', ('secret',))
    """
    try:
        parts = urlsplit(location)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # the error's text may contain the whole address
        raise DataError(f"Not an address of PostgreSQL: {without_secrets(location)}. {_POSTGRES}") from None
    user, at, host = parts.netloc.rpartition("@")
    ports = (re.sub(r"^\[.*\]", "", one).partition(":")[2] for one in host.split(","))
    # A slash, ? or # that is not percent-encoded cuts the password. Without an @, a password may look like a port.
    if "@" in user + parts.path + parts.fragment or (not at and any(port and not port.isdecimal() for port in ports)):
        raise DataError(
            f"Not an address of PostgreSQL: {without_secrets(location)}. Write / ? # @ : in a password as %2F %3F %23 "
            f"%40 %3A, or leave it to ~/.pgpass. {_POSTGRES}"
        )
    names = [value for key, value in options if key == "gallery"]
    # psycopg reads a % as a placeholder, even in a quoted name.
    if len(names) != 1 or not 0 < len(names[0].encode()) <= 50 or any(c in names[0] for c in "%\0"):
        got = ", ".join(map(repr, names)) or "none"
        raise DataError(f"Name one gallery, by 1 to 50 bytes without %, in its address; got {got:.80}. {_POSTGRES}")
    secrets = [value for key, value in options if _SECRET.search(key)]
    if password := user.partition(":")[2]:
        secrets += [password, unquote(password)]
    address, public = (
        f"{parts.scheme}://{netloc}{parts.path}?"
        + urlencode([pair for pair in options if not hidden(pair[0])], quote_via=quote, safe="/")
        for netloc, hidden in (
            (parts.netloc, lambda key: key == "gallery"),
            (user.partition(":")[0] + at + host, _SECRET.search),
        )
    )
    return address, names[0], public, tuple(dict.fromkeys(secrets))


def qdrant_address(location: str) -> tuple[str, int, bool, str]:
    """Host, port, whether to use TLS, and the collection's name; errors as for :func:`postgres_address`.

    Example:
        >>> qdrant_address("qdrant+https://example.org/people")
        ('example.org', 6333, True, 'people')
    """
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port or 6333
    except ValueError:  # the error's text may contain a key
        raise DataError(f"Not an address of Qdrant: {without_secrets(location)}. {_QDRANT}") from None
    if "@" in location or parts.query or parts.fragment:
        raise DataError(f"An address of Qdrant holds no key; set QDRANT_API_KEY instead. {_QDRANT}")
    name = unquote(parts.path.removeprefix("/"))
    if not host or not 0 < len(name) <= 255 or any(c in '/\\<>:"|?*\0' for c in name):
        raise DataError(f"Not an address of Qdrant: {without_secrets(location)}. {_QDRANT}")
    return host, port, parts.scheme == "qdrant+https", name


def without_secrets(location: str) -> str:
    """A valid or invalid address without anything that may be a password or a key; a folder is returned unchanged.

    Example:
        >>> without_secrets("Postgres://me:pa/ss@host/db?password=x&gallery=a")
        'Postgres://***@host/db?password=***&gallery=a'
    """
    text = str(location)
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/*", text)
    if scheme is None or len(scheme[0]) < 4:  # a folder, perhaps with a drive letter of Windows
        return re.sub(r"(?i)((?:pass|pwd|secret|token|api.?key)\w*\s*=\s*)('[^']*'|\S+)", r"\1***", text)
    rest = text[scheme.end() :]
    user, at, behind = rest.rpartition("@")
    if not re.fullmatch(r"[\w.-]*", user) or not scheme[0].lower().startswith("postgres"):
        user = "***"  # only in PostgreSQL's addresses, a name alone is no secret
    host, mark, more = re.fullmatch(r"([^/?#]*)([/?#]?)(.*)", behind, re.DOTALL).groups()  # type: ignore[union-attr]
    if not at:  # host:port, or user:password whose host is missing
        host = re.sub(r":(?!\d*$).*", ":***", host)
    more = re.sub(
        r"([^&?#=\s]+)=([^&#\s]*)", lambda pair: f"{pair[1]}=***" if _SECRET.search(unquote(pair[1])) else pair[0], more
    )
    more = re.sub(r"#.*", "#***", more, flags=re.DOTALL) if mark != "#" else "***"
    return f"{scheme[0]}{f'{user}@' if at else ''}{host}{mark}{more}"


def hide(text: str, secrets: Iterable[str]) -> str:
    """A message, perhaps of another program, without these secrets."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for shown in (secret, repr(secret)[1:-1], quote(secret), quote(secret, safe="")):
            # A short secret is only replaced as a whole word, because "a" is in every message.
            pattern = re.escape(shown) if len(shown) > 3 else rf"(?<!\w){re.escape(shown)}(?!\w)"
            text = re.sub(pattern, "***", text)
    return text
