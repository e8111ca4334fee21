"""A collection on a Qdrant server: points by id, by filter and by query, some at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Any

from partreid.errors import DataError, PartReIDError
from partreid.retrieval.stores.addresses import hide
from partreid.retrieval.stores.base import FORMAT_VERSION, GalleryHeader, check_version
from partreid.retrieval.stores.qdrant.query import ApiException, QdrantClient, models

IDS = 10_000
"""Most points in one request that names or lists points."""

_BYTES = 8 * 2**20
"""Size of the vectors in one request. By default a server accepts 32 MiB."""


class Collection:
    """Calls on one collection.

    Args:
        client: a ``QdrantClient``. name: the collection's. location: the gallery's name in messages.
    """

    def __init__(self, client: QdrantClient, name: str, *, location: str) -> None:
        self.client, self.name, self.location = client, name, location

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except PartReIDError:
            raise
        except (ApiException, ValueError, RuntimeError, OSError) as error:
            said = str(error)
            shown = hide(said, [os.environ.get("QDRANT_API_KEY", ""), os.environ.get("QDRANT_API_KEY", "").strip()])
            # A traceback shows the cause, so a cause with a secret is left out.
            raise DataError(f"{self.location}: {shown}. Is the server there, and the address right?") from (
                error if shown == said else None
            )

    def header(self) -> GalleryHeader | None:
        """The header, from the collection's metadata; None if there is no collection."""
        if not self.client.collection_exists(self.name):
            return None
        about = (self.client.get_collection(self.name).config.metadata or {}).get("partreid")
        if about is None:
            raise DataError(f"{self.location} holds a collection that is no gallery. Use another name.")
        check_version(self.location, about.get("version"))
        known, weights = about.get("compare_normalized"), about.get("compare_weights") or {}
        return GalleryHeader(tuple(about["slots"]), about["width"], about["model"], known, weights)

    def begin(self, header: GalleryHeader) -> None:
        """Make the collection. The client raises an error if it exists."""
        vector = models.VectorParams(
            size=header.width,
            distance=models.Distance.EUCLID,
            datatype=models.Datatype.FLOAT16,
            hnsw_config=models.HnswConfigDiff(m=0),  # no graph is built, because every search is exact
        )
        self.client.create_collection(
            self.name, vectors_config=dict.fromkeys(header.slots, vector), metadata=_about(header)
        )
        kinds = models.PayloadSchemaType
        for key, kind in (("camera", kinds.KEYWORD), ("tags", kinds.KEYWORD), ("time", kinds.DATETIME)):
            self.client.create_payload_index(self.name, key, kind)

    def describe(self, header: GalleryHeader) -> None:
        self.client.update_collection(self.name, metadata=_about(header))

    def vacuum(self) -> None:
        """Let the server rewrite a segment as soon as anything in it is deleted. By default it waits until a fifth of
        at least 1000 points is deleted."""
        often = models.OptimizersConfigDiff(deleted_threshold=1e-6, vacuum_min_vector_number=100)
        self.client.update_collection(self.name, optimizers_config=often)

    def ask(self, requests: list[models.QueryRequest]) -> list[list[Any]]:
        return [answer.points for answer in self.client.query_batch_points(self.name, requests)]

    def write(self, points: Iterator[models.PointStruct], header: GalleryHeader, *, only_new: bool) -> None:
        """Write points. They replace points with the same ids, or with ``only_new`` leave these unchanged."""
        mode = models.UpdateMode.INSERT_ONLY if only_new else None
        while some := list(islice(points, _at_once(header))):
            self.client.upsert(self.name, some, wait=True, ordering=models.WriteOrdering.STRONG, update_mode=mode)

    def remove(self, where: models.Filter) -> None:
        self.client.delete(
            self.name, models.FilterSelector(filter=where), wait=True, ordering=models.WriteOrdering.STRONG
        )

    def points(
        self, ids: Sequence[str], header: GalleryHeader | None = None, *, keys: Sequence[str] = ()
    ) -> Iterator[Any]:
        """The points that exist: complete if a header is given, otherwise only these keys of their payload."""
        some, payload = _at_once(header), True if header else list(keys)
        for start in range(0, len(ids), some):
            yield from self.client.retrieve(
                self.name, ids[start : start + some], with_payload=payload, with_vectors=header is not None
            )

    def scroll(
        self, where: models.Filter, header: GalleryHeader | None = None, *, keys: Sequence[str] = ("id",)
    ) -> Iterator[Any]:
        """All points that meet a filter, in the form of :meth:`points`."""
        some, payload = _at_once(header), True if header else list(keys)
        asked: dict[str, Any] = {"limit": some, "with_payload": payload, "with_vectors": header is not None}
        points, offset = self.client.scroll(self.name, where, offset=None, **asked)
        yield from points
        while offset is not None:
            points, offset = self.client.scroll(self.name, where, offset=offset, **asked)
            yield from points


def _at_once(header: GalleryHeader | None) -> int:
    """Points in one request. If a header is given, they have vectors, of which each number takes about 12 bytes."""
    return IDS if header is None else max(1, _BYTES // (12 * len(header.slots) * header.width))


def _about(header: GalleryHeader) -> dict[str, Any]:
    return {"partreid": {"version": FORMAT_VERSION, **asdict(header), "slots": list(header.slots)}}
