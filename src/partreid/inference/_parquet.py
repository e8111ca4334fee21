"""Embeddings as a Parquet table: a row per image, a field per slot. pyarrow is imported here only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partreid.errors import DataError, needs_extra
from partreid.types import PartEmbeddings


def write(path: Path, embeddings: PartEmbeddings, names: Sequence[str], metadata: Mapping[str, str]) -> None:
    """Write ``name``, ``vectors`` and ``visibility``; numbers are float32, uncompressed: they hardly shrink."""
    pa, pq = require()
    vectors, seen = (t.float().cpu() for t in (embeddings.vectors, embeddings.visibility))
    lists = [
        pa.FixedSizeListArray.from_arrays(pa.array(vectors[:, i].contiguous().numpy().ravel()), embeddings.width)
        for i in range(len(embeddings.slots))
    ]
    shown = [pa.array(seen[:, i].contiguous().numpy()) for i in range(len(embeddings.slots))]
    try:
        called = pa.array(list(names), pa.string())
    except UnicodeEncodeError as error:
        raise DataError(f"Parquet holds names in UTF-8 alone, got {error.object!r}. Write safetensors.") from None
    columns = {
        "name": called,
        "vectors": pa.StructArray.from_arrays(lists, names=embeddings.slots),
        "visibility": pa.StructArray.from_arrays(shown, names=embeddings.slots),
    }
    pq.write_table(pa.table(columns, metadata=dict(metadata)), path, compression="none", use_dictionary=False)


def metadata(path: Path) -> dict[str, str]:
    """The file's own metadata."""
    _, pq = require()
    found = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in found.items()}


def read(path: Path, slots: Sequence[str], rows: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Vectors [N, S, D] and visibility [N, S] of the slots, in their order, and the names.

    Raises:
        ValueError: the file has others than it says, or would unpack to far more than its size.
    """
    pa, pq = require()
    try:
        with pq.ParquetFile(path) as file:
            width = file.schema_arrow.field("vectors").type.field(0).type.list_size
            size, limit = rows * len(slots) * width * 4, 64 * path.stat().st_size + 2**20
            if file.metadata.num_rows != rows or size > limit:
                raise ValueError(f"{rows} names for {file.metadata.num_rows} rows of {width} numbers a slot")
            table = file.read(columns=["name", "vectors", "visibility"])
        lists, shown = (table[name].combine_chunks() for name in ("vectors", "visibility"))
        vectors = [lists.field(slot).flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1) for slot in slots]
        visibility = [shown.field(slot).to_numpy(zero_copy_only=False) for slot in slots]
        names = tuple(table["name"].to_pylist())
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    return torch.from_numpy(np.stack(vectors, axis=1)), torch.from_numpy(np.stack(visibility, axis=1)), names


def require() -> tuple[Any, Any]:
    """pyarrow and its reader of Parquet."""
    with needs_extra("tables", "A Parquet file"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet
