"""The rows of a table of boxes as they stand in its file, whatever its format; nothing is left out yet."""

from __future__ import annotations

import functools
import math
import re
import sys
from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from partreid.errors import DataError
from partreid.tracking._track_names import track_key

BoxForm = Literal["xyxy", "xywh"]
"""The four numbers of a box: two corners, or the upper left corner with width and height."""


@dataclass
class BoxRows:
    """What a table holds, row by row.

    Attributes:
        path: the table. form: of the boxes. first_frame: the number of the first frame, 0 or 1; None where the format
            does not say it. note: what was read as what, where that is not certain to everybody.
        mot_classes: whether numbers of classes are MOTChallenge's. fractions: whether boxes are fractions of the frame.
        word: what ``lines`` counts, "line" or "entry".
        lines: in the file. frames: as numbered there. boxes: the four numbers of each.
        tracks: None where the row names none; ``names`` what stands there. confidences, visible: NaN = not known.
        kinds: the class of each, "" = not known. world: what MOTChallenge's rows of 10 columns and more have in the
            eighth, a class or x in the world; "" = nothing.
        images: of each row, in the place of ``frames``; empty where frames are numbered.
        files: of each row, where the table is a folder of files. sizes: (width, height) of images by name, or of all
            under "", where the table says it. ignored: rows that the table marks so, or as a group of people.
    """

    path: Path
    form: BoxForm
    first_frame: int | None = 0
    note: str = ""
    mot_classes: bool = False
    fractions: bool = False
    word: str = "line"
    lines: array[int] = field(default_factory=lambda: array("q"))
    frames: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("d"))
    tracks: list[Hashable | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    confidences: array[float] = field(default_factory=lambda: array("d"))
    visible: array[float] = field(default_factory=lambda: array("d"))
    kinds: list[str] = field(default_factory=list)
    world: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    ignored: set[int] = field(default_factory=set)

    def add(
        self,
        line: int,
        box: Sequence[float],
        *,
        frame: int = 0,
        image: str = "",
        track: str = "",
        kind: str = "",
        confidence: float = math.nan,
        visible: float = math.nan,
        world: str = "",
        file: str = "",
        ignored: bool = False,
    ) -> None:
        """One more row.

        Raises:
            DataError: it names an image where those before it number frames, or the reverse.
        """
        if len(self) and bool(image) != bool(self.images):
            raise DataError(f"{file or self.path}, {self.word} {line}: some boxes are of an image, others of a frame.")
        if ignored:
            self.ignored.add(len(self))
        self.lines.append(line)
        self.frames.append(frame)
        self.boxes.extend(box)
        self.names.append(sys.intern(track))
        self.tracks.append(key_of(track))
        self.kinds.append(kind)
        self.confidences.append(confidence)
        self.visible.append(visible)
        self.world.append(world)
        if image:
            self.images.append(image)
        if file:
            self.files.append(file)

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.files[row] if self.files else self.path}, {self.word} {self.lines[row]}"


key_of = functools.lru_cache(1024)(track_key)
"""As :func:`~partreid.tracking._track_names.track_key`; one object per track, not per box."""


def value_of(text: str, where: str) -> float:
    """A number, NaN where it is not known."""
    value = as_number(text)
    if value == -1 or (not math.isfinite(value) and key_of(text) is None):
        return math.nan
    return number_of(text, where)


def frame_of(text: str, where: str, first: int) -> int:
    """The number of a frame. It is compared with the first frame later, when that one is known."""
    value = number_of(text, where)
    if not value.is_integer() or not 0 <= value < 2**53:
        raise DataError(
            f"{where}: expected the number of a frame from {first}, a whole number, got {text.strip()[:40]}."
        )
    return int(value)


def number_of(text: str, where: str) -> float:
    """A finite number."""
    value = as_number(text)
    if not math.isfinite(value):
        comma = " Write a point, not a comma, before decimals." if re.fullmatch(r"\s*-?\d+,\d+\s*", text) else ""
        raise DataError(f"{where}: expected a finite number, got {text.strip()[:40]!r}.{comma}")
    return value


def as_number(text: str) -> float:
    """The number, or NaN if the text is none. 1_0 is a name, though Python reads it as a number."""
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan
