"""Images from users: decoded within limits, cropped, and encoded again before they are shown."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from partreid.app.item_files import ItemFiles, SilentFileError
from partreid.datasets.images import TooLargeError as TooLargeError  # for whoever shows errors of the page
from partreid.datasets.images import decode
from partreid.errors import DataError, ShapeError
from partreid.inference.crops import crop_boxes
from partreid.types.gallery import GalleryItem

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the image."""

FILE, BOX, TRACK = "file", "box", "track"
"""Keys of an item's metadata: the absolute path of its image, the box of the person in it, and the track's name."""

_SMALLEST_SIDE = 4


class UnknownImageError(DataError):
    """An image is not (any longer) kept, or cannot be shown."""


@dataclass(frozen=True)
class Limits:
    """How much the page accepts from its clients."""

    upload_bytes: int = 20 * 2**20
    """Size of an image's file."""
    pixels: int = 40_000_000
    """Width times height of an image."""
    kept_bytes: int = 512 * 2**20
    """Memory for the pixels of images that were sent; the least recently used ones go first."""
    waiting: int = 8
    """Requests that may wait for the model; more are refused."""
    unfinished_bytes: int = 128 * 2**20
    """Memory for images that are being sent or wait to be decoded; more are refused."""
    connections: int = 256
    """Connections at a time; a new one takes the place of the one that has kept the page waiting longest."""
    silence_seconds: float = 10.0
    """How long a connection may be silent, and how long the head of a request may take."""
    transfer_seconds: float = 60.0
    """How long sending an image or reading an answer may take."""
    answer_seconds: float = 60.0
    """The longest wait for an answer."""
    file_seconds: float = 5.0
    """How long reading the file of an item's image may take."""


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
    """The part of an image inside a box, clipped to the image; all of it where there is no box.

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
    """A JPEG of the image, shrunk where a side is longer than ``longest``; it has no metadata of its file."""
    shown = Image.fromarray(image)
    shown.thumbnail((longest, longest))
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def item_image(item: GalleryItem, limits: Limits, files: ItemFiles) -> np.ndarray:
    """The image of an item: the file its metadata names, and in it the box, if there is one.

    Raises:
        UnknownImageError: there is none, or it cannot be shown; the message says why, and no path.
    """
    name = item.metadata.get(FILE)
    if not isinstance(name, str):
        raise UnknownImageError(f"The gallery knows no image file of this item (no {FILE!r} in its metadata).")
    try:
        data = files.read(name)
    except SilentFileError as error:
        raise UnknownImageError(str(error)) from None
    if data is None:
        raise UnknownImageError("The item's image file is not there any more, cannot be read, or is too large.")
    try:
        return crop(decode_image(data, limits), _item_box(item.metadata.get(BOX)))
    except DataError as error:
        raise UnknownImageError(f"The item's image cannot be shown. {error}") from None


def _item_box(value: object) -> Box | None:
    """The box that an item's metadata has."""
    if value is None:
        return None
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 4 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        raise DataError(f"Expected its {BOX!r} to be [left, top, right, bottom] in pixels, got {value!r:.80}.")
    return numbers[0], numbers[1], numbers[2], numbers[3]
