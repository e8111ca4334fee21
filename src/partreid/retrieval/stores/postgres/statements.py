"""Tables of a gallery in PostgreSQL, the statements on them, and vectors in the server's binary format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from partreid.errors import DataError
from partreid.retrieval.filters import Filter, tags
from partreid.retrieval.stores.base import AskedSlot, GalleryHeader, SearchRule, as_keyword
from partreid.types import GalleryItem, PartEmbeddings

# {s} is the schema's quoted name. Texts are ordered by code point (COLLATE "C"), as in Python. An item's parts are
# deleted with it, so that `DELETE FROM item WHERE time < ...` by hand leaves nothing behind.
TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA {s};
CREATE TABLE {s}.header (
    version integer NOT NULL,
    slots text[],
    width integer,
    model text,
    compare_normalized boolean,
    compare_weights json);
CREATE TABLE {s}.item (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    camera text COLLATE "C",
    time timestamptz,
    tags text[] COLLATE "C" NOT NULL,
    metadata json NOT NULL);
CREATE INDEX ON {s}.item USING gin (tags);
CREATE INDEX ON {s}.item (camera, time);
CREATE INDEX ON {s}.item (time);
CREATE TABLE {s}.part (
    item bigint NOT NULL REFERENCES {s}.item ON DELETE CASCADE,
    slot smallint NOT NULL,
    visibility real NOT NULL CHECK (visibility > 0 AND visibility <= 1),
    vector halfvec NOT NULL,
    PRIMARY KEY (item, slot));
INSERT INTO {s}.header (version) VALUES ({version})
"""

_INSERT = """
INSERT INTO {s}.item (id, camera, time, tags, metadata)
SELECT id, camera, time, ARRAY(SELECT json_array_elements_text(tags)), metadata
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[]::json[], %s::text[]::json[])
    AS new (id, camera, time, tags, metadata)
ON CONFLICT (id) """
ADD = _INSERT + "DO NOTHING RETURNING number, id"
REPLACE = (
    _INSERT
    + """DO UPDATE SET
    camera = excluded.camera, time = excluded.time, tags = excluded.tags, metadata = excluded.metadata
RETURNING number, id"""
)

# Rows are locked in the order of ids, like writes. So two processes may wait for each other, but never deadlock.
DELETE = "DELETE FROM {s}.item WHERE number IN (SELECT number FROM {s}.item WHERE {condition} ORDER BY id FOR UPDATE)"

COPY = "COPY {s}.part (item, slot, visibility, vector) FROM STDIN (FORMAT BINARY)"
COPY_BEGIN, COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"

# Eq. 9. `asked` holds the query's visible slots, and `part` has rows for visible parts only. So the join leaves the
# slots that are visible in both. An item without such a slot is not in `scored`, which means infinitely far. OFFSET 0
# makes the server compute distances while it reads rows. Without it, a server that does not know the table's size yet
# first sorts the rows with their vectors on disk, which is three times as slow.
_SEARCH = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(%s::smallint[], %s::float8[], %s::real[], %s::text[]::vector[])
        AS asked (slot, weight, threshold, vector)),
compared AS (
    SELECT part.item,
        asked.weight * CASE WHEN asked.threshold IS NULL THEN {factor} ELSE 1 END AS weight,
        {distance} AS distance
    FROM {s}.part AS part JOIN asked USING (slot){items}
    WHERE (asked.threshold IS NULL OR part.visibility > asked.threshold) AND {condition}
    OFFSET 0),
scored AS MATERIALIZED (
    SELECT item, sum(weight * distance) / sum(weight) AS distance FROM compared WHERE weight > {least} GROUP BY item),
