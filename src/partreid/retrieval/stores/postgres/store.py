"""A gallery in PostgreSQL with pgvector: one row per visible part, Eq. 9 as one statement."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
import torch

from partreid.errors import DataError, needs_extra
from partreid.retrieval.filters import Filter
from partreid.retrieval.stores.addresses import hide, postgres_address
from partreid.retrieval.stores.base import (
    FORMAT_VERSION,
    Answer,
    Candidates,
    GalleryHeader,
    SearchRule,
    check_rule,
    check_version,
    first_header,
    pages,
    reach,
    taken,
)
from partreid.retrieval.stores.postgres import statements
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryItem, GalleryRecords

with needs_extra("postgres", "A gallery in PostgreSQL"):
    import psycopg
    from psycopg import sql

_SOME = 1024
"""Number of items that one statement writes or reads."""

_MAKING = 0x70617274
"""Advisory lock held while a gallery is made, because two processes may open it at once."""


class PostgresStore:
    """Items and their visible parts as rows of two tables, in a schema of the gallery's own.

    Every call is one transaction: it happens completely or not at all, even if the process or the server is killed. A
    search sees one state of the gallery, even if others write meanwhile. Any number of processes may read and write. If
    two add the same id at once, the server lets one of them win. A lost connection raises one error; the next call
    connects again.

    The vector of a slot that is not visible is not kept, and is read as zeros. The methods are those of
    :class:`~partreid.retrieval.stores.base.GalleryStore`.

    Args:
        location: ``postgres://user:password@host:port/database?gallery=name``. Other parameters, such as
            ``sslmode=require``, are passed to PostgreSQL. create: whether to make the gallery if there is none.

    Raises:
        DataError: the location names no gallery; the server cannot be reached or lacks pgvector; or the gallery does
            not exist, or has another format.
    """

    dtype: torch.dtype | None = torch.float16

    def __init__(self, location: str, *, create: bool = True) -> None:
        self._address, gallery, self.location, self._secrets = postgres_address(location)
        self._schema = f"partreid_{gallery}"
        self._lock = RLock()
        self._header: GalleryHeader | None = None  # kept once it cannot change any more
        self._says_compared = self._says_weights = True
        self._held: Any = None  # cursor of the one transaction for all reads while an answer is made
        with self._explained():
            self._connection = self._connect()
            try:
                self._begin(create=create)
            except BaseException:
                self._connection.close()
                raise

    def read(self, answer: Callable[[], Answer]) -> Answer:
        with self._transaction() as cursor:
            if self._held is not None:
                return answer()
            self._held = cursor
            try:
                return answer()
            finally:
                self._held = None

    def header(self) -> GalleryHeader | None:
        if self._header is not None:
            return self._header
        with self._transaction() as cursor:
            header = self._read_header(cursor)
        self._header = header if header is not None and header.settled else None
        return header

    def count(self, where: Filter) -> int:
        with self._transaction() as cursor:
            return int(self._run_where(cursor, statements.COUNT, where).fetchone()[0])

    def cameras(self, where: Filter) -> list[CameraSummary]:
        with self._transaction() as cursor:
            return [CameraSummary(*row) for row in self._run_where(cursor, statements.CAMERAS, where).fetchall()]

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        # In the order of ids, so that two writers of the same items may wait for each other, but never deadlock.
        records = records[sorted(range(len(records)), key=lambda i: records.items[i].id)]
        with self._transaction(writing=True) as cursor:
            self._agree(cursor, records.embeddings)
            for start in range(0, len(records), _SOME):
                self._write(cursor, records[range(start, min(start + _SOME, len(records)))], replace=replace)

    def delete(self, where: Filter) -> int:
        with self._transaction(writing=True) as cursor:
            return int(self._run_where(cursor, statements.DELETE, where).rowcount)

    def compact(self) -> tuple[str, ...]:
        """Write both tables again without deleted rows. Readers wait meanwhile."""
        with self._lock, self._explained():
            if self._connection.closed:
                self._connection = self._connect()
            self._connection.read_only = False
            cursor = self._connection.cursor()
            cursor.execute("SET lock_timeout = '60s'")  # wait so long for processes that read the whole gallery
            try:
                for statement in statements.COMPACT:  # one by one, because VACUUM cannot run in a transaction
                    self._run(cursor, statement)
            finally:
                cursor.execute("RESET lock_timeout")
        return statements.COMPACTED

    def overwrite(self, records: Callable[[], Iterable[GalleryRecords]]) -> None:
        with self._transaction(writing=True) as cursor:
            self._run(cursor, "LOCK TABLE {s}.item IN EXCLUSIVE MODE")  # readers go on
            header, several = first_header(records())
            self._run(cursor, "DELETE FROM {s}.item")
            self._run(
                cursor,
                "UPDATE {s}.header SET slots = NULL, width = NULL, model = NULL, compare_normalized = NULL"
                + (", compare_weights = NULL" if self._says_weights else ""),
            )
            self._header = None
            self._agree(cursor, header.example)
            for some in several:
                for start in range(0, len(some), _SOME):
                    self._write(cursor, some[range(start, min(start + _SOME, len(some)))], replace=False)
            self._header = None

    def fetch(self, where: Filter, *, limit: int) -> GalleryRecords:
        with self._transaction() as cursor:
            return self._page(cursor, where, limit)

    def walk(self, where: Filter, *, size: int) -> Iterator[GalleryRecords]:
        """All items, read in one transaction. It has its own connection, so that nobody waits for it."""
        with self._explained():
            connection = self._connect()
        try:
            with self._explained():
                connection.autocommit = False
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                cursor = connection.cursor(binary=True)
                if self._held is not None:  # part of a larger answer, which needs the same state
                    name = self._held.execute("SELECT pg_export_snapshot()").fetchone()[0]
                    cursor.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(name))
                if self._read_header(cursor) is None:
                    return
            yield from pages(lambda after: self._page(cursor, where, size, after))
        finally:
            connection.close()

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        check_rule(rule.matching, "PostgreSQL")
        header = self.header()
        assert header is not None
        found: list[list[int]] = []
        with self._transaction() as cursor:
            cursor.execute(f"SET LOCAL work_mem = {min(max(rule.memory_budget // 4096, 64), 2**20)}")  # in kB
            for one in rule.matching.prepare(query):
                found.append(self._near(cursor, one, rule, header))
            numbers = list(dict.fromkeys(number for row in found for number in row))
            records = self._records(cursor, "number = ANY(%s) ORDER BY number", [numbers])
        place = {number: i for i, number in enumerate(sorted(numbers))}
        pairs = [(q, place[number]) for q, row in enumerate(found) for number in row]
        return Candidates(records, *np.array(pairs, np.int64).reshape(-1, 2).T)

    def verify(self) -> list[str]:
        header = self.header()
        if header is None:
            return []
        with self._transaction() as cursor:
            limits = [header.width, len(header.slots) - 1]
            wrong = self._run(cursor, statements.WRONG_PARTS, limits).fetchall()
        problems = [f"Item {name!r}: slot {slot} with a vector of {width} numbers." for name, slot, width in wrong]
        try:
            for _ in () if problems else self.walk(Filter(), size=_SOME):
                pass
        except DataError as error:
            problems.append(str(error))
        return problems

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> Any:
        options = psycopg.conninfo.conninfo_to_dict(self._address)
        options.setdefault("connect_timeout", 10)
        connection = psycopg.connect(**options, autocommit=True)
        connection.execute("SET TIME ZONE 'UTC'")  # in other zones the earliest and latest times overflow
        return connection

    def _begin(self, *, create: bool) -> None:
        version = self._version()
        if version is None and create:
            with self._transaction(writing=True) as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_MAKING])
                if self._version() is None:
                    encoding = cursor.execute("SHOW server_encoding").fetchone()[0]
                    if encoding != "UTF8":
                        raise DataError(f"{self.location}: expected a database in UTF8, got {encoding}.")
                    tables = statements.TABLES.replace("{version}", str(FORMAT_VERSION))
                    self._run(self._connection.cursor(), tables)  # a binary cursor takes one statement at a time
            version = FORMAT_VERSION
        if version is None:
            raise DataError(f"There is no gallery at {self.location}. Check the name, or open it with create=True.")
        check_version(self.location, version)

    def _version(self) -> int | None:
        cursor = self._connection.cursor()
        if cursor.execute("SELECT FROM pg_namespace WHERE nspname = %s", [self._schema]).fetchone() is None:
            return None
        row = self._run(cursor, "SELECT version FROM {s}.header").fetchone()
        return int(row[0]) if row else -1

    def _run(self, cursor: Any, statement: str, values: Sequence[Any] = ()) -> Any:
        return cursor.execute(self._in_schema(statement), values)

    def _run_where(self, cursor: Any, statement: str, where: Filter) -> Any:
        condition, values = statements.condition(where)
        return self._run(cursor, statement.replace("{condition}", condition), values)

    def _in_schema(self, statement: str) -> Any:
        return sql.SQL(statement).format(s=sql.Identifier(self._schema))

    @contextmanager
    def _transaction(self, *, writing: bool = False) -> Iterator[Any]:
        """A cursor in a transaction: one state of the gallery for reading, and the latest one for writing."""
        with self._lock, self._explained():
            if self._held is not None and not writing:
                yield self._held
                return
            if self._connection.closed:
                self._connection = self._connect()
            level = psycopg.IsolationLevel
            self._connection.isolation_level = level.READ_COMMITTED if writing else level.REPEATABLE_READ
            self._connection.read_only = not writing
            with self._connection.transaction():
                yield self._connection.cursor(binary=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            advice = " Is the server there, and the address right?" * isinstance(error, psycopg.OperationalError)
            said = " ".join(str(error).split())
            shown = hide(said, self._secrets)  # a traceback shows the cause, so it must not contain secrets either
            raise DataError(f"{self.location}: {shown}.{advice}") from (error if shown == said else None)

    def _read_header(self, cursor: Any) -> GalleryHeader | None:
        row = self._run(cursor, "SELECT to_json(h) FROM {s}.header h WHERE slots IS NOT NULL").fetchone()
        if row is None:
            return None
        self._says_compared = "compare_normalized" in row[0]  # galleries of former versions have no such column
        self._says_weights = "compare_weights" in row[0]
        known, weights = row[0].get("compare_normalized"), row[0].get("compare_weights") or {}
        return GalleryHeader(tuple(row[0]["slots"]), row[0]["width"], row[0]["model"] or "", known, weights)

    def _agree(self, cursor: Any, new: PartEmbeddings) -> None:
        """Begin the gallery with these embeddings, or check that they fit the gallery."""
        header = self._read_header(cursor)
        if header is None:
            mine = GalleryHeader.of(new)
            # This waits for another process that does the same. If that one wins, this changes nothing.
            self._run(
                cursor,
                "UPDATE {s}.header SET slots = %s, width = %s, model = %s, compare_normalized = %s WHERE slots IS NULL",
                [list(mine.slots), mine.width, mine.model, mine.compare_normalized],
            )
            header = self._read_header(cursor) or dataclasses.replace(mine, compare_weights={})
        bound = header.bound_to(new, self.location)
        # These wait for another process that does the same, and change nothing if it wins.
        if bound.model != header.model:
            self._run(cursor, "UPDATE {s}.header SET model = %s WHERE coalesce(model, '') = ''", [bound.model])
        if bound.compare_normalized != header.compare_normalized and self._says_compared:
            known = "UPDATE {s}.header SET compare_normalized = %s WHERE compare_normalized IS NULL"
            self._run(cursor, known, [bound.compare_normalized])
        if bound.compare_weights != header.compare_weights:
            if not self._says_weights:
                self._run(cursor, "ALTER TABLE {s}.header ADD COLUMN IF NOT EXISTS compare_weights json")
            weights = "UPDATE {s}.header SET compare_weights = %s::text::json WHERE compare_weights IS NULL"
            self._run(cursor, weights, [json.dumps(bound.compare_weights)])
        if bound != header:
            self._header = None
            (self._read_header(cursor) or bound).bound_to(new, self.location)

    def _write(self, cursor: Any, records: GalleryRecords, *, replace: bool) -> None:
        self._run(cursor, statements.REPLACE if replace else statements.ADD, statements.columns(records.items))
        numbers = {name: number for number, name in cursor.fetchall()}
        if there := [name for name in records.ids if name not in numbers]:
            raise DataError(taken(there))
        places = np.array([numbers[name] for name in records.ids])
        if replace:
            self._run(cursor, "DELETE FROM {s}.part WHERE item = ANY(%s)", [places.tolist()])
        with cursor.copy(self._in_schema(statements.COPY)) as copy:
            copy.write(statements.COPY_BEGIN)
            copy.write(statements.copied(places, records.embeddings))
            copy.write(statements.COPY_END)

    def _near(self, cursor: Any, query: PartEmbeddings, rule: SearchRule, header: GalleryHeader) -> list[int]:
        """Numbers of the items near one prepared query [1, S, D]."""
        condition, values = statements.condition(rule.where)
        further = reach(header.width, normalize=bool(rule.matching.normalize))
        values = [*statements.asked(query, rule, header), *values, rule.k - 1, *further]
        return [number for (number,) in self._run(cursor, statements.search(rule, condition), values).fetchall()]

    def _page(self, cursor: Any, where: Filter, limit: int, after: str = "") -> GalleryRecords:
        condition, values = statements.condition(where)
        with self._explained():
            return self._records(cursor, f"{condition} AND id > %s ORDER BY id LIMIT %s", [*values, after, limit])

    def _records(self, cursor: Any, condition: str, values: list[Any]) -> GalleryRecords:
        header = self._header or self._read_header(cursor)
        assert header is not None
        self._run(cursor, "SELECT number, id, camera, time, metadata FROM {s}.item WHERE " + condition, values)
        rows = cursor.fetchall()
        numbers = [number for number, *_ in rows]
        parts = self._run(cursor, statements.PARTS, [numbers]).fetchall()
        items = tuple(GalleryItem(*values) for _, *values in rows)
        return GalleryRecords(items, statements.embedded(parts, numbers, header))
