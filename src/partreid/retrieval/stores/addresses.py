"""What the locations of galleries on servers say."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from partreid.errors import DataError

_POSTGRES = "Expected postgres://user@host:5432/database?gallery=name."
_QDRANT = "Expected qdrant://host:6333/name, or qdrant+https://host/name."


def postgres_address(location: str) -> tuple[str, str, str]:
    """What PostgreSQL is to connect to, the gallery's name, and the location without passwords.

    Raises:
        DataError: it is no address, or names no gallery.

    Example:
        >>> postgres_address("postgres://me:secret@host/db?gallery=people&sslmode=require")[1:]
        ('people', 'postgres://me@host/db?gallery=people&sslmode=require')
    """
    try:
        parts = urlsplit(location)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise DataError(f"Not an address of PostgreSQL: {error}. {_POSTGRES}") from None
    names = [value for key, value in options if key == "gallery"]
    # psycopg takes a % for a placeholder, in a quoted name too.
    if len(names) != 1 or not 0 < len(names[0].encode()) <= 50 or any(c in names[0] for c in "%\0"):
        raise DataError(f"Name one gallery, by 1 to 50 bytes without %, in its address; got {names!r:.80}. {_POSTGRES}")
    user, at, host = parts.netloc.rpartition("@")
    address, public = (
        f"{parts.scheme}://{netloc}{parts.path}?"
        + urlencode([pair for pair in options if pair[0] not in hidden], quote_via=quote, safe="/")
        for netloc, hidden in (
            (parts.netloc, ("gallery",)),
            (user.partition(":")[0] + at + host, ("password", "sslpassword")),
        )
    )
    return address, names[0], public


def qdrant_address(location: str) -> tuple[str, int, bool, str]:
    """Host, port, whether by TLS, and the collection's name.

    Raises:
        DataError: it is no address, or holds a key.

    Example:
        >>> qdrant_address("qdrant+https://example.org/people")
        ('example.org', 6333, True, 'people')
    """
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port or 6333
    except ValueError as error:
        raise DataError(f"Not an address of Qdrant: {error}. {_QDRANT}") from None
    if parts.username or parts.password or parts.query:
        raise DataError(f"An address of Qdrant holds no key; set QDRANT_API_KEY instead. {_QDRANT}")
    name = unquote(parts.path.removeprefix("/"))
    if not host or not 0 < len(name) <= 255 or any(c in '/\\<>:"|?*\0' for c in name):
        raise DataError(f"Not an address of Qdrant: {location}. {_QDRANT}")
    return host, port, parts.scheme == "qdrant+https", name