kth AS (SELECT distance FROM scored ORDER BY distance OFFSET %s LIMIT 1)
SELECT item FROM scored
WHERE distance <= coalesce((SELECT distance FROM kth) * %s + %s, 'infinity')
"""
_FACTORS = {"product": "part.visibility", "geometric": "sqrt(part.visibility)"}
_LEAST = 2.0**-150
"""Weights up to this are 0 in single precision, and the final distances are computed in single precision."""

# Vectors in half precision are compared in single precision, as in all stores. It is 20 % slower than rounding the
# query to half precision.
_DISTANCES = {
    False: "part.vector::vector <-> asked.vector",
    True: "l2_normalize(part.vector::vector) <-> asked.vector",
}

# ANALYZE, because the server keeps samples of ids, cameras and tags for its plans.
COMPACT = ("VACUUM (FULL, ANALYZE) {s}.item", "VACUUM (FULL, ANALYZE) {s}.part")
COMPACTED = (
    "the server's log (pg_wal), archives and replicas of it",
    "former samples in the server's statistics (pg_statistic), until it vacuums them",
    "rows that a still open transaction from before the deletion can see",
    "copies that the file system, the disk or a dump made",
)
"""Where deleted items may be left after the compaction of a gallery in PostgreSQL."""

PARTS = "SELECT item, slot, visibility, vector FROM {s}.part WHERE item = ANY(%s)"

COUNT = "SELECT count(*) FROM {s}.item WHERE {condition}"

CAMERAS = "SELECT camera, count(*), min(time), max(time) FROM {s}.item WHERE {condition} GROUP BY camera"

WRONG_PARTS = """
SELECT item.id, slot, vector_dims(vector) FROM {s}.part AS part JOIN {s}.item AS item ON number = item
WHERE vector_dims(vector) <> %s OR NOT slot BETWEEN 0 AND %s ORDER BY id, slot LIMIT 20
"""


def condition(where: Filter) -> tuple[str, list[Any]]:
    """A filter as a condition on ``item`` and its parameters."""
    parts: list[tuple[str, Any]] = []
    if where.wanted_cameras is not None:
        parts.append(("item.camera = ANY(%s::text[])", where.wanted_cameras))
    if where.not_cameras:
        parts.append(("(item.camera IS NULL OR item.camera <> ALL(%s::text[]))", where.unwanted_cameras))
    unknown = " OR item.time IS NULL" if where.undated else ""
    if where.since is not None:
        parts.append((f"(item.time >= %s{unknown})", where.since))
    if where.until is not None:
        parts.append((f"(item.time < %s{unknown})", where.until))
    parts += [("item.tags && %s::text[]", [as_keyword(tag) for tag in group]) for group in where.wanted_tags]
    if where.unwanted_tags:
        parts.append(("NOT item.tags && %s::text[]", [as_keyword(tag) for tag in where.unwanted_tags]))
    if where.ids is not None:
        parts.append(("item.id = ANY(%s::text[])", list(where.ids)))
    if where.not_ids:
        parts.append(("item.id <> ALL(%s::text[])", list(where.not_ids)))
    return " AND ".join(text for text, _ in parts) or "TRUE", [value for _, value in parts]


def search(rule: SearchRule, condition: str) -> str:
    """The statement that finds the items near one query, among the items that meet a condition."""
    return _SEARCH.format(
        s="{s}",
        factor=_FACTORS[rule.matching.visibility],
        distance=_DISTANCES[bool(rule.matching.normalize)],
        items="" if condition == "TRUE" else " JOIN {s}.item AS item ON item.number = part.item",
        condition=condition,
        least=_LEAST,
    )


def asked(query: PartEmbeddings, rule: SearchRule, header: GalleryHeader) -> list[list[Any]]:
    """The columns of ``asked`` for one query [1, S, D] that is prepared for matching."""
    if rule.matching.normalize:
        query = query.normalized()
    slots = AskedSlot.of(query, rule.matching, header)
    rows = [[one.place, one.weight, one.limit, str(one.vector)] for one in slots]
    return [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]


def columns(items: Sequence[GalleryItem]) -> list[list[Any]]:
    """The columns of ``item`` for ADD and REPLACE."""
    return [
        [item.id for item in items],
        [item.camera for item in items],
        [item.time for item in items],
        [json.dumps([as_keyword(tag) for tag in tags(item.metadata)]) for item in items],
        [json.dumps(item.metadata, ensure_ascii=False) for item in items],
    ]


def copied(numbers: np.ndarray, embeddings: PartEmbeddings) -> bytes:
    """Rows of ``part`` for COPY: the visible slots of items [B], by their numbers."""
    row, slot = (index.numpy() for index in (embeddings.visibility > 0).nonzero(as_tuple=True))
    vector = np.dtype([("width", ">i2"), ("unused", ">i2"), ("numbers", ">f2", (embeddings.width,))])
    kinds: dict[str, np.dtype[Any]] = {
        "item": np.dtype(">i8"),
        "slot": np.dtype(">i2"),
        "visibility": np.dtype(">f4"),
        "vector": vector,
    }
    # COPY's format: the number of fields, then the size in bytes and the content of each field.
    columns = [part for name, kind in kinds.items() for part in ((f"bytes of {name}", ">i4"), (name, kind))]
    table = np.zeros(len(row), np.dtype([("fields", ">i2"), *columns]))
    table["fields"] = len(kinds)
    for name, kind in kinds.items():
        table[f"bytes of {name}"] = kind.itemsize
    table["item"], table["slot"], table["visibility"] = numbers[row], slot, embeddings.visibility.numpy()[row, slot]
    table["vector"]["width"], table["vector"]["numbers"] = embeddings.width, embeddings.vectors.numpy()[row, slot]
    return table.tobytes()


def embedded(rows: list[tuple[int, int, float, bytes]], numbers: list[int], header: GalleryHeader) -> PartEmbeddings:
    """The embeddings of items [B], by their numbers, from their rows of ``part``. Slots without a row are 0.

    Raises:
        DataError: a row has another width, or a slot that the gallery does not have.
    """
    if any(len(vector) != 4 + 2 * header.width or not 0 <= slot < len(header.slots) for _, slot, _, vector in rows):
        raise DataError("Parts of the gallery do not fit its slots and width; `partreid gallery verify` names them.")
    place = {number: i for i, number in enumerate(numbers)}
    vectors = np.zeros((len(numbers), len(header.slots), header.width), np.float16)
    visibility = np.zeros(vectors.shape[:2], np.float32)
    row, slot = [place[item] for item, *_ in rows], [slot for _, slot, *_ in rows]
    visibility[row, slot] = [seen for _, _, seen, _ in rows]
    packed = np.frombuffer(b"".join(vector[4:] for *_, vector in rows), ">f2")  # after its length and two bytes of 0
    vectors[row, slot] = packed.reshape(len(rows), header.width)
    return header.embeddings(torch.from_numpy(vectors), torch.from_numpy(visibility))
