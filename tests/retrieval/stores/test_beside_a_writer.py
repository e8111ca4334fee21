"""A search while another process adds or deletes items: what it says of each item is true."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from partreid.retrieval import Gallery
from partreid.retrieval.filters import Filter
from partreid.retrieval.stores.base import Candidates, SearchRule
from partreid.retrieval.stores.memory import MemoryStore
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryItem, GalleryRecords

SLOTS = ("a", "b")


class Busy(MemoryStore):
    """Something happens between finding candidates and counting the items."""

    def __init__(self, event: Callable[[MemoryStore], object]) -> None:
        super().__init__()
        self.event = event

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        found = super().nearest(query, rule)
        self.event(self)
        return found


def one(name: str, *seen: float) -> GalleryRecords:
    return GalleryRecords((GalleryItem(name),), PartEmbeddings(torch.ones(1, 2, 3), torch.tensor([seen]), SLOTS))


@pytest.mark.parametrize(
    ("event", "names"),
    [
        (lambda store: store.write(one("0", 1, 1), replace=False), ["near", "unlike"]),
        (lambda store: store.write(one("0", 0, 1), replace=False), ["near", "0", "unlike"]),
        (lambda store: store.delete(Filter(ids=("unlike",))), ["near"]),
        (lambda store: store.delete(Filter(ids=("near",))), ["near"]),
    ],
)
def test_what_is_said_of_each_item_is_true(event: Callable[[MemoryStore], object], names: list[str]) -> None:
    gallery = Gallery(Busy(event))
    for name, seen in (("near", (1, 0)), ("unlike", (0, 1))):
        gallery.store.write(one(name, *seen), replace=False)
    query = PartEmbeddings(torch.zeros(1, 2, 3), torch.tensor([[1.0, 0.0]]), SLOTS)
    result = gallery.search(query, 5)
    assert list(result.ids[0]) == names
    assert torch.equal(result.comparable, result.compared > 0)
