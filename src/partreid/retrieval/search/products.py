"""Products of int8 codes, and which library computes them quickest on this machine. docs/search.md has the figures."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numkong
import numpy as np
import torch

from partreid.retrieval.search.bound import LEVELS
from partreid.retrieval.search.dots import dots

_WIDTH, _QUERIES = 512, 64  # of the products that are timed
_ROWS = 2**9
_TURNS = 5


@dataclass(frozen=True)
class Multiplier:
    """One way to multiply codes.

    Attributes:
        name: the library. levels: largest number in a query's code with which its products are exact.
        pack: brings one slot's [Q, D] int8 codes of queries into the library's form.
        multiply: takes [m, D] int8 codes and packed queries, and writes [m, Q] int32.
    """

    name: str
    levels: int
    pack: Callable[[np.ndarray], Any]
    multiply: Callable[[np.ndarray, Any, np.ndarray], None]

    def exact(self, rng: np.random.Generator, queries: int) -> bool:
        """Whether products of the largest numbers, of all signs, are what they should be.

        Some libraries add up pairs of products in 16 bits where the processor cannot do better, and cut off what is
        too large.
        """
        vectors = rng.choice(np.array((-LEVELS, LEVELS), np.int8), (64, _WIDTH))
        asked = rng.choice(np.array((-self.levels, self.levels), np.int8), (queries, _WIDTH))
        vectors[:2], asked[:1] = LEVELS, self.levels
        found = np.empty((len(vectors), queries), np.int32)
        self.multiply(vectors, self.pack(asked), found)
        return bool((found == vectors.astype(np.int32) @ asked.T.astype(np.int32)).all())


def _numkong(vectors: np.ndarray, packed: Any, out: np.ndarray) -> None:
    numkong.dots_packed(vectors, packed, out=numkong.from_dlpack(out))


def _onednn(vectors: np.ndarray, packed: torch.Tensor, out: np.ndarray) -> None:
    torch._int_mm(torch.from_numpy(vectors), packed, out=torch.from_numpy(out))


NUMKONG = Multiplier("numkong", LEVELS, functools.partial(numkong.dots_pack, dtype="int8"), _numkong)
NUMBA = Multiplier("numba", LEVELS, lambda codes: codes.astype(np.int16), dots)
ONEDNN = Multiplier("oneDNN", LEVELS, lambda codes: torch.from_numpy(codes).T, _onednn)
ONEDNN_7_BIT = Multiplier("oneDNN, queries of 7 bits", LEVELS // 2, ONEDNN.pack, _onednn)
"""Where there is no instruction for int8 products (AVX2), oneDNN adds 255·l of two pairs in 16 bits: l <= 64 is safe."""


@functools.cache
def quickest(alone: bool) -> Multiplier:
    """The quickest exact way here, found out once in each process, in some milliseconds.

    Args:
        alone: for a single query, limited by memory; else for many, limited by arithmetic.
    """
    rng, queries = np.random.default_rng(0), 1 if alone else _QUERIES
    ways = [NUMKONG, NUMBA] if alone else [NUMKONG]
    if not alone and torch.backends.mkldnn.is_available():
        ways.append(ONEDNN if ONEDNN.exact(rng, queries) else ONEDNN_7_BIT)
    ways = [way for way in ways if way.exact(rng, queries)] or [NUMBA]
    vectors = rng.integers(-LEVELS, LEVELS, (_ROWS, _WIDTH), np.int8)
    asked, out = vectors[:queries] // 2, np.empty((len(vectors), queries), np.int32)

    def seconds(way: Multiplier) -> float:
        start = time.perf_counter()
        way.multiply(vectors, way.pack(asked), out)
        return time.perf_counter() - start

    return min(ways, key=lambda way: min(seconds(way) for _ in range(_TURNS)))
