"""What every store must answer, worked out with plain loops in double precision; and items that are hard to keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import torch

from partreid.functional.visibility import VISIBILITY_RULES
from partreid.retrieval import Gallery, MatchingConfig
from partreid.retrieval.filters import Filter
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryItem, GalleryRecords
from partreid.types.search import SearchResult

SLOTS = ("foreground", "head", "left leg")
WIDTH = 8
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

OWN_RULES: dict[str, Callable[[Any], Any]] = {"test-squared": lambda v: v * v, "test-doubt": lambda v: 0.5 + 0.5 * v}
"""Visibility rules of our own; one weighs slots that are not visible."""
for _name, _rule in OWN_RULES.items():
    VISIBILITY_RULES.register(_name, _rule)
FACTORS: dict[str, Callable[[float], float]] = {
    "product": lambda v: v,
    "geometric": math.sqrt,
    "ignore": lambda v: 1.0,
    **OWN_RULES,
}

ODD_TEXTS = (
    "a",
    "A",
    "ä",
    "a\u0308",  # looks like the one above
    "'; DROP TABLE item; --",
    'double " quote',
    "back\\slash %s {} $1 :name",
    "new\nline\ttab",
    "日本語 🚶",
    "\U0010ffff",
    "\uffff",
    "x" * 500,
    "ü" * 500,
    " ",
    "null",
    "0",
    "a/../b",
    "<script>",
)


def embeddings(n: int, *, seed: int = 0, width: int = WIDTH, model: str = "") -> PartEmbeddings:
    """Vectors that half precision holds exactly; visibilities of 0, 1 and between; every fifth shows no part."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, len(SLOTS), width, generator=generator).half().float()
    levels = torch.tensor([0.0, 0.0, 0.3, 0.77, 1.0, 1.0])
    visibility = levels[torch.randint(0, 6, (n, len(SLOTS)), generator=generator)]
    visibility[::5] = 0
    return PartEmbeddings(vectors, visibility, SLOTS, model)


