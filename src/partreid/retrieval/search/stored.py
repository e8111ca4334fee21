"""Codes in a file: written whole or not at all, checked when read, mapped into memory."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.json_files import parse_json
from partreid.retrieval.search.codes import SlotCodes

_MAGIC = b"partreid codes 1\n"
"""The number changes with what the numbers beside codes mean."""

_ALIGNED = 64


def save_codes(path: Path, codes: SlotCodes, key: str) -> None:
    """Write codes; ``key`` says of which vectors.

    Raises:
        DataError: the file cannot be written.
    """
    arrays = codes.arrays()
    crc, described, size = 0, {}, 0
    for name, array in arrays.items():
        described[name] = (array.dtype.str, array.shape, size)
        size += _padded(array.nbytes)
        crc = zlib.crc32(_filled(array), crc)
    header = json.dumps({"key": key, "arrays": described, "size": size, "crc": crc}).encode()
    start = _MAGIC + f"{len(header):08d} {zlib.crc32(header):08x}\n".encode() + header
    with atomic_file(path, error=DataError, durable=False) as temporary, temporary.open("wb") as file:
        file.write(start.ljust(_padded(len(start))))
        for array in arrays.values():
            file.write(_filled(array))


def load_codes(path: Path, key: str) -> SlotCodes | None:
    """The codes in a file, mapped; None where there are none of these vectors, or the file is torn or damaged."""
    try:
        data = np.asarray(np.memmap(path, np.uint8, "c"))  # as if writable: compiled loops serve these and others alike
        lines = bytes(data[: len(_MAGIC) + 18])
        if not lines.startswith(_MAGIC):
            return None
        length, _, crc = lines[len(_MAGIC) :].decode().partition(" ")
        content = bytes(data[len(lines) : len(lines) + int(length)])
        if zlib.crc32(content) != int(crc, 16):
            return None
        header = parse_json(content, source=str(path), error=DataError)
        body = data[_padded(len(lines) + len(content)) :]
        if header["key"] != key or header["size"] != len(body) or zlib.crc32(body.data) != header["crc"]:
            return None
        arrays = {}
        for name, (kind, shape, first) in header["arrays"].items():
            count = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
            arrays[name] = body[first : first + count].view(kind).reshape(shape)
        return SlotCodes.from_arrays(arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
        return None


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _filled(array: np.ndarray) -> bytes:
    """An array's bytes up to a multiple of the alignment."""
    data = array.tobytes()
    return data.ljust(_padded(len(data)), b"\0")
