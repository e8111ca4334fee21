"""Codes in a file: written whole or not at all, checked when read, mapped into memory."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.retrieval.search.codes import SlotCodes

_VERSION = "2"
"""Changes with what the numbers beside codes mean."""


def save_codes(path: Path, codes: SlotCodes, key: str) -> None:
    """Write codes as safetensors; ``key`` says of which vectors.

    Raises:
        DataError: the file cannot be written.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in codes.arrays().items()}
    with atomic_file(path, error=DataError) as temporary:
        save_file(arrays, temporary, metadata={"codes": _about(arrays, key)})


def load_codes(path: Path, key: str) -> SlotCodes | None:
    """The codes in a file, mapped; None where it holds none of these vectors, or is torn or damaged."""
    try:
        with safe_open(path, framework="pt") as file:  # of PyTorch, as tensors of NumPy would be copied
            about = (file.metadata() or {}).get("codes", "")
            if not about.startswith(f"{_VERSION} {key} "):
                return None
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return SlotCodes.from_arrays(arrays) if about == _about(arrays, key) else None
    except (OSError, ValueError, TypeError, SafetensorError, DataError):
        return None


def _about(arrays: Mapping[str, np.ndarray], key: str) -> str:
    """Version, key and checksum as one text, so that equal codes give equal files."""
    crc = 0
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{_VERSION} {key} {crc:08x}"