def near_duplicates(n: int, *, seed: int = 0) -> PartEmbeddings:
    """One image, and copies that differ by about 1e-4 of its length, each a little more; all seen alike."""
    generator = torch.Generator().manual_seed(seed)
    one = (0.06 + 0.06 * torch.rand(1, len(SLOTS), WIDTH, generator=generator)).half().float()
    step = 2.0**-14  # the spacing of half precision in 0.0625..0.125
    away = torch.zeros(n, len(SLOTS), WIDTH)
    for i in range(n):
        away[i, :, i % WIDTH] = step * (1 + i // WIDTH + (i % WIDTH) / 100).__trunc__()
        away[i, 0, 0] += step * i
    return PartEmbeddings((one + away).half().float(), torch.ones(n, len(SLOTS)), SLOTS)


def odd_items(n: int, *, seed: int = 0) -> list[GalleryItem]:
    """Items with odd ids, cameras, times and metadata; some lack what others have."""
    chance = np.random.default_rng(seed)
    names = [*ODD_TEXTS, *(f"item{i:04d}" for i in range(n))][:n]
    items = []
    for i, name in enumerate(names):
        time = None if i % 4 == 0 else NOON + timedelta(microseconds=int(chance.integers(-3, 4)))
        camera = None if i % 5 == 0 else str(chance.choice(["1", "2", "' OR 1=1", "ü"]))
        metadata: dict[str, Any] = {}
        if i % 3:
            metadata["track"] = [17, "17", 5, 1.5, True, None, "true"][int(chance.integers(7))]
        if i % 2:
            metadata[ODD_TEXTS[i % 12]] = ODD_TEXTS[(i * 7) % 18]
        if i % 7 == 0:
            metadata["deep"] = {"list": [1, {"a": None}], "text": '["track","17"]', "long": "y" * 5000}
        items.append(GalleryItem(name, camera, time, metadata))
    return items


def add(gallery: Gallery, items: Sequence[GalleryItem], some: PartEmbeddings, *, replace: bool = False) -> None:
    """Put items into a gallery by its public methods."""
    write = gallery.upsert if replace else gallery.add
    write(
        some,
        [item.id for item in items],
        cameras=[item.camera for item in items],
        times=[item.time for item in items],
        metadata=[item.metadata for item in items],
    )


def named(n: int, prefix: str = "item") -> list[GalleryItem]:
    """Plain items."""
    return [GalleryItem(f"{prefix}{i:04d}") for i in range(n)]


@dataclass(frozen=True)
class Found:
    """One line of an answer: id, distance, and the distance of each slot (NaN where it is not compared)."""

    id: str
    distance: float
    parts: tuple[float, ...]


def by_loops(
    query: PartEmbeddings, held: GalleryRecords, k: int, matching: MatchingConfig, where: Filter
) -> list[list[Found]]:
    """Eq. 9 for every query and item, then sorted by distance and id."""
    answer = []
    for q in range(len(query)):
        row = []
        for g, item in enumerate(held.items):
            if where.keeps(item):
                row.append(_compare(query, q, held.embeddings, g, item.id, matching))
        row.sort(key=lambda found: (found.distance, found.id))
        answer.append(row[:k])
    return answer


def _compare(
    query: PartEmbeddings, q: int, items: PartEmbeddings, g: int, name: str, matching: MatchingConfig
) -> Found:
    above = below = 0.0
    parts = []
    for slot in matching.slots or query.slots:
        s = query.slots.index(slot)
        a, b = (e.vectors[i, s].double().tolist() for e, i in ((query, q), (items, g)))
        v, w = (_seen(float(e.visibility[i, s]), slot, matching) for e, i in ((query, q), (items, g)))
        if matching.normalize:
            a, b = ([x / max(math.hypot(*vector), 1e-12) for x in vector] for vector in (a, b))
        weight = FACTORS[matching.visibility](v) * FACTORS[matching.visibility](w)
        weight *= (matching.slot_weights or {}).get(slot, 1)
        distance = math.dist(a, b)
        parts.append(distance if weight else math.nan)
        above, below = above + weight * distance, below + weight
    return Found(name, above / below if below else math.inf, tuple(parts))


def _seen(visibility: float, slot: str, matching: MatchingConfig) -> float:
    limits = matching.visibility_threshold
    limit = limits.get(slot) if isinstance(limits, dict) else limits
    # A limit has the type of the visibilities: 0.3 in single precision is not above 0.3.
    return visibility if limit is None else float(np.float32(visibility) > np.float32(limit))


def assert_answers(result: SearchResult, expected: list[list[Found]]) -> None:
    """The same ids in the same order, with distances, part distances and comparability."""
    assert [list(row) for row in result.ids] == [[found.id for found in row] for row in expected]
    distances = torch.tensor([[found.distance for found in row] for row in expected], dtype=torch.float64)
    parts = torch.tensor([[found.parts for found in row] for row in expected], dtype=torch.float64)
    torch.testing.assert_close(result.distances.double(), distances.reshape(result.distances.shape), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        result.part_distances.double(),
        parts.reshape(result.part_distances.shape),
        rtol=0,
        atol=1e-5,
        equal_nan=True,
    )
    assert torch.equal(result.comparable, torch.isfinite(result.distances))
    assert torch.equal(result.compared, result.part_distances.isfinite().sum(dim=2))


def everything(gallery: Gallery, where: Filter | None = None) -> GalleryRecords | None:
    """All that a gallery holds; None where nothing."""
    pages = list(gallery.records(where))
    return GalleryRecords.cat(pages) if pages else None


def assert_holds(gallery: Gallery, items: Sequence[GalleryItem], some: PartEmbeddings) -> None:
    """The gallery holds exactly these items, in the order of their ids, and of their vectors those of visible slots."""
    order = sorted(range(len(items)), key=lambda i: items[i].id)
    held = everything(gallery)
    assert len(gallery) == len(items)
    if held is None:
        assert not items
        return
    assert held.items == tuple(items[i] for i in order)
    expected = some[order]
    assert torch.equal(held.embeddings.visibility.float(), expected.visibility)
    seen = expected.visibility > 0
    assert torch.equal(held.embeddings.vectors.float()[seen], expected.vectors[seen])
    assert torch.isfinite(held.embeddings.vectors).all()
