"""Pictures from strangers: decoded within limits, cropped, kept for a while, and encoded anew before they are shown."""

from __future__ import annotations

import io
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import numpy as np
from PIL import Image

from partreid.datasets.images import TooLargeError as TooLargeError  # for whoever shows errors of the page
from partreid.datasets.images import decode
from partreid.errors import DataError, ShapeError
from partreid.inference.video import crop_boxes
from partreid.types.gallery import GalleryItem

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the picture."""

FILE, BOX, TRACK = "file", "box", "track"
"""Keys of an item's metadata: the absolute path of its picture, the box of the person in it, and the track's name."""

_SMALLEST_SIDE = 4


class UnknownPictureError(DataError):
    """A picture is not kept any more, never was, or cannot be shown."""


@dataclass(frozen=True)
class Limits:
    """How much the page takes from whoever sends it something."""

    upload_bytes: int = 20 * 2**20
    """Size of a picture's file."""
    pixels: int = 40_000_000
    """Width times height of a picture."""
    kept_bytes: int = 512 * 2**20
    """Memory for the pixels of pictures that were sent; the least recently used ones go first."""
    waiting: int = 8
    """Requests that may wait for the model; more are turned away."""


def decode_picture(data: bytes, limits: Limits) -> np.ndarray:
    """A picture file's content as uint8 [H, W, 3] RGB, upright, as :func:`~partreid.datasets.images.decode` reads it.

    Args:
        data: the bytes. limits: how much is too much; the size is known before anything is decoded.

    Raises:
        TooLargeError: too many bytes or pixels.
        DataError: it is not one whole picture with 8 bits a channel in a known format.
    """
    if len(data) > limits.upload_bytes:
        raise TooLargeError(too_many_bytes(limits))
    return decode(data, source="That", largest=limits.pixels)


def too_many_bytes(limits: Limits) -> str:
    """What to say of a file that is too large."""
    return f"The file is larger than {limits.upload_bytes / 2**20:.0f} MiB. Make the picture smaller."


def crop(image: np.ndarray, box: Box | None) -> np.ndarray:
    """The part of a picture inside a box, cut off at the picture's border; all of it where there is no box.

    Raises:
        DataError: it is no box, or hardly anything of it lies inside the picture.

    Example:
        >>> crop(np.zeros((20, 10, 3), np.uint8), (2, 5, 9, 30)).shape
        (15, 7, 3)
    """
    if box is None:
        return image
    try:
        (cut,) = crop_boxes(image, [box])
    except (DataError, ShapeError):
        cut = image[:0]
    if min(cut.shape[:2]) < _SMALLEST_SIDE:
        raise DataError(
            f"The box covers less than {_SMALLEST_SIDE}×{_SMALLEST_SIDE} pixels of the picture. Draw it around the "
            "person."
        )
    return cut


def encode(image: np.ndarray, *, longest: int) -> bytes:
    """A JPEG of the picture, shrunk where a side is longer than ``longest``; nothing else of its file is in it."""
    shown = Image.fromarray(image)
    shown.thumbnail((longest, longest))
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def item_picture(item: GalleryItem, limits: Limits) -> np.ndarray:
    """The picture of an item: the file its metadata names, and in it the box, if there is one.

    Raises:
        UnknownPictureError: there is none, or it cannot be shown; the message says why, and no path.
    """
    name = item.metadata.get(FILE)
    if not isinstance(name, str):
        raise UnknownPictureError(f"The gallery knows no picture file of this item (no {FILE!r} in its metadata).")
    try:
        data = _content(Path(name), limits)
    except (OSError, ValueError):  # ValueError: no path can have this name
        data = None
    if data is None:
        raise UnknownPictureError("The item's picture file is not there any more, cannot be read, or is too large.")
    try:
        return crop(decode_picture(data, limits), item.metadata.get(BOX))
    except DataError as error:
        raise UnknownPictureError(f"The item's picture cannot be shown. {error}") from None


def _content(path: Path, limits: Limits) -> bytes | None:
    # Only plain files: a device or a pipe would never end. Where a relative path led, nobody knows any more.
    if not path.is_absolute() or not path.is_file() or path.stat().st_size > limits.upload_bytes:
        return None
    return path.read_bytes()


class KeptPictures:
    """Pictures that were sent, in memory, by a name nobody can guess; the least recently used ones go first.

    Example:
        >>> kept = KeptPictures(1000)
        >>> name = kept.add(np.zeros((10, 10, 3), np.uint8))
        >>> kept.get(name).shape
        (10, 10, 3)
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._pictures: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, picture: np.ndarray) -> str:
        """Keep a picture; its name. The newest one is kept however large it is."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._pictures[name] = picture
            self._size += picture.nbytes
            while self._size > self._limit and len(self._pictures) > 1:
                self._size -= self._pictures.popitem(last=False)[1].nbytes
        return name

    def get(self, name: str) -> np.ndarray:
        """The picture of that name.

        Raises:
            UnknownPictureError: there is none (any more).
        """
        with self._lock:
            if name not in self._pictures:
                raise UnknownPictureError("The picture is not kept any more. Send it again.")
            self._pictures.move_to_end(name)
            return self._pictures[name]
