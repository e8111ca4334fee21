"""The bytes of an ONNX file: Protocol Buffers, of which only the requested fields are read.

This module reads them instead of the onnx library for three reasons. A model from such a file needs no further library
to run. Weights stay in the file until their sizes are checked. And a file's claims cost nothing: the library would
build an object for every field, and a small file can have very many fields.

The format: protobuf.dev/programming-guides/encoding; the fields: onnx.proto of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from partreid.models.backbones.network_files import lies_in

_MOST_FIELDS = 1_000_000
"""Most fields of all messages together. A network of two thousand operations has about fifty thousand."""
_LONGEST_TEXT = 2**16
_MOST_SPELLED = 2**20

Field: TypeAlias = "int | memoryview"


class Message:
    """One message: a view of the file's bytes, and its fields.

    Args:
        data: its bytes. budget: number of fields that may still be read from this file; inner messages share it.

    Raises:
        ValueError: the bytes are no such message, or have too many fields.
    """

    def __init__(self, data: memoryview, budget: list[int] | None = None) -> None:
        self._fields: dict[int, list[Field]] = {}
        self._budget = [_MOST_FIELDS] if budget is None else budget
        for number, value in _fields(data):
            self._budget[0] -= 1
            if self._budget[0] < 0:
                raise ValueError(f"it has more than {_MOST_FIELDS} entries")
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def messages(self, number: int) -> list[Message]:
        """All messages in a repeated field."""
        return [Message(self._view(value), self._budget) for value in self._fields.get(number, [])]

    def message(self, number: int) -> Message | None:
        """The message in a field. It may occur once only: joining several is allowed by the format, but never used."""
        found = self._fields.get(number, [])
        if len(found) > 1:
            raise ValueError(f"field {number} is there twice")
        return Message(self._view(found[0]), self._budget) if found else None

    def count(self, number: int) -> int:
        """How often a field occurs."""
        return len(self._fields.get(number, []))

    def text(self, number: int) -> str:
        """A string; "" if it is not there."""
        return self._text(self._fields[number][-1]) if number in self._fields else ""

    def texts(self, number: int) -> list[str]:
        """Strings of a repeated field."""
        return [self._text(value) for value in self._fields.get(number, [])]

    def integer(self, number: int, default: int = 0) -> int:
        """A whole number with its sign."""
        value = self._fields[number][-1] if number in self._fields else default
        if not isinstance(value, int):
            raise ValueError(f"field {number} is no whole number")
        return value - 2**64 if value >= 2**63 else value

    def integers(self, number: int, most: int) -> list[int]:
        """Whole numbers of a repeated field, packed or not; at most ``most``."""
        found: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                found.append(value)
                continue
            place = 0
            while place < len(value) and len(found) <= most:
                one, place = _varint(value, place)
                found.append(one)
        if len(found) > most:
            raise ValueError(f"a list of more than {most} whole numbers")
        return [value - 2**64 if value >= 2**63 else value for value in found]

    def floats(self, number: int, kind: Any = "<f4") -> np.ndarray:
        """Numbers of a repeated field, packed or not."""
        views = [self._view(value) for value in self._fields.get(number, [])]
        joined = views[0] if len(views) == 1 else b"".join(views)
        if len(joined) % np.dtype(kind).itemsize:
            raise ValueError(f"field {number} holds half a number")
        return np.frombuffer(joined, kind)

    def raw(self, number: int) -> memoryview:
        """Bytes."""
        return self._view(self._fields[number][-1]) if number in self._fields else memoryview(b"")

    @staticmethod
    def _view(value: Field) -> memoryview:
        if isinstance(value, int):
            raise ValueError("a number where a message, text or numbers were expected")
        return value

    def _text(self, value: Field) -> str:
        view = self._view(value)
        if len(view) > _LONGEST_TEXT:
            raise ValueError(f"a name of {len(view)} bytes")
        text = str(view, "utf-8")  # UnicodeDecodeError is a ValueError
        if "\0" in text:
            raise ValueError(f"the name {text!r:.80} holds a NUL")
        return text


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of 64 bits, and the position after it."""
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), place
        shift += 7
    raise ValueError("it ends within a number, or is no such file")


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """Number and content of each field."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("it is no such file")
        if length > len(data) - place:
            raise ValueError(f"it ends within a field of {length} bytes; it is not complete, or is no such file")
        yield number, data[place : place + length]
        place += length


_TYPES: dict[int, tuple[str, str, int]] = {
    1: ("float32", "<f4", 4), 10: ("float16", "<f2", 5), 11: ("float64", "<f8", 10),
    6: ("int32", "<i4", 5), 7: ("int64", "<i8", 7), 9: ("bool", "|b1", 5),
}  # fmt: skip
"""Types by ONNX's number: name, NumPy's kind, and the field that contains the numbers if ``raw_data`` does not."""

FLOATS = (1, 10, 11)
INTEGERS = (6, 7, 9)

_NAMES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 8: "string", 12: "uint32", 13: "uint64", 16: "bfloat16",
          17: "float8", 21: "uint4", 22: "int4"}  # fmt: skip


class Numbers:
    """A tensor in an ONNX file, or in a file beside it.

    Args:
        tensor: a TensorProto. folder: where files beside it may lie. name: for messages.

    Attributes:
        shape: as the file says. kind: NumPy's, ``<f4``. file: another file that contains it, and that file's size.

    Raises:
        ValueError: its shape is absurd, or the number of bytes does not fit the shape.
    """

    def __init__(self, tensor: Message, folder: Path, name: str) -> None:
        self.name = name
        number = tensor.integer(2)
        self.shape: tuple[int, ...] = ()
        self.kind = self._problem = ""
        self.file: tuple[Path, int] | None = None
        self._outside: np.ndarray | None = None
        if number not in _TYPES:  # an error only if the network needs this tensor
            self._problem = (
                f"the constant {name!r:.80} is of the type {_NAMES.get(number, number)}, which is not supported; "
                f"expected {', '.join(one for one, _, _ in _TYPES.values())}"
            )
            return
        _, self.kind, self._field = _TYPES[number]
        self.shape = tuple(tensor.integers(1, 8))
        size = np.dtype(self.kind).itemsize
        if min(self.shape, default=1) < 0 or prod(self.shape) * size >= 2**40:
            raise ValueError(f"the constant {name!r:.80} has the shape {list(self.shape)}")
        self._bytes = prod(self.shape) * size
        self._tensor = tensor
        if tensor.integer(14) == 1 or 13 in tensor:
            self._outside = self._beside(folder)
        elif 9 in tensor and len(tensor.raw(9)) != self._bytes:
            raise self._lies(len(tensor.raw(9)))

    def _lies(self, found: int) -> ValueError:
        return ValueError(f"the constant {self.name!r:.80} of shape {list(self.shape)} needs {self._bytes} bytes, the "
                          f"file has {found} for it")  # fmt: skip

    def _beside(self, folder: Path) -> np.ndarray:
        """The numbers in a file of the same folder, or of a folder in it. Other files are refused."""
        told = {entry.text(1): entry.text(2) for entry in self._tensor.messages(13)}
        place = told.get("location", "")
        path = folder / place
        if not place or Path(place).is_absolute() or ".." in Path(place).parts or "\\" in place:
            raise ValueError(f"the constant {self.name!r:.80} lies in {place!r:.80}, which is not in the file's folder")
        if not lies_in(path, folder):
            raise ValueError(f"the constant {self.name!r:.80} lies in {place!r:.80}, a link out of the file's folder")
        if not path.is_file():
            raise ValueError(f"the constant {self.name!r:.80} lies in {place!r:.80}, and there is no such file")
        offset, length = int(told.get("offset", "0")), int(told.get("length", self._bytes))
        held = path.stat().st_size
        if offset < 0 or length != self._bytes or offset + length > held:
            raise self._lies(min(max(held - offset, 0), max(length, 0)) if offset >= 0 else 0)
        self.file = (path, held)  # by its own name, even if it is a link, because a checkpoint includes it by this name
        if not length:
            return np.zeros(0, np.uint8)
        return np.memmap(path, np.uint8, mode="r", offset=offset, shape=(length,))

    def read(self) -> np.ndarray:
        """The numbers, without a copy if possible.

        Raises:
            ValueError: the type is not supported, or there are fewer or more numbers than the shape says.
        """
        if self._problem:
            raise ValueError(self._problem)
        tensor = self._tensor
        if self._outside is not None:
            return self._outside.view(self.kind).reshape(self.shape)
        if 9 in tensor:
            return np.frombuffer(tensor.raw(9), self.kind).reshape(self.shape)
        if self._field in (4, 10):
            numbers = tensor.floats(self._field, self.kind)
        elif prod(self.shape) > _MOST_SPELLED:
            raise ValueError(f"the constant {self.name!r:.80} spells out {prod(self.shape)} numbers; write raw bytes")
        else:
            numbers = self._spelled(tensor.integers(self._field, prod(self.shape)))
        if numbers.size != prod(self.shape):
            raise self._lies(numbers.nbytes)
        return numbers.reshape(self.shape)

    def _spelled(self, whole: Sequence[int]) -> np.ndarray:
        """Numbers that are written one by one. Half precision is written as 16-bit whole numbers."""
        limit = {"<f2": (0, 2**16 - 1), "|b1": (0, 1), "<i4": (-(2**31), 2**31 - 1)}.get(self.kind)
        if limit and whole and not limit[0] <= min(whole) <= max(whole) <= limit[1]:
            raise ValueError(f"the constant {self.name!r:.80} has numbers that its type cannot have")
        if self.kind == "<f2":
            return np.array(whole, np.uint16).view("<f2")
        return np.array(whole, self.kind)
