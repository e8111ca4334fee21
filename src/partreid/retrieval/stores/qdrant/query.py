"""Requests to Qdrant: points, filters, and Eq. 9 as a formula."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import torch

from partreid.errors import DataError, needs_extra
from partreid.retrieval.filters import Filter, tags
from partreid.retrieval.stores.base import AskedSlot, GalleryHeader, as_keyword
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryItem, GalleryRecords

with needs_extra("qdrant", "A gallery on a Qdrant server"):  # the store needs this as well
    from qdrant_client import QdrantClient as QdrantClient
    from qdrant_client import models as models
    from qdrant_client.http.exceptions import ApiException as ApiException

_SPACE = UUID("7d1c5f0e-6a3b-5c1e-9b64-2f1d8e7a4c90")
NOT_COMPARABLE = 1e30
"""The formula's distance where all weights are 0."""

_EXACT = models.SearchParams(exact=True)


def point_id(name: str) -> str:
    """The UUID of an id, because Qdrant names points by number or UUID."""
    return str(uuid5(_SPACE, name))


def point(item: GalleryItem, embeddings: PartEmbeddings, write: str) -> models.PointStruct:
    """A point for an item and its embeddings [1, S, D]: a vector per visible slot, everything else as payload."""
    payload: dict[str, Any] = {
        "id": item.id,
        "tags": [as_keyword(tag) for tag in tags(item.metadata)],
        "metadata": json.dumps(item.metadata, ensure_ascii=False),  # as text, because a server may change numbers
        "write": write,
    }
    if item.camera is not None:
        payload["camera"] = item.camera
    if item.time is not None:
        payload["time"] = moment(item.time)
    vectors = {}
    seen = embeddings.visibility[0].tolist()
    for i, (slot, vector) in enumerate(zip(embeddings.slots, embeddings.vectors[0].tolist(), strict=True)):
        if seen[i] > 0:
            vectors[slot] = vector
            payload[_visibility(i)] = seen[i]
    return models.PointStruct(id=point_id(item.id), vector=vectors, payload=payload)


def records(points: Sequence[Any], header: GalleryHeader) -> GalleryRecords:
    """Items and embeddings of points. Slots without a vector are 0."""
    vectors = np.zeros((len(points), len(header.slots), header.width), np.float16)
    visibility = np.zeros(vectors.shape[:2], np.float32)
    items = []
    for row, one in enumerate(points):
        payload = one.payload or {}
        try:
            items.append(GalleryItem(payload["id"], *sighting(payload), json.loads(payload["metadata"])))
            for name, vector in (one.vector or {}).items():
                slot = header.slots.index(name)
                vectors[row, slot], visibility[row, slot] = vector, payload[_visibility(slot)]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"Point {one.id} is no item of a gallery: {type(error).__name__} {error}.") from error
    return GalleryRecords(tuple(items), header.embeddings(torch.from_numpy(vectors), torch.from_numpy(visibility)))


def sighting(payload: dict[str, Any] | None) -> tuple[str | None, datetime | None]:
    """Camera and time of a point."""
    known = payload or {}
    time = known.get("time")
    return known.get("camera"), None if time is None else datetime.fromisoformat(time)


def condition(where: Filter) -> models.Filter:
    """Our filter as a filter of Qdrant."""
    must: list[Any] = []
    must_not: list[Any] = []
    if where.wanted_cameras is not None:
        must.append(_any("camera", where.wanted_cameras))
    if where.not_cameras:
        must_not.append(_any("camera", where.unwanted_cameras))
    since, until = (None if time is None else moment(time) for time in (where.since, where.until))
    if where.undated:  # an item without a time is in neither span, so it stays
        spans = ({"lt": since} if since else {}, {"gte": until} if until else {})
        must_not += [_time(**span) for span in spans if span]
    elif since or until:
        must.append(_time(gte=since, lt=until))
    must += [_any("tags", [as_keyword(tag) for tag in group]) for group in where.wanted_tags]
    if where.unwanted_tags:
        must_not.append(_any("tags", [as_keyword(tag) for tag in where.unwanted_tags]))
    if where.ids is not None:
        must.append(models.HasIdCondition(has_id=[point_id(name) for name in where.ids]))
    if where.not_ids:
        must_not.append(models.HasIdCondition(has_id=[point_id(name) for name in where.not_ids]))
    return models.Filter(must=must, must_not=must_not)


def moment(time: datetime) -> str:
    """A time as Qdrant reads it, to the microsecond."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def nearest(slot: AskedSlot, kind: Any, where: models.Filter, limit: int) -> Any:
    """A request for the nearest items in this slot alone. ``kind``: ``QueryRequest``, or ``Prefetch`` inside one."""
    shown = where if slot.limit is None else models.Filter(must=[where, _above(slot)])
    return kind(query=slot.vector, using=slot.name, filter=shown, params=_EXACT, limit=limit)


def ranking(asked: Sequence[AskedSlot], rule: str, where: models.Filter, most: int, limit: int) -> models.QueryRequest:
    """A request for the ``limit`` items nearest to one query by Eq. 9. At most ``most`` items meet the filter and show
    a slot of the query.

    The scores are negative distances. Each slot must prefetch all of these items, because an item that a slot does not
    prefetch has the default distance 0 there. That is only correct if the item has no vector there, and so the weight
    0.
    """
    weights = [[slot.weight, _shown(slot, rule)] for slot in asked]
    terms = [models.MultExpression(mult=[*weight, f"$score[{i}]"]) for i, weight in enumerate(weights)]
    mean = models.DivParams(
        left=models.SumExpression(sum=terms),
        right=models.SumExpression(sum=[models.MultExpression(mult=weight) for weight in weights]),
        by_zero_default=NOT_COMPARABLE,
    )
    defaults = {f"$score[{i}]": 0.0 for i in range(len(weights))}
    return models.QueryRequest(
        prefetch=[nearest(slot, models.Prefetch, where, most) for slot in asked],
        query=models.FormulaQuery(
            formula=models.NegExpression(neg=models.DivExpression(div=mean)),
            defaults=defaults | {_visibility(slot.place): 0.0 for slot in asked},
        ),
        limit=limit,
    )


def problems(point: Any, header: GalleryHeader) -> list[str]:
    """A sentence for each thing that is wrong with a point."""
    try:
        name = records([point], header).items[0].id
    except DataError as error:
        return [str(error)]
    shown = {slot for i, slot in enumerate(header.slots) if _visibility(i) in point.payload}
    if str(point.id) != point_id(name) or shown != set(point.vector or {}):
        return [f"Item {name!r}: point {point.id} does not fit the id, or its vectors do not fit its visibilities."]
    return []


def _shown(slot: AskedSlot, rule: str) -> Any:
    """An item's factor of a slot's weight."""
    if slot.limit is not None:
        return _above(slot)
    shown = _visibility(slot.place)
    return models.SqrtExpression(sqrt=shown) if rule == "geometric" else shown


def _above(slot: AskedSlot) -> models.FieldCondition:
    return models.FieldCondition(key=_visibility(slot.place), range=models.Range(gt=slot.limit))


def _any(key: str, values: Sequence[str]) -> Any:
    if not values:
        return models.HasIdCondition(has_id=[])  # none
    return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))


def _time(**span: str | None) -> models.FieldCondition:
    return models.FieldCondition(key="time", range=models.DatetimeRange(**span))


def _visibility(slot: int) -> str:
    """Key of a visibility in the payload. It has the slot's number, because not every name of a slot can be a key."""
    return f"visibility{slot}"
