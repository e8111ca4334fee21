"""Reading and writing label files. Nothing is ever unpickled. A file is either complete or absent."""

from __future__ import annotations

import io
from functools import lru_cache
from math import ceil, prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import LabelError
from partreid.files import atomic_file, replace_file
from partreid.labels.grouping import group_fields, one_hot
from partreid.parts import NUM_POSE_FIELDS, PartSchema

_LARGEST_VALUE = 5.0
"""Networks' fields may slightly exceed 1. Values above this limit have another scale, such as 0 to 100 or to 255."""

_CLEARLY = 1.25
"""From this ratio on, an image counts as clearly higher than wide, or wider than high."""

_MOST_NODES = 2**24
_ARCHIVE = "an archive"


def label_size(height: int, width: int, *, stride: int = 8) -> tuple[int, int]:
    """(h, w) of labels made for an H×W image, about ``stride`` pixels apart.

    With stride 8 it is the size of the published labels, 2·ceil((n-1)/16) + 1: 128×64 gives (17, 9).
    """
    return 2 * ceil((height - 1) / (2 * stride)) + 1, 2 * ceil((width - 1) / (2 * stride)) + 1


def read_pose_fields(path: str | Path) -> NDArray[np.float32]:
    """Pose fields of a ``.npy`` file.

    Args:
        path: a float array, clamped to [0, 1], or a uint8 array, read as value/255. Values far above 1, and bytes with
            only 0 and 1, are of another scale and refused.

    Returns:
        float32 [36, h, w] in [0, 1].

    Raises:
        LabelError: missing, truncated, pickled, of another shape, type or scale, or not finite; the message names it.
    """
    path = Path(path)
    return part_map_values(_checked_fields(_load_npy(path), path))


def read_label_map(path: str | Path, num_parts: int) -> NDArray[np.uint8]:
    """A ready label map: a 2-D integer ``.npy`` or a single-channel PNG.

    Args:
        path: the file. num_parts: K; values must lie in 0..K.

    Returns:
        uint8 [h, w].

    Raises:
        LabelError: missing, unreadable, not 2-D integers, or labels of another K.
    """
    path = Path(path)
    return _as_label_map(_load_png(path) if path.suffix.lower() == ".png" else _load_npy(path), path, num_parts)


def read_part_maps(path: str | Path, schema: PartSchema) -> NDArray[np.float32]:
    """Part maps E from either kind of label file: pose fields are grouped, a label map becomes one-hot.

    Args:
        path: ``.npy`` [36, h, w] or [h, w], or a PNG label map. schema: the K parts.

    Returns:
        float32 [K, h, w] in [0, 1].

    Raises:
        LabelError: as :func:`read_pose_fields` and :func:`read_label_map`.
    """
    return part_map_values(read_stored_part_maps(path, schema))


def read_stored_part_maps(path: str | Path, schema: PartSchema) -> NDArray[np.generic]:
    """Part maps E in the compact type of the file, to keep in memory; :func:`part_map_values` converts them to numbers.

    Args:
        path, schema: as in :func:`read_part_maps`.

    Returns:
        [K, h, w], uint8 (255 means 1) or float32.

    Raises:
        LabelError: as :func:`read_part_maps`.
    """
    path = Path(path)
    array = _load_png(path) if path.suffix.lower() == ".png" else _load_npy(path)
    if array.ndim == 2:
        return one_hot(_as_label_map(array, path, len(schema)), len(schema)).astype(np.uint8) * np.uint8(255)
    # The maximum of a group is the same for bytes and for numbers, so bytes are grouped directly.
    return group_fields(_checked_fields(array, path), schema)


def check_upright(label: str | Path, nodes: tuple[int, int], image: str | Path, size: tuple[int, int]) -> None:
    """Refuse a label that is turned by 90° while its image is upright: it was transposed, or made before the image was
    turned.

    This is certain only if the label is clearly wider than high and the image clearly higher than wide, because labels
    may be made in images that were all resized to one upright size.

    Args:
        label, image: the files. nodes: (h, w) of the label. size: (H, W) of the image, as it is read: upright.

    Raises:
        LabelError: the label is turned; the message says what to do.
    """
    (h, w), (height, width) = nodes, size
    if w >= _CLEARLY * h and height >= _CLEARLY * width:
        raise LabelError(
            f"{label} has {h}x{w} nodes, but {image} has {height}x{width} pixels, height x width: the label lies on "
            "its side. Transpose it to [36, h, w], or make it again (`partreid labels make --overwrite`): "
            "images are read upright, as EXIF says."
        )


