"""What a gallery on disk costs: adding, opening, searching beside one in memory, filters."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.timing import Figure, compare, cpu_seconds
from partreid.retrieval import Gallery
from partreid.retrieval.filters import Filter
from partreid.types import PartEmbeddings

TITLE = "A gallery on disk, 20,000 items of 9 slots × 512, 73 % visible, against the same in memory"
ITEMS, SLOTS, WIDTH, SEEN = 20_000, 9, 512, 0.73
CAMERAS = 8


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """Adding, opening anew, single queries and batches, with a filter and without, one item more."""
    items, queries = made_up(ITEMS, SLOTS, WIDTH, seed=0), made_up(128, SLOTS, WIDTH, seed=1)
    memory = Gallery()
    fill(memory, replace(items, vectors=items.vectors.half()), 0)
    with tempfile.TemporaryDirectory() as folder:
        stored = Gallery.open(Path(folder) / "g")
        yield timed(f"adding {ITEMS:,} items in one call", lambda: fill(stored, items, 0), limit=1.7)
        yield timed("the first search: makes and keeps codes", lambda: stored.search(queries[:1]))
        yield from of_reopened(lambda: Gallery.open(Path(folder) / "g", create=False), queries[:1])
        for name, asked in (("a single query", queries[:1]), ("128 queries", queries)):
            for what, where in (("", Filter()), (", one camera of 8", Filter(cameras=3))):
                yield compare(
                    f"on disk over in memory, {name}{what}",
                    lambda asked=asked, where=where: stored.search(asked, where=where),  # type: ignore[misc]
                    lambda asked=asked, where=where: memory.search(asked, where=where),  # type: ignore[misc]
                    rounds=rounds,
                )
        names = iter(range(10**6))
        one = made_up(1, SLOTS, WIDTH, seed=2)
        adding = [cpu_and_wall(lambda: stored.add(one, [f"one {next(names)}"])) for _ in range(50)]
        cpu, wall = (sum(times) / len(times) for times in zip(*adding, strict=True))
        yield Figure("adding one item", 1000 * cpu, "ms", detail=f"{1000 * wall:.0f} ms until it is safe on this disk")
        yield compare(
            "single query after 50 items added one by one, over in memory",
            lambda: stored.search(queries[:1]),
            lambda: memory.search(queries[:1]),
            rounds=rounds,
        )
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        detail = f"vectors: {2 * SLOTS * WIDTH}"
        yield Figure("on disk, codes and old versions included", size / ITEMS, "bytes an item", detail=detail)


def of_reopened(reopen: Callable[[], Gallery], query: PartEmbeddings) -> Iterator[Figure]:
    """A new handle: its first answers."""
    found: list[Gallery] = []
    yield timed("opening", lambda: found.append(reopen()))
    some = Filter(cameras=3)
    yield timed("the first filter after it: reads all but the vectors", lambda: found[0].count(some))
    yield timed("the first search after it: maps and checks codes", lambda: found[0].search(query))


def timed(name: str, call: Callable[[], object], *, limit: float | None = None) -> Figure:
    """CPU seconds of one call."""
    cpu, wall = cpu_and_wall(call)
    return Figure(name, cpu, "s", limit, detail=f"{wall:.2f} s by the clock")


def cpu_and_wall(call: Callable[[], object]) -> tuple[float, float]:
    start = time.perf_counter()
    return cpu_seconds(call), time.perf_counter() - start


def made_up(count: int, slots: int, width: int, *, seed: int) -> PartEmbeddings:
    """Embeddings in clusters of about 20 items, positive as behind a ReLU."""
    generator, shared = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(7)
    centres = torch.randn(1000, slots, width, generator=shared)
    vectors = torch.randn(count, slots, width, generator=generator).mul_(0.5)
    vectors.add_(centres[torch.randint(0, len(centres), (count,), generator=generator)]).relu_()
    visibility = (torch.rand(count, slots, generator=generator) < SEEN).float()
    return PartEmbeddings(vectors, visibility, tuple(f"slot{s}" for s in range(slots)))


def fill(gallery: Gallery, items: PartEmbeddings, first: int) -> None:
    """Add items with camera, time and metadata."""
    numbers = range(first, first + len(items))
    gallery.add(
        items,
        [f"camera{i % CAMERAS}/{i:07d}.jpg" for i in numbers],
        cameras=[i % CAMERAS for i in numbers],
        times=[1_700_000_000 + i for i in numbers],
        metadata=[{"track": i // 20, "box": [i % 99, 5, 64, 128]} for i in numbers],
    )
