"""Products of int8 codes with few queries, as quick as codes can be read: a loop in vector instructions.

LLVM by itself takes eight numbers at a time here, and stays at half the speed. This loop says that it wants 32. It is
portable: LLVM makes of it what the processor has (vpmaddwd with AVX2, vpdpwssd with VNNI, two or four of them where
registers are shorter).
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
_INT = {bits: ir.IntType(bits) for bits in (8, 16, 32)}


@compiled()
def dots(vectors: Array, queries: Array, out: Array) -> None:
    """Write the products [m, Q] int32 of int8 codes [m, D] with int16 queries [Q, D], both contiguous."""
    width = vectors.shape[1]
    whole = width - width % _LANES
    for j in range(len(vectors)):
        for i in range(len(queries)):
            total = _dot(vectors.ctypes.data + j * width, queries.ctypes.data + 2 * i * width, whole)
            for d in range(whole, width):
                total += np.int32(vectors[j, d]) * np.int32(queries[i, d])
            out[j, i] = total


@intrinsic  # type: ignore[untyped-decorator]
def _dot(typing: Any, code: Any, query: Any, width: Any) -> Any:  # noqa: ARG001 - numba asks for these names
    """The product of ``width`` int8 and int16 numbers at two addresses; ``width`` is a multiple of the lanes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        code, query, width = arguments
        start, step, two = (ir.Constant(width.type, number) for number in (0, _LANES, 2))
        sums = cgutils.alloca_once_value(builder, ir.Constant(_vector(32, _LANES // 2), [0] * (_LANES // 2)))

        def numbers(bits: int, address: Any) -> Any:
            loaded = builder.load(builder.inttoptr(address, _vector(bits, _LANES).as_pointer()), align=1)
            return builder.sext(loaded, _vector(32, _LANES))

        def places(of: Any, chosen: range) -> Any:
            return builder.shuffle_vector(of, of, ir.Constant(_vector(32, len(chosen)), list(chosen)))

        with cgutils.for_range_slice(builder, start, width, step) as (d, _):
            products = builder.mul(numbers(8, builder.add(code, d)), numbers(16, builder.add(query, builder.mul(d, two))))
            pairs = builder.add(places(products, range(0, _LANES, 2)), places(products, range(1, _LANES, 2)))
            builder.store(builder.add(builder.load(sums), pairs), sums)
        total, count = builder.load(sums), _LANES // 2
        while count > 1:
            count //= 2
            total = builder.add(places(total, range(count)), places(total, range(count, 2 * count)))
        return builder.extract_element(total, ir.Constant(_INT[32], 0))

    return types.int32(types.intp, types.intp, types.intp), build


def _vector(bits: int, count: int) -> ir.VectorType:
    return ir.VectorType(_INT[bits], count)
