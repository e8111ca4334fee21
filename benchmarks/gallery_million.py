"""``python -m benchmarks.gallery_million FOLDER``: a gallery of a million items of 6 slots × 256, and its memory.

It takes 5 GB of disk and some minutes. A second run in the same folder opens and searches what the first one made.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gallery import fill, made_up, of_reopened, timed
from benchmarks.timing import Figure
from partreid.retrieval import Gallery
from partreid.retrieval.filters import Filter

MILLION, SLOTS, WIDTH = 1_000_000, 6, 256
STEP = 20_000


def measure(folder: Path) -> Iterator[Figure]:
    """Making it, where it is not there, then opening, searching, filtering, adding."""
    gallery = Gallery.open(folder)
    begun = len(gallery)
    if begun < MILLION:
        for first in range(begun, MILLION, STEP):
            some = made_up(STEP, SLOTS, WIDTH, seed=first)
            added = timed(
                f"adding {STEP:,} items to {first:,}", lambda some=some, first=first: fill(gallery, some, first)
            )  # type: ignore[misc]
            if first in (0, MILLION // 2, MILLION - STEP):
                yield added
                yield peak()
    gallery.close()
    queries = made_up(128, SLOTS, WIDTH, seed=1)
    yield from of_reopened(lambda: Gallery.open(folder, create=False), queries[:1])
    yield peak()
    gallery = Gallery.open(folder, create=False)
    gallery.search(queries[:1])
    for name, where in (
        ("all", Filter()),
        ("one camera of 8", Filter(cameras=3)),
        ("1 % by time", Filter(since=1_700_000_000, until=1_700_010_000)),
        ("all but one track", Filter(not_metadata={"track": 17})),
    ):
        yield timed(f"a single query, {name}, the first", lambda where=where: gallery.search(queries[:1], where=where))  # type: ignore[misc]
        yield timed(f"a single query, {name}, another", lambda where=where: gallery.search(queries[1:2], where=where))  # type: ignore[misc]
    yield timed("128 queries", lambda: gallery.search(queries))
    one = made_up(1, SLOTS, WIDTH, seed=2)
    yield timed("adding one item, the first", lambda: gallery.upsert(one, ["one"]))
    yield timed("adding one item, another", lambda: gallery.upsert(one, ["two"]))
    yield timed("a single query after it", lambda: gallery.search(queries[:1]))
    yield timed("the first 1,000 items by id", lambda: next(gallery.records()))
    yield peak()
    for part in ("data", "codes"):
        size = sum(file.stat().st_size for file in (folder / part).iterdir())
        yield Figure(f"{part} on disk", size / 2**30, "GiB")


def peak() -> Figure:
    """The most memory this process ever held, mapped files included."""
    return Figure("peak memory until here", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "GiB", limit=4)


if __name__ == "__main__":
    for figure in measure(Path(sys.argv[1])):
        sys.stdout.write(f"{figure.name}: {figure.value:.4g} {figure.unit}  {figure.detail}\n")
        sys.stdout.flush()
