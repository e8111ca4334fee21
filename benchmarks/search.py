"""What exact search through int8 codes costs: against float32 products, and against computing every distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks.timing import Figure, compare, cpu_seconds
from partreid.retrieval import Gallery
from partreid.retrieval.search import can_run
from partreid.types import PartEmbeddings

TITLE = "Exact search, 10 nearest, 40,000 items of 9 slots × 512, 73 % visible"
ITEMS, SLOTS, WIDTH, SEEN = 40_000, 9, 512, 0.73
BATCH = 128
MILLION = 1_000_000


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """A batch and a single query on made-up people; what is left to compute exactly, also of pure noise."""
    if not can_run():
        yield Figure("not measured: the extra `search` (numkong, numba) is not installed", 0, "")
        return
    items, queries = people(ITEMS, seed=0), people(BATCH, seed=1)
    coded, plain = filled(items, "int8"), filled(items, "plain")
    building = cpu_seconds(lambda: coded.search(queries[:1]))
    seen = [items.vectors[items.visibility[:, s] > 0, s] for s in range(SLOTS)]
    for name, asked in ((f"{BATCH} queries", queries), ("a single query", queries[:1])):
        search = searching(coded, asked)
        products = visible_products(seen, asked)
        yield compare(
            f"codes over float32 products of the visible rows, {name}", search, products, rounds=rounds, limit=1
        )
        yield compare(f"codes over computing every distance, {name}", search, searching(plain, asked), rounds=2)
        yield Figure(
            f"exact distances, {name}", 100 * coded._codes.scored / len(asked) / ITEMS, "% of the items",
            detail="of which 10 are the answer",
        )  # fmt: skip
        seconds = min(cpu_seconds(search) for _ in range(rounds)) / len(asked)
        yield Figure(
            f"a query at {MILLION:,} items on two cores, {name}, projected", seconds * MILLION / ITEMS / 2, "s", 0.2,
            detail=f"{seconds:.4f} CPU seconds here; scaled by items, halved by cores",
        )  # fmt: skip
    codes = coded._codes.update(coded.embeddings)
    yield Figure(
        "codes", sum(part.nbytes for part in codes) / ITEMS, "bytes an item", detail=f"built in {building:.1f} s"
    )
    yield noise()


def people(count: int, *, seed: int) -> PartEmbeddings:
    """Embeddings in clusters of about 20, positive as behind a ReLU."""
    generator, shared = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(7)
    centres = torch.randn(ITEMS // 20, SLOTS, WIDTH, generator=shared)
    vectors = centres[torch.randint(0, len(centres), (count,), generator=generator)]
    vectors.add_(torch.randn(vectors.shape, generator=generator), alpha=0.5).relu_()
    visibility = (torch.rand(count, SLOTS, generator=generator) < SEEN).float()
    return PartEmbeddings(vectors, visibility, tuple(f"slot{s}" for s in range(SLOTS)))


def noise() -> Figure:
    """The worst case: all items about equally far."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(ITEMS + BATCH, 2, WIDTH, generator=generator)
    everything = PartEmbeddings(vectors, torch.ones(len(vectors), 2), ("a", "b"))
    gallery = filled(everything[:ITEMS], "int8")
    gallery.search(everything[ITEMS:])
    share = 100 * gallery._codes.scored / BATCH / ITEMS
    return Figure("exact distances, Gaussian noise in 2 slots", share, "% of the items", detail="nothing to find")


def filled(items: PartEmbeddings, engine: str) -> Gallery:
    """A gallery of them."""
    gallery = Gallery(engine=engine)  # type: ignore[arg-type]
    gallery.add(items, range(len(items)))
    return gallery


def searching(gallery: Gallery, queries: PartEmbeddings) -> Callable[[], object]:
    """The search as a call."""
    return lambda: gallery.search(queries, 10)


def visible_products(seen: list[torch.Tensor], queries: PartEmbeddings) -> Callable[[], object]:
    """The arithmetic alone: each slot's vectors against the queries that see it, gathered beforehand."""
    asked = [queries.vectors[queries.visibility[:, s] > 0, s] for s in range(SLOTS)]

    def products() -> None:
        for query, items in zip(asked, seen, strict=True):
            if len(query):
                torch.mm(query, items.T)

    return products
