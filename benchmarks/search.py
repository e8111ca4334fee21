"""What exact search through int8 codes costs: against float32 products, and against computing every distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks.timing import Figure, compare, cpu_seconds
from partreid.retrieval import Gallery
from partreid.retrieval.search.exact import ExactSearch, can_run
from partreid.types import PartEmbeddings

TITLE = "Exact search, 10 nearest of 100,000 items, 9 slots × 512, 73 % visible"
ITEMS, SLOTS, WIDTH, SEEN = 100_000, 9, 512, 0.73
BATCH = 128
BLOCK = 2048
MILLION = 1_000_000


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """A batch and a single query on made-up people; what is left to compute exactly, also of pure noise."""
    if not can_run():
        yield Figure("not measured: the extra `search` (numkong, numba) is not installed", 0, "")
        return
    from partreid.retrieval.search.products import onednn_is_exact

    items, queries = people(ITEMS, seed=0), people(BATCH, seed=1)
    coded = filled(items, "int8")
    building = cpu_seconds(lambda: coded.search(queries[:1]))
    seen = [items.vectors[items.visibility[:, s] > 0, s] for s in range(SLOTS)]
    instructions = onednn_is_exact()
    for name, asked, limit in (
        (f"{BATCH} queries", queries, 1 / 4 if instructions else 1 / 2.5),
        ("a single query", queries[:1], 1 / 3),
    ):
        search = searching(coded, asked)
        products = visible_products(seen, asked)
        search()
        title = f"{coded.engine} over float32 products of the visible rows, {name}"
        yield compare(title, search, products, rounds=rounds, limit=limit)
        left = 100 * searcher(coded).scored / len(asked) / ITEMS
        yield Figure(f"compared exactly, {name}", left, "% of the items", detail="of which 10 are the answer")
        seconds = min(cpu_seconds(search) for _ in range(rounds)) / len(asked)
        yield Figure(
            f"{name}: each at {MILLION:,} items on two cores, projected",
            seconds * MILLION / ITEMS / 2,
            "s",
            limit=0.15 if len(asked) == 1 else None,
            detail=f"{1000 * seconds:.2f} ms of CPU here; scaled by items, halved by cores",
        )
    every = searching(filled(items, "plain"), queries[:1])
    yield compare("codes over computing every distance, a single query", searching(coded, queries[:1]), every, rounds=2)
    size = (
        sum(a.nbytes for part in searcher(coded).codes_in_memory(items, False) for a in (part.codes, *part.rows))
        / ITEMS
    )
    yield Figure("codes", size, "bytes an item", detail=f"float32: {4 * SLOTS * WIDTH}; made in {building:.1f} s")
    yield noise()


def people(count: int, *, seed: int) -> PartEmbeddings:
    """Embeddings in clusters of about 20, positive as behind a ReLU."""
    generator, shared = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(7)
    centres = torch.randn(ITEMS // 20, SLOTS, WIDTH, generator=shared)
    vectors = torch.empty(count, SLOTS, WIDTH)
    for part in vectors.split(5000):
        torch.randn(part.shape, generator=generator, out=part)
        part.mul_(0.5).add_(centres[torch.randint(0, len(centres), (len(part),), generator=generator)]).relu_()
    visibility = (torch.rand(count, SLOTS, generator=generator) < SEEN).float()
    return PartEmbeddings(vectors, visibility, tuple(f"slot{s}" for s in range(SLOTS)))


def noise() -> Figure:
    """The worst case: all items about equally far."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(ITEMS + BATCH, 2, WIDTH, generator=generator)
    everything = PartEmbeddings(vectors, torch.ones(len(vectors), 2), ("a", "b"))
    gallery = filled(everything[:ITEMS], "int8")
    gallery.search(everything[ITEMS:])
    left = 100 * searcher(gallery).scored / BATCH / ITEMS
    return Figure("compared exactly, Gaussian noise in 2 slots", left, "% of the items", detail="the worst case")


def filled(items: PartEmbeddings, engine: str) -> Gallery:
    """A gallery of them."""
    gallery = Gallery(engine=engine)  # type: ignore[arg-type]
    gallery.add(items, [f"{i:06d}" for i in range(len(items))])
    return gallery


def searcher(gallery: Gallery) -> ExactSearch:
    """What searches a gallery in memory."""
    return gallery.store.search  # type: ignore[attr-defined,no-any-return]


def searching(gallery: Gallery, queries: PartEmbeddings) -> Callable[[], object]:
    """The search as a call."""
    return lambda: gallery.search(queries, 10)


def visible_products(seen: list[torch.Tensor], queries: PartEmbeddings) -> Callable[[], object]:
    """The arithmetic alone: each slot's vectors against the queries that see it, gathered beforehand, into the same
    memory again and again; several queries by blocks of items, which is quicker, and one by all of them."""
    asked = [queries.vectors[queries.visibility[:, s] > 0, s] for s in range(SLOTS)]
    block = BLOCK if len(queries) > 1 else ITEMS
    space = torch.empty(len(queries) * block)

    def products() -> None:
        for query, items in zip(asked, seen, strict=True):
            for some in items.split(block) if len(query) else ():
                torch.mm(query, some.T, out=space[: len(query) * len(some)].view(len(query), len(some)))

    return products
