"""One search in several galleries: shards by camera or by time (docs/scale.md)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from partreid.errors import ShapeError
from partreid.objects import guided
from partreid.retrieval._columns import Query
from partreid.retrieval.filters import Where
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.matching import MatchingConfig
from partreid.types import SearchResult


@guided
def search_many(
    galleries: Sequence[Gallery],
    query: Query,
    k: int = 10,
    *,
    matching: MatchingConfig | None = None,
    where: Where = None,
) -> SearchResult:
    """The ``k`` nearest items of all galleries together, all searched at once.

    Args:
        galleries: at least one, with embeddings of one model. Ids are unique only within each gallery. If two galleries
            use the same id, the answer may contain it twice.
        query: [Q, S, D], or Q images if all galleries have their extractor.
        k, matching, where: as in :meth:`Gallery.search`.

    Returns:
        Items by distance, equal distances by id, as one gallery with all the items would find them.

    Raises:
        ShapeError: no gallery, galleries of different models, or as :meth:`Gallery.search`.
        ConfigError: a gallery's store cannot compare by this matching rule.
        DataError: a gallery cannot be read. To continue without it, leave it out.

    Example:
        >>> from partreid import PartEmbeddings
        >>> e = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
        >>> north, south = Gallery(), Gallery()
        >>> north.add(e[:2], ["n1", "n2"])
        >>> south.add(e[2], ["s1"])
        >>> search_many([north, south], e[2], k=2).ids
        (('s1', 'n1'),)
    """
    if not galleries:
        raise ShapeError("Expected at least one gallery to search, got none.")
    with ThreadPoolExecutor(len(galleries)) as threads:
        searches = [threads.submit(one.search, query, k, matching=matching, where=where) for one in galleries]
        found = [search.result() for search in searches]
    first = _check_alike(found)
    distances = torch.cat([result.distances for result in found], dim=1)
    parts = torch.cat([result.part_distances for result in found], dim=1)
    items = [[item for result in found for item in result.items[q]] for q in range(len(first))]
    order = [
        sorted(range(len(row)), key=lambda i, row=row, near=near: (near[i], row[i].id))[:k]  # type: ignore[misc]
        for row, near in zip(items, distances.tolist(), strict=True)
    ]
    index = torch.tensor(order, dtype=torch.int64).reshape(len(first), min(k, distances.shape[1]))
    distances = distances.gather(1, index)
    return SearchResult(
        tuple(tuple(row[i] for i in chosen) for row, chosen in zip(items, order, strict=True)),
        distances,
        torch.isfinite(distances),
        parts.gather(1, index[:, :, None].expand(-1, -1, parts.shape[2])),
        first.slots,
        first.matching,
        first.model,
    )


def _check_alike(found: Sequence[SearchResult]) -> SearchResult:
    """The first answer that found something. Checks that all others fit it."""
    some = [result for result in found if result.items and result.items[0]]
    first = next(iter(some), found[0])
    for other in some:
        if len({first.model, other.model} - {""}) > 1:
            raise ShapeError(
                f"The galleries were made by different models, {first.model} and {other.model}: their distances cannot "
                "be ranked together. Search each by itself, with queries embedded by its own model."
            )
        if first.matching != other.matching:
            raise ShapeError(
                f"The galleries compare in different ways: {first.matching!r} and {other.matching!r}. Say how: "
                "search_many(..., matching=MatchingConfig(normalize=...))."
            )
    return first
