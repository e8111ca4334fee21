"""A long history of writes to a gallery, the same every time; and a process that makes it, for tests to kill."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from partreid.retrieval.filters import Filter
from partreid.retrieval.stores.lance.store import LanceStore
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryItem, GalleryRecords

SLOTS, WIDTH = ("foreground", "head", "feet"), 8
IDS = 300
"""Ids in use: a gallery never grows beyond."""

Items = dict[str, tuple[GalleryItem, torch.Tensor, torch.Tensor]]
"""What is in a gallery: item, [S, D] vectors and [S] visibilities by id."""


@dataclass(frozen=True)
class Step:
    """One write."""

    kind: Literal["add", "replace", "delete"]
    records: GalleryRecords | None = None
    where: Filter = field(default_factory=Filter)

    def apply(self, store: LanceStore) -> None:
        """Do it to a gallery."""
        if self.records is None:
            store.delete(self.where)
        else:
            store.write(self.records, replace=self.kind == "replace")

    def applied(self, items: Items) -> Items:
        """What is there afterwards."""
        if self.records is None:
            return {name: some for name, some in items.items() if not self.where.keeps(some[0])}
        embeddings = self.records.embeddings
        return items | {
            item.id: (item, embeddings.vectors[i], embeddings.visibility[i])
            for i, item in enumerate(self.records.items)
        }


def step(number: int, there: Items) -> Step:
    """The step of a number, to a gallery with these items."""
    chance = np.random.default_rng([7, number])
    kind = chance.choice(["add", "add", "add", "replace", "delete"])
    free = sorted({f"person {i}" for i in range(IDS)} - set(there))
    if kind == "delete" or (kind == "add" and len(free) < 20):
        wheres = (
            Filter(ids=[f"person {i}" for i in chance.integers(0, IDS, 25)]),
            Filter(cameras=int(chance.integers(4)), metadata={"kind": int(chance.integers(5))}),
        )
        return Step("delete", where=wheres[int(chance.integers(2))])
    names = free if kind == "add" else sorted({*free[:100], *there})
    count = int(chance.choice([1, 2, 3, 20]))
    return Step("add" if kind == "add" else "replace", records(chance.permutation(names)[:count].tolist(), number))


def records(names: list[str], seed: int) -> GalleryRecords:
    """Items of these names, with made-up everything else."""
    chance = np.random.default_rng([8, seed])
    items = tuple(
        GalleryItem(
            name,
            camera=None if (camera := int(chance.integers(5))) == 4 else camera,
            time=None if chance.random() < 0.2 else 10**9 + int(chance.integers(10**9)),
            metadata={"kind": int(chance.integers(5)), "note": "ü" * int(chance.integers(9))},
        )
        for name in names
    )
    vectors = torch.from_numpy(chance.standard_normal((len(names), len(SLOTS), WIDTH))).half()
    visibility = torch.from_numpy(chance.choice(np.float32([0, 0.5, 1]), (len(names), len(SLOTS))))
    return GalleryRecords(items, PartEmbeddings(vectors, visibility, SLOTS, "model"))


def held(store: LanceStore) -> Items:
    """What a gallery holds, read page by page."""
    found: Items = {}
    for page in store.walk(Filter(), size=128):
        found = Step("add", page).applied(found)
    return found


def same(first: Items, second: Items) -> bool:
    """Whether two galleries hold the same."""
    return first.keys() == second.keys() and all(
        mine[0] == yours[0] and torch.equal(mine[1], yours[1]) and torch.equal(mine[2], yours[2])
        for mine, yours in zip(first.values(), map(second.__getitem__, first), strict=True)
    )


def write_for_ever(folder: str, number: int, there: Items, say: Connection) -> None:
    """Make one step after another, and say the number of each that is done."""
    torch.set_num_threads(1)
    os.fsync = lambda _: None  # whoever is killed loses nothing for it, and the disk is the slowest part
    store = LanceStore(Path(folder), create=True)
    say.send(number)
    while True:
        one = step(number, there)
        one.apply(store)
        there = one.applied(there)
        number += 1
        say.send(number)
