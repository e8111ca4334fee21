"""Codes of embeddings: one int8 vector per visible slot, and the numbers that bound distances with them."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from partreid.errors import DataError, ShapeError
from partreid.files import atomic_file
from partreid.retrieval.search.bound import LARGEST, MOST_SLOTS, SMALLEST, WIDEST, Rows

if TYPE_CHECKING:
    from torch import Tensor

_VERSION = "2"  # of files of codes; it changes when the numbers beside the codes change their meaning
_CHUNK = 2048  # vectors converted to single precision at once
_TYPES = {"items": np.int32, "scales": np.float32, "lengths": np.float32, "errors": np.float32, "norms": np.float32}


@dataclass(frozen=True, eq=False)
class SlotCodes:
    """Codes of the vectors of N images, slot after slot: R = starts[S] vectors of D numbers.

    Codes depend only on the vectors, not on how these are matched. So they never change, and can be kept beside the
    vectors. A part that is not seen has no code.

    Attributes:
        count: N. starts: [S + 1] int64; the vectors of slot s are starts[s]..starts[s + 1], their items ascending.
        codes: [R, D] int8. rows: the numbers that bounds need beside each code.

    Example:
        >>> codes = SlotCodes.build(torch.tensor([[[1.0, -2.0]], [[0.0, 0.0]]]), torch.tensor([[True], [True]]))
        >>> codes.codes.tolist(), codes.rows.scales[0] * 127
        ([[64, -127], [0, 0]], np.float32(2.0))
    """

    count: int
    starts: np.ndarray
    codes: np.ndarray
    rows: Rows

    @classmethod
    def build(cls, vectors: Tensor, seen: Tensor) -> Self:
        """Code vectors. The largest coordinate of each vector decides its scale.

        Args:
            vectors: [N, S, D] finite numbers. seen: [N, S] bool, which of them to code.

        Raises:
            ShapeError: the shapes do not fit, or are too large for codes. ImportError: numba is not installed.
        """
        from partreid.retrieval.search.kernels import quantise

        if vectors.ndim != 3 or seen.shape != vectors.shape[:2] or not suits(vectors.shape[1], vectors.shape[2]):
            raise ShapeError(
                f"Expected vectors [N, S, D] with S up to {MOST_SLOTS} and D up to {WIDEST}, and seen [N, S], got "
                f"{tuple(vectors.shape)} and {tuple(seen.shape)}."
            )
        slots, items = seen.T.nonzero(as_tuple=True)
        starts = np.searchsorted(slots.numpy(), np.arange(vectors.shape[1] + 1))
        codes = np.empty((len(items), vectors.shape[2]), np.int8)
        columns = {name: np.empty(len(items), kind) for name, kind in _TYPES.items()}
        columns["items"][:] = items.numpy()
        rows = Rows(**columns)
        for start in range(0, len(items), _CHUNK):
            part = slice(start, start + _CHUNK)
            quantise(vectors[items[part], slots[part]].float().numpy(), codes[part], Rows(*(r[part] for r in rows)))
        return cls(len(vectors), starts, codes, rows)

    @functools.cached_property
    def bounded(self) -> bool:
        """Whether the bound's arithmetic holds for all vectors' lengths. It holds for zero vectors."""
        lengths = self.rows.norms[self.rows.norms > 0]
        return not lengths.size or bool(SMALLEST <= lengths.min() <= lengths.max() <= LARGEST)

    def block(self, slot: int, first: int, last: int) -> tuple[np.ndarray, Rows]:
        """Codes and rows of a slot's vectors of the items first..last."""
        start, stop = self.starts[slot], self.starts[slot + 1]
        part = slice(*(start + np.searchsorted(self.rows.items[start:stop], np.array((first, last), np.int32))))
        return self.codes[part], Rows(*(column[part] for column in self.rows))


def save_codes(path: Path, codes: SlotCodes, key: str) -> None:
    """Write codes as safetensors; ``key`` identifies their vectors. DataError if the file cannot be written."""
    arrays = {"count": np.array(codes.count), "starts": codes.starts, "codes": codes.codes, **codes.rows._asdict()}
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with atomic_file(path, error=DataError) as temporary:
        save_file(arrays, temporary, metadata={"codes": _about(arrays, key)})


def load_codes(path: Path, key: str) -> SlotCodes | None:
    """The codes in a file, mapped into memory; None if it is for other vectors, incomplete or damaged."""
    try:
        with safe_open(path, framework="pt") as file:  # PyTorch maps the file; NumPy would copy it
            about = (file.metadata() or {}).get("codes", "")
            if not about.startswith(f"{_VERSION} {key} "):
                return None
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - it is no mapping
        rows = Rows(**{name: arrays[name] for name in _TYPES})
        found = SlotCodes(int(arrays["count"]), arrays["starts"], arrays["codes"], rows)
        return found if about == _about(arrays, key) else None
    except (OSError, ValueError, TypeError, KeyError, SafetensorError):
        return None


def _about(arrays: Mapping[str, np.ndarray], key: str) -> str:
    """Version, key and checksum as one text, so that equal codes give equal files."""
    crc = 0
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{_VERSION} {key} {crc:08x}"


def suits(slots: int, width: int) -> bool:
    """Whether vectors of this shape can be coded."""
    return 0 < slots <= MOST_SLOTS and 0 < width <= WIDEST
