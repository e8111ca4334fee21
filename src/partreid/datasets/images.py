"""Reading images as uint8 [H, W, 3] RGB, in the same way for files, PIL images, data sets and the web page.

Images are *upright*: turned by their EXIF orientation, as browsers, OpenCV and phones show them. Boxes, labels and
keypoints refer to these pixels. A damaged file is an error, never a grey image.
"""

from __future__ import annotations

import functools
import io
import struct
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from partreid.errors import DataError
from partreid.lazy import torch

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".avif", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip
"""Suffixes of files that are looked for in folders. What a file is, its content says."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
"""What is decoded, by Pillow's names. Of the others some start programs (EPS), and none is asked for."""

LARGEST_IMAGE = 120_000_000
"""Pixels. The header's size is looked at first: a few bytes can announce what takes minutes and all memory."""

_MOST_WORK = 4_000_000_000
"""Pixels times the scans of a progressive JPEG, each of which is a pass over all pixels; encoders write about ten."""

_SEGMENTS = 1000
"""Of a JPEG's header, among which EXIF is looked for; it stands among the first."""

_NUMBERS = {1: "B", 3: "H", 4: "I"}
"""Types of numbers in EXIF."""

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Pillow's modes that become RGB without a guess. Those of more than 8 bits a channel would be clipped."""


class TooLargeError(DataError):
    """An image has more bytes or pixels than allowed."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """An image file as uint8 [H, W, 3] RGB, upright.

    Raises:
        DataError: missing, empty, truncated, too large or not an image; the message names the file.

    Example:
        >>> read_image("query/0001_c1s1_001051_00.jpg").shape  # doctest: +SKIP
        (128, 64, 3)
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read image {path}: {error.strerror or error}.") from None
    except ValueError as error:  # a name that no file can have
        raise DataError(f"Cannot read image {str(path)!r}: {error}.") from None
    return decode(data, source=str(path))


def decode(
    data: bytes, *, source: str = "image", largest: int = LARGEST_IMAGE, upright: bool = True
) -> NDArray[np.uint8]:
    """An encoded image (one of :data:`FORMATS`) as uint8 [H, W, 3] RGB, upright.

    Grey and CMYK images become RGB, transparency is dropped. In a phone's file with further views (MPO), the first one
    is used, which is the photo. Animations and files with several pages are refused.

    Args:
        data: the file's bytes. source: name for messages. largest: allowed number of pixels.
        upright: turn the image by EXIF. False returns the pixels as stored, for boxes that refer to those; Pillow turns
            a TIFF in any case.

    Raises:
        TooLargeError: the header announces more pixels; nothing was decoded.
        DataError: empty, truncated, several images, or no image with 8 bits a channel.
    """
    if not data:
        raise DataError(f"{source} is empty (0 bytes), so it is no image. Download or make the file again.")
    if data.startswith(b"\xff\xd8"):
        pixels = _decode_jpeg(data, source, largest, upright)
        if pixels is not None:
            return pixels
    return _decode_with_pillow(data, source, largest, upright)


def from_pil(image: Image.Image) -> NDArray[np.uint8]:
    """An opened PIL image as uint8 [H, W, 3] RGB, upright: turned if it still has an EXIF orientation.

    Raises:
        DataError: too large, not of 8 bits a channel, or its file cannot be decoded.
    """
    try:
        return _pixels(image, "The PIL image", LARGEST_IMAGE, upright=True)
    except DataError:
        raise
    except Exception as error:  # Pillow reads an opened file only now, and its plugins raise nearly anything
        raise DataError(f"A PIL image cannot be decoded: {_reason(error)}. Open a whole file again.") from None


