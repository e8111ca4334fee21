"""Products of int8 codes in vector instructions: as quick as codes can be read, and exact on every processor.

Left alone, LLVM takes eight numbers at a time, which is half as quick. This loop asks for 32. It is portable, because
LLVM translates it to the processor's instructions: vpmaddwd with AVX2, vpdpwssd with VNNI, several of them if registers
are shorter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from partreid.retrieval.search.kernels import Array, compiled

_LANES = 32
_CACHED = 32  # codes that stay in the first-level cache while they meet all queries
_TOGETHER = 4  # queries for which a code is read and widened once
_LINE = 64  # bytes of a cache line; reading a register across two lines takes twice as long


def aligned(queries: Array) -> Array:
    """[Q, D] int8 queries as int16, which :func:`dots` takes. They start at a cache line, where reading is quickest."""
    room = np.empty(2 * queries.size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    found = room[start : start + 2 * queries.size].view(np.int16).reshape(queries.shape)
    found[:] = queries
    return found


@compiled()
def dots(vectors: Array, queries: Array, out: Array) -> None:
    """Write into ``out`` the products [m, Q] int32 of int8 codes [m, D] with int16 queries [Q, D], all contiguous."""
    (count, width), several = vectors.shape, len(queries) - len(queries) % _TOGETHER
    code, query, place = vectors.ctypes.data, queries.ctypes.data, out.ctypes.data
    for first in range(0, count, _CACHED):
        some = range(first, min(first + _CACHED, count))
        for i in range(0, several, _TOGETHER):
            for j in some:
                _dot_several(code + j * width, query + 2 * i * width, width, place + 4 * (j * len(queries) + i))
        for i in range(several, len(queries)):
            for j in some:
                _dot_one(code + j * width, query + 2 * i * width, width, place + 4 * (j * len(queries) + i))
    for d in range(width - width % _LANES, width):
        for j in range(count):
            for i in range(len(queries)):
                out[j, i] += np.int32(vectors[j, d]) * np.int32(queries[i, d])


def _dot(queries: int) -> Any:
    """An intrinsic that multiplies an int8 code with int16 queries. It takes addresses, and only whole lanes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, query, width, out = arguments
        sums = [cgutils.alloca_once_value(builder, _vector(32, _LANES // 2)(None)) for _ in range(queries)]

        def at(base: Any, *steps: int | Any) -> Any:
            for step in steps:
                base = builder.add(base, width.type(step) if isinstance(step, int) else step)
            return base

        def numbers(bits: int, address: Any) -> Any:
            loaded = builder.load(builder.inttoptr(address, _vector(bits, _LANES).as_pointer()), align=1)
            return builder.sext(loaded, _vector(32, _LANES))

        def places(of: Any, chosen: range) -> Any:
            return builder.shuffle_vector(of, of, _vector(32, len(chosen))(list(chosen)))

        whole = builder.sub(width, builder.and_(width, width.type(_LANES - 1)))
        with cgutils.for_range_slice(builder, width.type(0), whole, width.type(_LANES)) as (d, _):
            some = numbers(8, at(code, d))
            for i, total in enumerate(sums):
                row = builder.mul(at(builder.mul(width, width.type(i)), d), width.type(2))
                products = builder.mul(some, numbers(16, at(query, row)))
                pairs = builder.add(places(products, range(0, _LANES, 2)), places(products, range(1, _LANES, 2)))
                builder.store(builder.add(builder.load(total), pairs), total)
        for i, each in enumerate(sums):
            total, count = builder.load(each), _LANES // 2
            while count > 1:
                count //= 2
                total = builder.add(places(total, range(count)), places(total, range(count, 2 * count)))
            place = builder.inttoptr(at(out, 4 * i), ir.IntType(32).as_pointer())
            builder.store(builder.extract_element(total, ir.IntType(32)(0)), place)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def products(typing: Any, code: Any, query: Any, width: Any, out: Any) -> Any:
        return types.void(types.intp, types.intp, types.intp, types.intp), build

    return products


def _vector(bits: int, count: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), count)


_dot_one, _dot_several = _dot(1), _dot(_TOGETHER)