def part_map_values(stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Results of :func:`read_stored_part_maps`, also stacked, as float32 in [0, 1]."""
    if stored.dtype == np.uint8:
        return stored.astype(np.float32) / np.float32(255)
    return stored.astype(np.float32, copy=False)


def write_pose_fields(path: str | Path, fields: NDArray[np.floating], *, quantised: bool = True) -> None:
    """Write pose fields [36, h, w] as ``.npy``: uint8 (value·255, rounded) or float32.

    Values are clamped to [0, 1]. The file appears completely or not at all. If all bytes are 0 or 1, they are written
    as 0, because a reader would take them for another scale.

    Raises:
        LabelError: another shape, not finite, or the file cannot be written.
    """
    path = Path(path)
    clean = part_map_values(_checked_fields(np.asarray(fields, dtype=np.float32), path))
    stored = np.round(clean * 255).astype(np.uint8) if quantised else clean
    _save_npy(path, stored * np.uint8(0) if quantised and stored.max() == 1 else stored)


def write_label_map(path: str | Path, label: NDArray[np.integer]) -> None:
    """Write a label map [h, w] as uint8, a PNG if the name ends in ``.png``, else ``.npy``. It is written completely or
    not at all.

    Raises:
        LabelError: not 2-D, values outside 0..255, or the file cannot be written.
    """
    path = Path(path)
    stored = _as_label_map(np.asarray(label), path, 255)
    if path.suffix.lower() == ".png":
        with atomic_file(path, error=LabelError) as temporary:
            Image.fromarray(stored).save(temporary, format="PNG")
    else:
        _save_npy(path, stored)


def _load_npy(path: Path) -> NDArray[np.generic]:
    try:
        return _parse_npy(path.read_bytes())
    except FileNotFoundError:
        raise LabelError(f"Label file {path} does not exist.") from None
    except Exception as error:  # damaged headers can raise nearly any error
        if str(error) == _ARCHIVE:
            raise LabelError(f"Label file {path} is an archive; expected one .npy array.") from None
        raise LabelError(
            f"Cannot read label file {path}: expected a .npy array of numbers, got {error}. "
            "Is it truncated? Make it again."
        ) from None


def _parse_npy(data: bytes) -> NDArray[np.generic]:
    """The array of a ``.npy`` file. It never takes more memory than the file's size."""
    if data.startswith(b"PK"):
        raise ValueError(_ARCHIVE)
    if not data.startswith(b"\x93NUMPY") or len(data) < 12:
        raise ValueError("something else")
    wide = data[6] > 1  # the header's length has four bytes from version 2 on
    start = (12 if wide else 10) + int.from_bytes(data[8 : 12 if wide else 10], "little")
    shape, fortran_order, dtype = _npy_header(data[8:start], wide)
    if dtype.hasobject:
        raise ValueError("something pickled")
    if len(data) != start + prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data) - start} bytes for {list(shape)} of {dtype}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran_order else "C")


@lru_cache(maxsize=256)  # parsing takes most of the time, and all label files of a set have the same header
def _npy_header(header: bytes, wide: bool) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    read = np.lib.format.read_array_header_2_0 if wide else np.lib.format.read_array_header_1_0
    shape, fortran_order, dtype = read(io.BytesIO(header))
    return shape, fortran_order, dtype


def _load_png(path: Path) -> NDArray[np.generic]:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > _MOST_NODES:
                raise ValueError(f"{image.width}x{image.height} nodes")
            return np.asarray(image)  # a palette image gives its indices, which are the labels
    except FileNotFoundError:
        raise LabelError(f"Label file {path} does not exist.") from None
    except Exception as error:  # Pillow's plugins can raise nearly any error on damaged files
        raise LabelError(f"Cannot read label file {path}: expected a PNG, got {error}. Make it again.") from None


def _checked_fields(array: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """Fields as bytes, 255 meaning 1, or as float32 in [0, 1]."""
    if array.ndim != 3 or array.shape[0] != NUM_POSE_FIELDS or 0 in array.shape:
        last = array.ndim == 3 and array.shape[2] == NUM_POSE_FIELDS
        raise LabelError(
            f"{path}: expected pose fields of shape [{NUM_POSE_FIELDS}, h, w] (17 keypoints, 19 limbs), "
            f"got shape {list(array.shape)}.{' Put the channels first: array.transpose(2, 0, 1).' * last}"
        )
    if array.dtype == np.uint8:
        if array.max() == 1:
            raise LabelError(
                f"{path}: expected bytes from 0 to 255, where 255 means 1, got 0 and 1 only. Multiply them by 255, or "
                "save them as float."
            )
        return array
    if array.dtype.kind != "f":
        raise LabelError(
            f"{path}: expected pose fields as float or uint8, got {array.dtype}. Save values in [0, 1] as float32."
        )
    fields = array.astype(np.float32)
    if not np.isfinite(fields).all():
        channel = int(np.argwhere(~np.isfinite(fields))[0][0])
        raise LabelError(f"{path}: expected values in [0, 1], got NaN or infinity in channel {channel}.")
    if fields.max() > _LARGEST_VALUE:
        raise LabelError(f"{path}: expected values in [0, 1], got up to {fields.max():g}. Divide them by their scale.")
    return np.clip(fields, 0, 1)


def _as_label_map(array: NDArray[np.generic], path: Path, num_parts: int) -> NDArray[np.uint8]:
    if array.ndim != 2 or array.dtype.kind not in "iu" or 0 in array.shape:
        raise LabelError(
            f"{path}: expected a label map, [h, w] of integers, got shape {list(array.shape)} of {array.dtype}."
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > num_parts:
        raise LabelError(
            f"{path}: expected labels 0..{num_parts} (0 = background), got {low}..{high}. "
            "These are labels of another K: choose the part schema they were made for."
        )
    return array.astype(np.uint8)


def _save_npy(path: Path, array: NDArray[np.generic]) -> None:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    replace_file(path, data.getvalue(), error=LabelError)