def _turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels [H, W, 3] as EXIF's orientation (1 to 8) wants them shown."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image uint8 [H, W, 3] brought to ``size`` = (height, width), bilinear with antialiasing, as Pillow does it.

    Raises:
        DataError: not a uint8 [H, W, 3] image, or a size below 1.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(f"Expected a uint8 [H, W, 3] image, got {image.dtype} of shape {image.shape}.")
    height, width = size
    if height < 1 or width < 1:
        raise DataError(f"An image's size must be at least 1×1, got {height}×{width}.")
    if image.shape[:2] == (height, width):
        return image
    if image.strides[2] < 0:  # channels in reverse order: each is resized by itself, and a small image is soon turned
        return resize(image[:, :, ::-1], size)[:, :, ::-1]
    if all(new in (old, 2 * old) for new, old in zip(size, image.shape, strict=False)):
        return _double(image, size)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _double(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``resize`` to twice the height, width or both: Pillow's bytes in a fifth of its time.

    Both round after each axis. Their weights differ in precision, but quarters are exact in either.
    """
    pixels = torch.from_numpy(image if image.flags.writeable else image.copy())
    # The batch of one comes first: its strides must say channels-last, or the result is planar and slower.
    resized = torch.nn.functional.interpolate(
        pixels.unsqueeze(0).permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True
    )
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def _decode_jpeg(data: bytes, source: str, largest: int, upright: bool) -> NDArray[np.uint8] | None:
    """The fast way; None for CMYK and YCCK, which simplejpeg does not turn into RGB."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        _check_size(width, height, source, largest)
        # Within a scan every FF is followed by a zero or a restart marker, so that this counts scans.
        if data.count(b"\xff\xda") * width * height > _MOST_WORK:
            raise DataError(f"{source} is a JPEG of too many scans for {width}×{height} pixels. Save it again.")
        if colours in ("CMYK", "YCCK"):
            return None
        # strict: libjpeg's warnings (data end too early, damaged blocks) are errors.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except DataError:
        raise
    except (ValueError, KeyError, MemoryError) as error:  # KeyError: the header names no known colour space
        reason = "its header is incomplete" if isinstance(error, KeyError) else _reason(error)
        raise DataError(f"{source} is a damaged JPEG: {reason}. Download or make the file again.") from None
    orientation = _orientation(_exif_segment(data)) if upright else 1
    return pixels if orientation == 1 else _turn_upright(pixels, orientation)


def _exif_segment(data: bytes) -> bytes | None:
    """The first EXIF segment of a JPEG's header; nothing else of it is looked at."""
    place = 2
    for _ in range(_SEGMENTS if b"Exif\0\0" in data else 0):  # most images have none
        if data[place : place + 1] != b"\xff" or data[place + 1 : place + 2] in (b"\xda", b""):
            break
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
            return data[place + 4 : place + 2 + length]
        place += 1 if data[place + 1 : place + 2] == b"\xff" else 2 + max(length, 2)  # FF may be repeated to fill up
    return None


def _orientation(exif: object) -> int:
    """1 to 8; 1, upright as it is stored, where nothing else is said or what is said is damaged.

    Read by hand, in the first directory only: Pillow warns of damaged tags that nobody asks for.
    """
    if not isinstance(exif, bytes):
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "")
    if not order:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == ExifTags.Base.Orientation:
                (value,) = struct.unpack_from(order + _NUMBERS.get(kind, "H"), tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _decode_with_pillow(data: bytes, source: str, largest: int, upright: bool) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise DataError(
                    f"{source} holds several images (an animation, or pages); expected one. Save the one that is "
                    "meant, or each of them, as a file of its own."
                )
            if image.format == "PPM" and data[:2] in (b"P1", b"P2", b"P3"):
                raise DataError(f"{source} is a PPM written as text, which is very slow to read. Save it as PNG.")
            return _pixels(image, source, largest, upright)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{source} is no image in a known format ({', '.join(_known_formats())}). Save it as JPEG or PNG; or "
            "download or make the file again."
        ) from None
    except Image.DecompressionBombError:  # the program has set Pillow a lower limit than ours
        raise TooLargeError(
            f"{source} has more than {largest / 1e6:g} million pixels, or more than Pillow may read. Make it smaller."
        ) from None
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise DataError(f"{source} is a damaged image: {_reason(error)}. Download or make the file again.") from None


def _pixels(image: Image.Image, source: str, largest: int, upright: bool) -> NDArray[np.uint8]:
    _check_size(*image.size, source, largest)
    if image.mode not in _MODES:
        raise DataError(
            f"{source} has more than 8 bits a channel, or other colours; expected 8 bits a channel, RGB or grey, got "
            f"mode {image.mode}. Convert it: which of its values are black and white, it does not say."
        )
    image.load()  # before its orientation is looked at: that of a PNG may stand at its end, a TIFF is turned now
    orientation = _orientation(image.info.get("exif")) if upright else 1
    return _turn_upright(np.asarray(image.convert("RGB")), orientation)


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those of :data:`FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(width: int, height: int, source: str, largest: int) -> None:
    if width * height > largest:
        raise TooLargeError(
            f"{source} has {width}×{height}, more than {largest / 1e6:g} million pixels. Make it smaller, or cut out "
            "the person."
        )


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
