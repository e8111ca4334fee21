"""Reading pictures: bytes in, uint8 [H, W, 3] RGB out. A damaged file is an error, never a grey picture.

The orientation tag of EXIF is ignored: labels and boxes are given in the pixels as they are stored.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch.nn import functional as F

from partreid.errors import DataError

_DEEP = ("I", "F")
"""Pillow's modes of more than 8 bits a channel begin so; turning them into RGB would clip them silently."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """A picture file as uint8 [H, W, 3] RGB.

    Raises:
        DataError: missing, empty, truncated or not a picture; the message names the file.

    Example:
        >>> read_image("query/0001_c1s1_001051_00.jpg").shape  # doctest: +SKIP
        (128, 64, 3)
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read picture {path}: {error.strerror or error}.") from None
    except ValueError as error:  # a name that no file can have
        raise DataError(f"Cannot read picture {str(path)!r}: {error}.") from None
    return decode(data, source=str(path))


def decode(data: bytes, *, source: str = "picture") -> NDArray[np.uint8]:
    """An encoded picture (JPEG, PNG, TIFF, BMP, WebP, ...) as uint8 [H, W, 3] RGB.

    Grey and CMYK pictures become RGB, transparency is dropped.

    Args:
        data: the file's bytes. source: name for messages.

    Raises:
        DataError: empty, truncated, or not a picture with 8 bits a channel.
    """
    if not data:
        raise DataError(f"{source} is empty (0 bytes); expected a picture. Fetch or make the file anew.")
    if data.startswith(b"\xff\xd8"):
        try:
            # strict: libjpeg's warnings (data end too early, damaged blocks) are errors.
            rgb: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
        except (ValueError, KeyError) as error:  # KeyError: the header names no known colour space
            if not _is_four_channel_jpeg(data):
                reason = error if isinstance(error, ValueError) else "its header is incomplete"
                raise DataError(f"{source} is a damaged JPEG: {reason}. Fetch or make the file anew.") from None
        else:
            return rgb
    return _decode_with_pillow(data, source)


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture uint8 [H, W, 3] brought to ``size`` = (height, width), bilinear with antialiasing, as Pillow does it.

    Raises:
        DataError: not a uint8 [H, W, 3] picture, or a size below 1.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(f"Expected a uint8 [H, W, 3] picture, got {image.dtype} of shape {image.shape}.")
    height, width = size
    if height < 1 or width < 1:
        raise DataError(f"A picture's size must be at least 1×1, got {height}×{width}.")
    if image.shape[:2] == (height, width):
        return image
    if all(new in (old, 2 * old) for new, old in zip(size, image.shape, strict=False)):
        return _double(image, size)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _double(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``resize`` to twice the height, width or both: Pillow's bytes in a fifth of its time.

    Both round after each axis. Their weights differ in precision, but quarters are exact in either.
    """
    pixels = torch.from_numpy(image if image.flags.writeable else image.copy())
    # The batch of one comes first: its strides must say channels-last, or the result is planar and slower.
    pixels = pixels.unsqueeze(0).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    doubled: NDArray[np.uint8] = np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())
    return doubled


def _is_four_channel_jpeg(data: bytes) -> bool:
    """CMYK and YCCK, which simplejpeg does not turn into RGB."""
    try:
        return simplejpeg.decode_jpeg_header(data, strict=False)[2] in ("CMYK", "YCCK")
    except (ValueError, KeyError):
        return False


def _decode_with_pillow(data: bytes, source: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(_DEEP):
                raise DataError(f"{source} has more than 8 bits a channel ({image.mode}); expected 8-bit RGB or grey.")
            return np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{source} is not a picture in a known format. Fetch or make the file anew.") from None
    # Pillow's plugins raise SyntaxError and struct.error (a relative of none of them) on damaged headers.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{source} is a damaged picture: {error}. Fetch or make the file anew.") from None
