"""Reading and writing label files. Nothing is ever unpickled; a file is whole or it is not there."""

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


def label_size(height: int, width: int, *, stride: int = 8) -> tuple[int, int]:
    """(h, w) of labels made for an H×W picture, about ``stride`` pixels apart.

    With stride 8 it is that of the published labels, 2·ceil((n-1)/16) + 1: 128×64 gives (17, 9).
    """
    return 2 * ceil((height - 1) / (2 * stride)) + 1, 2 * ceil((width - 1) / (2 * stride)) + 1


def read_pose_fields(path: str | Path) -> NDArray[np.float32]:
    """Pose fields of a ``.npy`` file.

    Args:
        path: a float array, clamped to [0, 1], or a uint8 array, read as value/255.

    Returns:
        float32 [36, h, w] in [0, 1].

    Raises:
        LabelError: missing, truncated, pickled, another shape or type, or not finite; the message names the file.
    """
    path = Path(path)
    return _as_fields(_load_npy(path), path)


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
    """Part maps E as small as the file has them, to be kept in memory; :func:`part_map_values` makes numbers of them.

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
    # The maximum of a group may be taken of bytes as well as of numbers: it is the same one's.
    quantised = array.dtype == np.uint8 and _is_fields(array)
    return group_fields(array if quantised else _as_fields(array, path), schema)


def part_map_values(stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """What :func:`read_stored_part_maps` gave, any number of them stacked, as float32 in [0, 1]."""
    if stored.dtype == np.uint8:
        return stored.astype(np.float32) / np.float32(255)
    return stored.astype(np.float32, copy=False)


def write_pose_fields(path: str | Path, fields: NDArray[np.floating], *, quantised: bool = True) -> None:
    """Write pose fields [36, h, w] as ``.npy``: uint8 (value·255, rounded) or float32.

    Values are clamped to [0, 1]. The file appears whole or not at all.

    Raises:
        LabelError: another shape, not finite, or the file cannot be written.
    """
    path = Path(path)
    clean = _as_fields(np.asarray(fields, dtype=np.float32), path)
    _save_npy(path, np.round(clean * 255).astype(np.uint8) if quantised else clean)


def write_label_map(path: str | Path, label: NDArray[np.integer]) -> None:
    """Write a label map [h, w] as uint8, a PNG if the name ends so, else ``.npy``. Whole or not at all.

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
        data = path.read_bytes()
        if (array := _plain_npy(data)) is not None:
            return array
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except FileNotFoundError:
        raise LabelError(f"Label file {path} does not exist.") from None
    # MemoryError: a damaged header can announce any size.
    except (ValueError, EOFError, OSError, MemoryError) as error:
        reason = "something pickled" if "allow_pickle" in str(error) else error
        raise LabelError(
            f"Cannot read label file {path}: expected a .npy array of numbers, got {reason}. "
            "Is it truncated? Make it anew."
        ) from None
    if not isinstance(array, np.ndarray):
        raise LabelError(f"Label file {path} is an archive; expected one .npy array.")
    return array


def _plain_npy(data: bytes) -> NDArray[np.generic] | None:
    """The array of a whole ``.npy`` file of the usual kind; None where ``numpy.load`` must look into it.

    ``numpy.load`` spends most of its time on parsing the header, which is the same in all label files of a set.
    """
    if not data.startswith(b"\x93NUMPY\x01\x00"):
        return None
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _npy_header(data[8:start])
    if header is None or len(data) != start + prod(header[0]) * header[1].itemsize:
        return None
    return np.frombuffer(data, header[1], offset=start).reshape(header[0])


@lru_cache(maxsize=256)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], np.dtype[np.generic]] | None:
    try:
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(header))
    except ValueError:
        return None
    return None if fortran_order or dtype.hasobject or 0 in shape else (shape, dtype)


def _load_png(path: Path) -> NDArray[np.generic]:
    try:
        with Image.open(path) as image:
            return np.asarray(image)  # a palette image gives its indices, which are the labels
    except FileNotFoundError:
        raise LabelError(f"Label file {path} does not exist.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LabelError(f"Cannot read label file {path}: expected a PNG, got {error}. Make it anew.") from None


def _is_fields(array: NDArray[np.generic]) -> bool:
    return array.ndim == 3 and array.shape[0] == NUM_POSE_FIELDS and 0 not in array.shape


def _as_fields(array: NDArray[np.generic], path: Path) -> NDArray[np.float32]:
    if not _is_fields(array):
        raise LabelError(
            f"{path}: expected pose fields of shape [{NUM_POSE_FIELDS}, h, w] (17 keypoints, 19 limbs), "
            f"got shape {list(array.shape)}."
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if array.dtype.kind != "f":
        raise LabelError(f"{path}: expected pose fields as float or uint8, got {array.dtype}.")
    fields = array.astype(np.float32)
    if not np.isfinite(fields).all():
        channel = int(np.argwhere(~np.isfinite(fields))[0][0])
        raise LabelError(f"{path}: expected values in [0, 1], got NaN or infinity in channel {channel}.")
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
