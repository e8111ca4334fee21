"""Adds five items at a time to a gallery, for ever, and says so after each: a process for tests to kill."""

from __future__ import annotations

import sys
from itertools import count

from partreid.types.gallery import GalleryItem
from tests.retrieval.stores.backends import open_at
from tests.retrieval.stores.contract import add, embeddings

BATCH = 5


def batch(number: int) -> list[GalleryItem]:
    """The items of one step."""
    return [GalleryItem(f"{number:05d}-{i}", metadata={"batch": number}) for i in range(BATCH)]


if __name__ == "__main__":
    with open_at(*sys.argv[1:]) as gallery:
        for number in count():
            add(gallery, batch(number), embeddings(BATCH, seed=number))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
