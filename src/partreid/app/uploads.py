"""Images from users and from the files of a gallery's items. They are read within limits, and encoded again for
display."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from partreid.app.threads import start
from partreid.datasets.images import TooLargeError as TooLargeError  # for modules that show errors of the page
from partreid.datasets.images import decode
from partreid.errors import DataError, ShapeError
from partreid.inference.crops import crop_boxes
from partreid.types.gallery import GalleryItem

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the image."""

FILE, BOX, TRACK = "file", "box", "track"
"""Keys of an item's metadata: the absolute path of its image, the box of the person in it, and the track's name."""

_SMALLEST_SIDE = 4
_MOST_STUCK = 16  # files that do not answer


class UnknownImageError(DataError):
    """An image is not kept, or no longer, or cannot be shown."""


@dataclass(frozen=True)
class Limits:
    """Limits for what the page accepts from its clients."""

    upload_bytes: int = 20 * 2**20
    """Largest size of an image's file."""
    pixels: int = 40_000_000
    """Largest width times height of an image."""
    kept_bytes: int = 512 * 2**20
    """Memory for the pixels of sent images. The least recently used ones are forgotten first."""
    waiting: int = 64
    """Number of requests that may wait for the model; more are refused."""
    unfinished_bytes: int = 128 * 2**20
    """Memory for images that are being sent or wait to be decoded; more are refused."""
    connections: int = 256
    """Connections at a time. A further one replaces the one that has kept the page waiting longest."""
    silence_seconds: float = 10.0
    """How long a connection may be silent, and how long the head of a request may take."""
    transfer_seconds: float = 60.0
    """How long sending an image or reading an answer may take."""
    answer_seconds: float = 60.0
    """The longest wait for an answer."""
    file_seconds: float = 5.0
    """How long reading the file of an item's image may take."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A sent image: uint8 [H, W, 3], and the SHA-256 of its file, by which the audit log names it."""

    image: np.ndarray
    sha256: str


def decode_image(data: bytes, limits: Limits) -> np.ndarray:
    """An image file's content as uint8 [H, W, 3] RGB, upright, as :func:`~partreid.datasets.images.decode` reads it.

    Its size is checked before anything is decoded.

    Raises:
        TooLargeError: too many bytes or pixels.
        DataError: it is not one whole image with 8 bits a channel in a known format.
    """
    if len(data) > limits.upload_bytes:
        raise TooLargeError(too_many_bytes(limits))
    return decode(data, source="That", largest=limits.pixels)


def too_many_bytes(limits: Limits) -> str:
    """The message for a file that is too large."""
    return f"The file is larger than {limits.upload_bytes / 2**20:.0f} MiB. Make the image smaller."


def crop(image: np.ndarray, box: Box | None) -> np.ndarray:
    """The part of an image inside a box, clipped to the image. Without a box, the whole image.

    Raises:
        DataError: not a box, or less than 4×4 pixels of it lie inside the image.

    Example:
        >>> crop(np.zeros((20, 10, 3), np.uint8), (2, 5, 9, 30)).shape
        (15, 7, 3)
    """
    if box is None:
        return image
    try:
        (cut,) = crop_boxes(image, [box])
    except (DataError, ShapeError, OverflowError):
        cut = image[:0]
    if min(cut.shape[:2]) < _SMALLEST_SIDE:
        raise DataError(
            f"The box covers less than {_SMALLEST_SIDE}×{_SMALLEST_SIDE} pixels of the image. Draw it around the "
            "person."
        )
    return cut


def encode(image: np.ndarray, *, longest: int) -> bytes:
    """A JPEG of the image, reduced if a side is longer than ``longest``, and without metadata."""
    shown = Image.fromarray(image)
    shown.thumbnail((longest, longest))
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


class ItemFiles:
    """Reads each file in its own thread, and never waits longer than the limit, because a name may lead to a device or
    to a dead disk."""

    def __init__(self, limits: Limits) -> None:
        self._most_bytes, self._seconds = limits.upload_bytes, limits.file_seconds
        self._stuck: set[str] = set()  # its methods are atomic

    def read(self, name: str) -> bytes | None:
        """The content of a plain file; None if the absolute path leads to none, or it is too large.

        Raises:
            UnknownImageError: the file does not answer in time, or an earlier read of it still waits.
        """
        silent = UnknownImageError(
            f"The item's image file, or the disk that it lies on, did not answer within {self._seconds:g} seconds."
        )
        if name in self._stuck or len(self._stuck) >= _MOST_STUCK:
            raise silent
        reading = start(lambda: read_plain_file(Path(name), self._most_bytes))
        try:
            return reading.result(timeout=self._seconds)
        except TimeoutError:
            self._stuck.add(name)
            reading.add_done_callback(lambda _: self._stuck.discard(name))  # at once if it has answered by now
            raise silent from None


def read_plain_file(path: Path, most_bytes: int) -> bytes | None:
    """The content of a plain file of at most that size; None if it is no plain file, or cannot be read.

    Devices, pipes and sockets are not even opened, because some never answer and some start an action. Files of size 0,
    such as those of /proc, contain no image. A relative path is refused, because its folder is unknown.

    Example:
        >>> read_plain_file(Path("/dev/zero"), 10) is None
        True
    """
    try:
        if not path.is_absolute() or not stat.S_ISREG(path.stat().st_mode):
            return None
        # Opened without waiting, because the file may have become a pipe meanwhile.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= most_bytes:
                return None
            content = bytearray()
            while len(content) < found.st_size and (some := file.read(found.st_size - len(content))):
                content += some
            return bytes(content)
    except (OSError, ValueError):  # ValueError: no path can have this name
        return None


def item_image(item: GalleryItem, limits: Limits, files: ItemFiles) -> np.ndarray:
    """The image of an item: the file that its metadata names, or the box in the file.

    Raises:
        UnknownImageError: there is no image, or it cannot be shown. The message gives the reason, but no path.
    """
    name = item.metadata.get(FILE)
    if not isinstance(name, str):
        raise UnknownImageError(f"The gallery knows no image file of this item (no {FILE!r} in its metadata).")
    data = files.read(name)
    if data is None:
        raise UnknownImageError("The item's image file is not there any more, cannot be read, or is too large.")
    try:
        return crop(decode_image(data, limits), _item_box(item.metadata.get(BOX)))
    except DataError as error:
        raise UnknownImageError(f"The item's image cannot be shown. {error}") from None


def _item_box(value: object) -> Box | None:
    """The box in an item's metadata."""
    if value is None:
        return None
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 4 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        raise DataError(f"Expected its {BOX!r} to be [left, top, right, bottom] in pixels, got {value!r:.80}.")
    return numbers[0], numbers[1], numbers[2], numbers[3]
