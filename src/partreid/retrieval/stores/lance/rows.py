"""Items as rows of a Lance dataset, and the checksums that every row carries."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from partreid.retrieval.filters import Filter, tags
from partreid.retrieval.stores.base import FORMAT_VERSION, GalleryHeader
from partreid.types.gallery import GalleryItem, GalleryRecords

BATCH = 2048
"""Rows converted at once."""

LIGHT = ("id", "camera", "time", "tags", "visibility", "vectors_check", "check")
"""Columns that an open gallery keeps in memory."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
NO_TIME = np.iinfo(np.int64).min


def schema_of(header: GalleryHeader) -> pa.Schema:
    """The dataset's columns, with the header as metadata."""
    slots = len(header.slots)
    flat = {"lance-encoding:structural-encoding": "fullzip", "lance-encoding:compression": "none"}
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("camera", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
        pa.field("visibility", _list(pa.float32(), slots), nullable=False),
        pa.field("vectors_check", pa.uint32(), nullable=False),
        pa.field("check", pa.uint32(), nullable=False),
        pa.field("vectors", _list(pa.float16(), slots * header.width), nullable=False, metadata=flat),
    ]
    about = {"format": FORMAT_VERSION, "slots": header.slots, "width": header.width, "model": header.model}
    return pa.schema(fields, metadata={"partreid gallery": json.dumps(about)})


def batches_of(records: GalleryRecords, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Records as rows, some at a time. The vectors are in half precision."""
    for start in range(0, len(records), BATCH):
        embeddings = records.embeddings[start : start + BATCH]
        items = records.items[start : start + BATCH]
        vectors = embeddings.vectors.contiguous().numpy().reshape(len(items), -1)
        visibility = np.ascontiguousarray(embeddings.visibility.numpy(), np.float32)
        texts = [json.dumps(dict(item.metadata), ensure_ascii=False) for item in items]
        times = [NO_TIME if item.time is None else microseconds(item.time) for item in items]
        columns = Columns(
            ids=pa.array([item.id for item in items], pa.string()),
            cameras=pa.array([item.camera for item in items], pa.string()),
            times=np.array(times, np.int64),
            tags=pa.array([tags(item.metadata) for item in items], schema.field("tags").type),
            visibility=visibility,
            vectors_checks=checks_of_vectors(vectors),
            checks=np.empty(0, np.uint32),
        )
        yield columns.batch(texts, vectors, schema)


@dataclass(frozen=True, eq=False)
class Columns:
    """N rows without their metadata and vectors.

    Attributes:
        ids, cameras: texts. times: [N] int64 microseconds since 1970; the smallest number = unknown.
        tags: lists of texts. visibility: [N, S] float32.
        vectors_checks: [N] uint32 checksum of a row's vectors. checks: [N] uint32 checksum of ``vectors_checks`` and
            everything else in the row.
    """

    ids: pa.StringArray
    cameras: pa.StringArray
    times: np.ndarray
    tags: pa.ListArray
    visibility: np.ndarray
    vectors_checks: np.ndarray
    checks: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, table: pa.Table) -> Columns:
        column = {name: _whole(table[name]) for name in LIGHT}
        times = column["time"].cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
        seen = column["visibility"].flatten().to_numpy().reshape(len(table), -1)
        checks = (column[name].to_numpy() for name in ("vectors_check", "check"))
        return cls(column["id"], column["camera"], times, column["tags"], seen, *checks)

    def __getitem__(self, rows: np.ndarray) -> Columns:
        return Columns(*(c[rows] if isinstance(c, np.ndarray) else c.take(pa.array(rows)) for c in vars(self).values()))

    def row_checks(self, metadata: Sequence[str]) -> np.ndarray:
        """[N] uint32: the correct :attr:`checks` for this metadata, given as text."""
        found = np.empty(len(self), np.uint32)
        cameras, times = self.cameras.to_pylist(), self.times.tolist()
        sums, seen = self.vectors_checks.tolist(), np.ascontiguousarray(self.visibility)
        for row, item in enumerate(self.ids.to_pylist()):
            # The text is unambiguous, because no id, camera or JSON contains a NUL, and no camera is empty.
            text = f"{item}\0{cameras[row] or ''}\0{times[row]}\0{sums[row]}\0{metadata[row]}\0"
            found[row] = zlib.crc32(seen[row], zlib.crc32(text.encode()))
        return found

    def batch(self, metadata: Sequence[str], vectors: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
        """The rows in their stored form, with new checksums. ``metadata``: N texts. ``vectors``: [N, S·D] float16."""
        kind = {field.name: field.type for field in schema}
        columns = {
            "id": self.ids,
            "camera": self.cameras,
            "time": pa.array(self.times, pa.int64(), mask=self.times == NO_TIME).cast(kind["time"]),
            "metadata": pa.array(metadata, pa.string()),
            "tags": self.tags,
            "visibility": _lists(self.visibility, kind["visibility"]),
            "vectors_check": pa.array(self.vectors_checks),
            "check": pa.array(self.row_checks(metadata)),
            "vectors": _lists(vectors, kind["vectors"]),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def items(self, metadata: Sequence[str]) -> list[GalleryItem]:
        times = [None if time == NO_TIME else as_moment(time) for time in self.times.tolist()]
        rows = zip(self.ids.to_pylist(), self.cameras.to_pylist(), times, map(json.loads, metadata), strict=True)
        return [GalleryItem(*row) for row in rows]

    def mask(self, where: Filter) -> np.ndarray:
        """[N] bool: which rows meet a filter. It agrees with ``where.keeps`` for each item."""
        keep = np.ones(len(self), bool)
        unknown = self.times == NO_TIME
        for limit, lies in ((where.since, np.greater_equal), (where.until, np.less)):
            if limit is not None:
                inside = lies(self.times, microseconds(limit))
                keep &= inside | unknown if where.undated else inside & ~unknown
        for column, wanted, unwanted in (
            (self.cameras, where.wanted_cameras, where.unwanted_cameras),
            (self.ids, where.ids, where.not_ids),
        ):
            if wanted is not None:
                keep &= _among(column, wanted)
            if unwanted:
                keep &= ~_among(column, unwanted)
        for group in where.wanted_tags:
            keep &= self._tagged(group)
        if where.unwanted_tags:
            keep &= ~self._tagged(where.unwanted_tags)
        return keep

    def _tagged(self, group: Sequence[str]) -> np.ndarray:
        hits = np.concatenate([[0], np.cumsum(_among(self.tags.flatten(), group))])
        ends = self.tags.offsets.to_numpy() - self.tags.offsets[0].as_py()
        found: np.ndarray = np.diff(hits[ends]) > 0
        return found


def checks_of_vectors(vectors: np.ndarray) -> np.ndarray:
    """[N] uint32 checksum of each row of [N, ...] numbers."""
    return np.fromiter(map(zlib.crc32, vectors), np.uint32, len(vectors))


def microseconds(time: datetime) -> int:
    """Since 1970 in UTC."""
    return (time - _EPOCH) // _MICROSECOND


def _among(column: pa.StringArray, texts: Sequence[str]) -> np.ndarray:
    found: np.ndarray = pc.is_in(column, value_set=pa.array(texts, pa.string())).to_numpy(zero_copy_only=False)
    return found


def _list(kind: pa.DataType, length: int) -> pa.DataType:
    return pa.list_(pa.field("item", kind, nullable=False), length)


def _lists(rows: np.ndarray, kind: pa.DataType) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), type=kind)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def as_moment(time: int | None) -> datetime | None:
    """Microseconds since 1970 as a moment in UTC."""
    return None if time is None else _EPOCH + time * _MICROSECOND
