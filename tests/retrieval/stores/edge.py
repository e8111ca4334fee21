"""Qdrant's engine (``qdrant-edge-py``) behind those methods of a ``QdrantClient`` that the store calls.

One shard in one process, without the server: the engine's own storage, filters, exact search and formulas.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import qdrant_edge as edge
from qdrant_client import models


class EdgeClient:
    """One collection in a folder. What a server keeps of a collection beside its vectors stands in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._about = folder / "shard", folder / "metadata.json"
        self._shard = edge.EdgeShard.load(str(self._folder)) if self._about.exists() else None

    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def collection_exists(self, name: str) -> bool:
        return self._shard is not None

    def get_collection(self, name: str) -> Any:
        return SimpleNamespace(config=SimpleNamespace(metadata=json.loads(self._about.read_text())))

    def create_collection(self, name: str, *, vectors_config: dict[str, Any], metadata: dict[str, Any]) -> None:
        if self._shard is not None:
            raise ValueError("there is one already")
        vectors = {
            slot: edge.EdgeVectorParams(
                size=some.size,
                distance=edge.Distance.Euclid,
                datatype=edge.VectorStorageDatatype.Float16,
                hnsw_config=edge.HnswIndexConfig(
                    m=some.hnsw_config.m, ef_construct=100, full_scan_threshold=10_000, max_indexing_threads=1
                ),
            )
            for slot, some in vectors_config.items()
        }
        self._folder.mkdir(parents=True)
        self._shard = edge.EdgeShard.create(str(self._folder), edge.EdgeConfig(vectors=vectors))
        self._about.write_text(json.dumps(metadata))

    def update_collection(
        self, name: str, *, metadata: dict[str, Any] | None = None, optimizers_config: Any = None
    ) -> None:
        if metadata is not None:
            self._about.write_text(json.dumps(metadata))
        if optimizers_config is not None:
            self._open.optimize()

    def create_payload_index(self, name: str, key: str, kind: Any) -> None:
        kinds = edge.PayloadSchemaType
        kind = {"keyword": kinds.Keyword, "datetime": kinds.Datetime}[kind.value]
        self._update(edge.UpdateOperation.create_field_index(key, kind))

    def upsert(self, name: str, points: list[Any], *, update_mode: Any, **_: Any) -> None:
        some = [edge.Point(point.id, point.vector, point.payload) for point in points]
        mode = edge.UpdateMode.Upsert if update_mode is None else edge.UpdateMode.InsertOnly
        self._update(edge.UpdateOperation.upsert_points(some, update_mode=mode))

    def delete(self, name: str, selector: Any, **_: Any) -> None:
        self._update(edge.UpdateOperation.delete_points_by_filter(_filter(selector.filter)))

    def count(self, name: str, where: Any, *, exact: bool) -> Any:
        return SimpleNamespace(count=self._open.count(edge.CountRequest(filter=_filter(where), exact=exact)))

    def retrieve(self, name: str, ids: list[str], *, with_payload: Any, with_vectors: bool) -> list[Any]:
        return self._open.retrieve(ids, with_payload=with_payload, with_vector=with_vectors)

    def scroll(self, name: str, where: Any, *, limit: int, offset: Any, with_payload: Any, with_vectors: bool) -> Any:
        return self._open.scroll(
            edge.ScrollRequest(
                limit=limit, offset=offset, filter=_filter(where), with_payload=with_payload, with_vector=with_vectors
            )
        )

    def query_batch_points(self, name: str, requests: list[Any]) -> list[Any]:
        batch = edge.QueryBatchRequest([_query(request) for request in requests])
        return [SimpleNamespace(points=points) for points in self._open.query_batch(batch)]

    @property
    def _open(self) -> Any:
        if self._shard is None:
            raise ValueError("there is no collection")
        return self._shard

    def _update(self, operation: Any) -> None:
        self._open.update(operation)


def _query(request: Any) -> Any:
    if request.prefetch:
        formula = request.query
        return edge.QueryRequest(
            limit=request.limit,
            query=edge.Formula(_expression(formula.formula), formula.defaults),
            prefetches=[
                edge.Prefetch(
                    limit=one.limit,
                    query=edge.Query.Nearest(one.query, one.using),
                    filter=_filter(one.filter),
                    params=edge.SearchParams(exact=one.params.exact),
                )
                for one in request.prefetch
            ],
        )
    return edge.QueryRequest(
        limit=request.limit,
        query=edge.Query.Nearest(request.query, request.using),
        filter=_filter(request.filter),
        params=edge.SearchParams(exact=request.params.exact),
    )


def _filter(where: Any) -> Any:
    must, must_not = ([_condition(one) for one in some or []] for some in (where.must, where.must_not))
    return edge.Filter(must=must or None, must_not=must_not or None)


def _condition(one: Any) -> Any:
    if isinstance(one, models.Filter):
        return _filter(one)
    if isinstance(one, models.HasIdCondition):
        return edge.HasIdCondition(set(one.has_id))
    if isinstance(one.match, models.MatchAny):
        return edge.FieldCondition(key=one.key, match=edge.MatchAny(one.match.any))
    if isinstance(one.match, models.MatchValue):
        return edge.FieldCondition(key=one.key, match=edge.MatchValue(one.match.value))
    if isinstance(one.range, models.DatetimeRange):
        limits = {side: time.isoformat() for side in ("gte", "lt") if (time := getattr(one.range, side)) is not None}
        return edge.FieldCondition(key=one.key, range=edge.RangeDateTime(**limits))
    return edge.FieldCondition(key=one.key, range=edge.RangeFloat(gt=one.range.gt))


def _expression(one: Any) -> Any:
    kind = edge.Expression
    if isinstance(one, models.NegExpression):
        return kind.Neg(_expression(one.neg))
    if isinstance(one, models.DivExpression):
        return kind.Div(_expression(one.div.left), _expression(one.div.right), one.div.by_zero_default)
    if isinstance(one, models.SumExpression):
        return kind.Sum([_expression(term) for term in one.sum])
    if isinstance(one, models.MultExpression):
        return kind.Mult([_expression(term) for term in one.mult])
    if isinstance(one, models.SqrtExpression):
        return kind.Sqrt(_expression(one.sqrt))
    if isinstance(one, models.FieldCondition):
        return kind.Condition(_condition(one))
    return kind.Variable(one) if isinstance(one, str) else kind.Constant(one)
