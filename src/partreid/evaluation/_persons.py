"""Persons of labelled images as numbers, and dealt into folds."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable

import torch
from torch import Tensor

from partreid.retrieval.calibration import LabelledPairs
from partreid.types import Identity


def dealer(persons: Tensor, pairs: LabelledPairs, folds: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Which fold a person is in: those with a match are dealt first, so that each fold has as many of them."""
    everyone = torch.unique(torch.cat([pairs.query_person, pairs.gallery_person]))
    others = everyone[~torch.isin(everyone, persons)]
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([group[torch.randperm(len(group), generator=generator)] for group in (persons, others)])
    fold = torch.empty_like(everyone)
    fold[torch.searchsorted(everyone, order)] = torch.arange(len(order)) % folds
    return lambda people: fold[torch.searchsorted(everyone, people)]


def person_number(identity: Identity) -> int:
    """A number for a person, different for equal ids of different data sets, the same in every call."""
    dataset, pid = identity
    if 0 <= pid < 2**31:
        return (zlib.crc32(dataset.encode()) << 31) + pid
    digest = hashlib.blake2b(f"{dataset}\0{pid}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
