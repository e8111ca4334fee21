"""Products of int8 codes, computed by the quickest library on this machine. docs/search.md has the figures."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numkong
import numpy as np
import torch

from partreid.retrieval.search.dots import aligned, dots
from partreid.retrieval.search.kernels import LEVELS

_ROWS, _QUERIES, _WIDTH, _TURNS = 2**9, 64, 512, 5  # of the products that are tried
_INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8")


@dataclass(frozen=True)
class Multiplier:
    """One way to multiply codes.

    Attributes:
        name: the library.
        pack: brings one slot's [Q, D] int8 codes of queries into the library's form.
        multiply: takes [m, D] int8 codes and packed queries, and writes [m, Q] int32.
    """

    name: str
    pack: Callable[[np.ndarray], Any]
    multiply: Callable[[np.ndarray, Any, np.ndarray], None]

    def exact(self, queries: int) -> bool:
        """Whether products of the largest codes, with all signs, are correct for this number of queries."""
        rng = np.random.default_rng(0)
        vectors, asked = (rng.choice(np.array((-LEVELS, LEVELS), np.int8), (n, _WIDTH)) for n in (_ROWS, queries))
        vectors[:2], asked[:1] = LEVELS, LEVELS
        found = np.empty((len(vectors), queries), np.int32)
        self.multiply(vectors, self.pack(asked), found)
        # Single precision holds these products exactly, because they are whole numbers below 2^24.
        return bool((found == vectors.astype(np.float32) @ asked.T.astype(np.float32)).all())


def _numkong(vectors: np.ndarray, packed: Any, out: np.ndarray) -> None:
    numkong.dots_packed(vectors, packed, out=numkong.from_dlpack(out))


def _onednn(vectors: np.ndarray, packed: torch.Tensor, out: np.ndarray) -> None:
    torch._int_mm(torch.from_numpy(vectors), packed, out=torch.from_numpy(out))


NUMBA = Multiplier("numba", aligned, dots)
NUMKONG = Multiplier("numkong", functools.partial(numkong.dots_pack, dtype="int8"), _numkong)
ONEDNN = Multiplier("oneDNN", lambda codes: torch.from_numpy(codes).T, _onednn)


@functools.cache
def quickest(alone: bool) -> Multiplier:
    """The quickest exact way on this machine. Each process measures it once, in some milliseconds.

    Args:
        alone: for a single query, where reading limits the speed; otherwise for many, where arithmetic does.
    """
    queries = 1 if alone else _QUERIES
    ways = [NUMBA, NUMKONG]
    if not alone and onednn_is_exact():
        ways.append(ONEDNN)
    vectors = np.random.default_rng(0).integers(-LEVELS, LEVELS, (_ROWS, _WIDTH), np.int8)
    out = np.empty((_ROWS, queries), np.int32)

    def seconds(way: Multiplier) -> float:
        packed, start = way.pack(vectors[:queries]), time.perf_counter()
        way.multiply(vectors, packed, out)
        return time.perf_counter() - start

    # In turn, so that other work on the machine disturbs all of them equally.
    turns = [[seconds(way) for way in ways] for _ in range(_TURNS)]
    return ways[int(np.min(turns, axis=0).argmin())]


def onednn_is_exact() -> bool:
    """Whether PyTorch's int8 products are exact: oneDNN is in use, and the processor adds products in 32 bits.

    Without such instructions (AVX2) oneDNN adds pairs of products in 16 bits, and saturates at the largest number.
    """
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    built_in = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return built_in and any(known.get(name) for name in _INT8_INSTRUCTIONS) and ONEDNN.exact(_QUERIES)
