"""Codes of embeddings: one int8 vector per visible slot, and the numbers that bound distances with them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from partreid.errors import DataError, ShapeError
from partreid.retrieval.search.bound import LARGEST, MOST_SLOTS, SMALLEST, WIDEST, Rows

_CHUNK = 2048  # vectors converted to single precision at once
_TYPES = {"items": np.int32, "scales": np.float32, "lengths": np.float32, "errors": np.float32, "norms": np.float32}


@dataclass(frozen=True, eq=False)
class SlotCodes:
    """Codes of the vectors of N images, slot after slot: R = starts[S] vectors of D numbers.

    They depend on the vectors alone, not on how these are matched, and never change: keep them beside the vectors they
    were made of. A part that is not seen has no code.

    Attributes:
        count: N. starts: [S + 1] int64; the vectors of slot s are starts[s]..starts[s + 1], their items ascending.
        codes: [R, D] int8. rows: what bounds need beside each code.

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
        """Code vectors, each by its largest coordinate.

        Args:
            vectors: [N, S, D] finite numbers. seen: [N, S] bool, which of them to code.

        Raises:
            ShapeError: the shapes do not fit, or are beyond what codes are made for.
            ImportError: numba is not installed.
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

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    @functools.cached_property
    def bounded(self) -> bool:
        """Whether all lengths lie where the bound's arithmetic holds; zero vectors do."""
        lengths = self.rows.norms[self.rows.norms > 0]
        return not lengths.size or bool(SMALLEST <= lengths.min() <= lengths.max() <= LARGEST)

    def block(self, slot: int, first: int, last: int) -> tuple[np.ndarray, Rows]:
        """Codes and rows of a slot's vectors of the items first..last."""
        start, stop = self.starts[slot], self.starts[slot + 1]
        part = slice(*(start + np.searchsorted(self.rows.items[start:stop], np.array((first, last), np.int32))))
        return self.codes[part], Rows(*(column[part] for column in self.rows))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays, to be stored; :meth:`from_arrays` takes them back."""
        return {"count": np.array(self.count), "starts": self.starts, "codes": self.codes, **self.rows._asdict()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Codes from their plain arrays, mapped from a file for example.

        Raises:
            DataError: an array is missing or does not fit the others.
        """
        try:
            rows = Rows(**{name: arrays[name] for name in _TYPES})
            found = cls(int(arrays["count"]), arrays["starts"], arrays["codes"], rows)
        except KeyError as error:
            raise DataError(f"These are no codes of embeddings: {error} is missing. Make them again.") from None
        fits = found.codes.ndim == 2 and found.codes.dtype == np.int8 and found.starts[-1] == len(found.codes)
        typed = all(column.shape == (len(found.codes),) and column.dtype == _TYPES[name]
                    for name, column in rows._asdict().items())  # fmt: skip
        if not fits or not typed:
            shapes = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
            raise DataError(f"The arrays of these codes do not fit together: {shapes}. Make them again.")
        return found


def suits(slots: int, width: int) -> bool:
    """Whether vectors of this shape can be coded."""
    return 0 < slots <= MOST_SLOTS and 0 < width <= WIDEST
