"""Reading and writing label files. Nothing is ever unpickled; a file is whole or it is not there."""

from __future__ import annotations

import io
from math import ceil
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
    path = Path(path)
    array = _load_png(path) if path.suffix.lower() == ".png" else _load_npy(path)
    if array.ndim == 2:
        return one_hot(_as_label_map(array, path, len(schema)), len(schema))
    return group_fields(_as_fields(array, path), schema).astype(np.float32, copy=False)


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
        array = np.load(path, allow_pickle=False)
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


def _load_png(path: Path) -> NDArray[np.generic]:
    try:
        with Image.open(path) as image:
            return np.asarray(image)  # a palette image gives its indices, which are the labels
    except FileNotFoundError:
        raise LabelError(f"Label file {path} does not exist.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LabelError(f"Cannot read label file {path}: expected a PNG, got {error}. Make it anew.") from None


def _as_fields(array: NDArray[np.generic], path: Path) -> NDArray[np.float32]:
    if array.ndim != 3 or array.shape[0] != NUM_POSE_FIELDS or 0 in array.shape:
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
