"""A collection on a Qdrant server: points by id, by filter and by query, some at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from partreid.errors import DataError, PartReIDError
from partreid.retrieval.stores.addresses import hide
from partreid.retrieval.stores.base import FORMAT_VERSION, GalleryHeader
from partreid.retrieval.stores.qdrant.query import ApiException, QdrantClient, models

IDS = 10_000
"""Points named or listed by one request."""

_BYTES = 8 * 2**20
"""Of vectors in a request; a server takes 32 MiB unless told otherwise."""


class Collection:
    """Calls on one collection.

    Args:
        client: a ``QdrantClient``. name: the collection's. location: what to call it in messages.
    """

    def __init__(self, client: QdrantClient, name: str, *, location: str) -> None:
        self.client = client
        self.name = name
        self.location = location

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what the client raises into a DataError."""
        try:
            yield
        except PartReIDError:
            raise
        except (ApiException, ValueError, RuntimeError, OSError) as error:
            said = str(error)
            shown = hide(said, [os.environ.get("QDRANT_API_KEY", ""), os.environ.get("QDRANT_API_KEY", "").strip()])
            # A traceback shows what an error came of.
            raise DataError(f"{self.location}: {shown}. Is the server there, and the address right?") from (
                error if shown == said else None
            )

    def header(self) -> GalleryHeader | None:
        """What stands in the collection's own metadata; None where there is no collection."""
        if not self.client.collection_exists(self.name):
            return None
        about = (self.client.get_collection(self.name).config.metadata or {}).get("partreid")
        if about is None:
            raise DataError(f"{self.location} holds a collection that is no gallery. Use another name.")
        if about.get("version") != FORMAT_VERSION:
            raise DataError(
                f"{self.location} has format version {about.get('version')}; this partreid reads {FORMAT_VERSION}. "
                "Use the partreid that made it, or make a new gallery."
            )
        known = about.get("compare_normalized")
        return GalleryHeader(tuple(about["slots"]), about["width"], about["model"], known)

    def begin(self, header: GalleryHeader) -> None:
        """Make the collection; an error of the client where there is one."""
        vector = models.VectorParams(
            size=header.width,
            distance=models.Distance.EUCLID,
            datatype=models.Datatype.FLOAT16,
            hnsw_config=models.HnswConfigDiff(m=0),  # every search is exact: no graph is built
        )
        self.client.create_collection(
            self.name, vectors_config=dict.fromkeys(header.slots, vector), metadata=_about(header)
        )
        kinds = models.PayloadSchemaType
        for key, kind in (("camera", kinds.KEYWORD), ("tags", kinds.KEYWORD), ("time", kinds.DATETIME)):
            self.client.create_payload_index(self.name, key, kind)

    def describe(self, header: GalleryHeader) -> None:
        """Put a header in the place of the collection's."""
        self.client.update_collection(self.name, metadata=_about(header))

    def ask(self, requests: list[models.QueryRequest]) -> list[list[Any]]:
        """Points found by each request."""
        return [answer.points for answer in self.client.query_batch_points(self.name, requests)]

    def write(self, points: Iterator[models.PointStruct], header: GalleryHeader, *, only_new: bool) -> None:
        """Put points in the place of those of the same ids, or leave these as they are."""
        some: list[models.PointStruct] = []
        for one in points:
            some.append(one)
            if len(some) == self._with_vectors(header):
                self._upsert(some, only_new=only_new)
                some = []
        if some:
            self._upsert(some, only_new=only_new)

    def remove(self, where: models.Filter) -> None:
        """Delete points."""
        self.client.delete(
            self.name, models.FilterSelector(filter=where), wait=True, ordering=models.WriteOrdering.STRONG
        )

    def payloads(self, ids: Sequence[str], keys: list[str]) -> Iterator[dict[str, Any]]:
        """Some of the payload of those points that there are."""
        for start in range(0, len(ids), IDS):
            found = self.client.retrieve(self.name, ids[start : start + IDS], with_payload=keys, with_vectors=False)
            yield from (one.payload for one in found)

    def points(self, ids: Sequence[str], header: GalleryHeader) -> list[Any]:
        """Those points that there are, whole."""
        found, some = [], self._with_vectors(header)
        for start in range(0, len(ids), some):
            found += self.client.retrieve(self.name, ids[start : start + some], with_payload=True, with_vectors=True)
        return found

    def scroll(
        self, where: models.Filter, header: GalleryHeader | None = None, *, keys: Sequence[str] = ("id",)
    ) -> Iterator[Any]:
        """All points of a filter: whole where a header is given, else with these keys of their payload alone."""
        offset = None
        while True:
            points, offset = self.client.scroll(
                self.name,
                where,
                limit=self._with_vectors(header) if header else IDS,
                offset=offset,
                with_payload=True if header else list(keys),
                with_vectors=header is not None,
            )
            yield from points
            if offset is None:
                return

    def _upsert(self, points: list[models.PointStruct], *, only_new: bool) -> None:
        self.client.upsert(
            self.name,
            points,
            wait=True,
            ordering=models.WriteOrdering.STRONG,
            update_mode=models.UpdateMode.INSERT_ONLY if only_new else None,
        )

    @staticmethod
    def _with_vectors(header: GalleryHeader) -> int:
        """Points in one request that holds their vectors: a number takes about 12 bytes as JSON."""
        return max(1, _BYTES // (12 * len(header.slots) * header.width))


def _about(header: GalleryHeader) -> dict[str, Any]:
    """A header as the collection's metadata."""
    about = {"version": FORMAT_VERSION, **asdict(header), "slots": list(header.slots)}
    return {"partreid": about}
