"""Reading files of COCO keypoints: COCO's own JSON, its results JSON, or NumPy arrays."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from partreid.errors import LabelError
from partreid.parts import KEYPOINTS

_NUMBERS = 3 * len(KEYPOINTS)
_EXPECTED = f"Expected {len(KEYPOINTS)} keypoints of 3 numbers (x, y, confidence) in COCO order: {', '.join(KEYPOINTS)}"
_LARGEST_CONFIDENCE = 1.25
"""Peaks of heat maps come out a little above 1; beyond this the third number is no confidence."""


def read_keypoints(path: str | Path, *, images: str | Path | None = None) -> tuple[list[str], NDArray[np.float64]]:
    """All persons of a file. Which of its forms it has is seen from its content.

    - COCO JSON: an object with ``images`` (``id``, ``file_name``) and ``annotations`` (``image_id``, ``keypoints``).
    - COCO results JSON: a list of ``{image_id, keypoints}``. ``image_id`` is the picture's name, or a number that
      ``images`` explains.
    - ``.npz`` with ``paths`` [N] (text) and ``keypoints`` [N, 17, 3].

    The third number of a keypoint is its confidence in [0, 1]. Where all of a file's are 0, 1 or 2 and a 2 is among
    them, they are COCO's visibility flags; only 2 counts as seen: a hidden joint must not become a part's label.

    Args:
        path: the file.
        images: a JSON with a list ``images``, for results whose ``image_id`` are numbers.

    Returns:
        The picture's name of each person [N], and keypoints [N, 17, 3] with confidences in [0, 1]. A person without
        any confident keypoint is left out.

    Raises:
        LabelError: unreadable, empty, another number of keypoints, values that are no pixels or no confidences, or
            a picture that the list of images lacks; the message names the file and the first wrong entry.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        names, keypoints = _from_arrays(path)
    elif path.suffix.lower() == ".json":
        names, keypoints = _from_json(path, None if images is None else Path(images))
    else:
        raise LabelError(f"Cannot tell what {path} is: expected keypoints in a .json or .npz file.")
    keypoints[..., 2] = _confidences(keypoints, names, path)
    someone = keypoints[..., 2].any(axis=1)
    if not someone.any():
        raise LabelError(f"{path} holds no person: {len(names)} entries, none with a confident keypoint.")
    return [names[i] for i in np.flatnonzero(someone)], keypoints[someone]


def _from_arrays(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, NpzFile):
            raise ValueError("it holds a single array")
        with file:
            arrays = {name: file[name] for name in ("paths", "keypoints") if name in file}
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise LabelError(f"Cannot read {path}: {error}. Expected an .npz with text 'paths' and 'keypoints'.") from None
    if len(arrays) < 2:
        raise LabelError(f"{path} must hold the arrays 'paths' [N] and 'keypoints' [N, {len(KEYPOINTS)}, 3].")
    paths, keypoints = arrays["paths"], arrays["keypoints"]
    if paths.ndim != 1 or paths.dtype.kind != "U":
        raise LabelError(f"'paths' of {path} must be a list of texts, got {paths.dtype} of shape {paths.shape}.")
    if keypoints.shape != (len(paths), len(KEYPOINTS), 3) or keypoints.dtype.kind not in "fiu":
        raise LabelError(
            f"'keypoints' of {path} have shape {keypoints.shape} for {len(paths)} paths. {_EXPECTED}. "
            "A picture of several persons takes several rows with the same path."
        )
    return paths.tolist(), keypoints.astype(np.float64)


def _from_json(path: Path, images: Path | None) -> tuple[list[str], NDArray[np.float64]]:
    content = _load_json(path)
    if isinstance(content, dict):
        _check_order(content.get("categories"), path)
        entries, listed = content.get("annotations"), content
    else:
        entries, listed = content, {} if images is None else _load_json(images)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LabelError(f"{path} is neither COCO JSON ('images' and 'annotations') nor a list of COCO results.")
    if not entries:
        raise LabelError(f"{path} holds no person: its list is empty.")
    names = _names(entries, _image_names(listed, images or path), path)
    return names, _numbers([entry.get("keypoints") for entry in entries], names, path)


def _load_json(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise LabelError(f"Keypoint file {path} does not exist.") from None
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
        raise LabelError(f"Cannot read {path} as JSON: {error}.") from None


def _check_order(categories: Any, path: Path) -> None:
    """COCO JSON may name its keypoints; then they must be ours."""
    for category in categories if isinstance(categories, list) else ():
        named = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(named, list) and named:
            plain = tuple(str(name).strip().lower().replace(" ", "_").replace("-", "_") for name in named)
            if plain != KEYPOINTS:
                raise LabelError(f"{path} has the keypoints {', '.join(plain)}. {_EXPECTED}.")


def _image_names(content: Any, path: Path) -> dict[Any, str]:
    listed = content.get("images", []) if isinstance(content, dict) else None
    try:
        return {image["id"]: str(image["file_name"]) for image in listed or ()}
    except (TypeError, KeyError):
        raise LabelError(f"Every entry of 'images' in {path} needs 'id' and 'file_name'.") from None


def _names(entries: Iterable[dict[str, Any]], known: dict[Any, str], path: Path) -> list[str]:
    names = []
    for index, entry in enumerate(entries):
        key = entry.get("image_id")
        if not isinstance(key, int | str):
            raise LabelError(f"Entry {index} of {path} has no 'image_id' (the picture's name, or a number).")
        if key not in known and not isinstance(key, str):
            raise LabelError(
                f"Entry {index} of {path} belongs to image {key}, which no list of images explains. Give names as "
                "'image_id', or the COCO JSON with the 'images' that the keypoints were made for."
            )
        names.append(known.get(key, str(key)))
    return names


def _numbers(lists: Sequence[Any], names: Sequence[str], path: Path) -> NDArray[np.float64]:
    for index, numbers in enumerate(lists):
        if not isinstance(numbers, list) or len(numbers) != _NUMBERS:
            count = f"{len(numbers)} numbers" if isinstance(numbers, list) else "no list of numbers"
            if count == "399 numbers":
                count += " (133 keypoints of the whole body; the first 17 are COCO's)"
            raise LabelError(f"'keypoints' of entry {index} ({names[index]}) in {path}: {count}. {_EXPECTED}.")
    try:
        return np.array(lists, dtype=np.float64).reshape(-1, len(KEYPOINTS), 3)
    except (TypeError, ValueError) as error:
        raise LabelError(f"'keypoints' in {path} hold something else than numbers: {error}.") from None


def _confidences(keypoints: NDArray[np.float64], names: Sequence[str], path: Path) -> NDArray[np.float64]:
    """The third numbers as confidences [N, 17] in [0, 1]."""
    third = keypoints[..., 2]
    largest = third.max(initial=0)
    if largest == 2 and np.isin(third, (0, 1, 2)).all():
        return np.where(third == 2, 1.0, 0.0)
    for wrong, what in (
        (~np.isfinite(keypoints), "A number that is not finite"),
        (keypoints[..., 2:] < 0, "A negative confidence"),
        (keypoints[..., 2:] > _LARGEST_CONFIDENCE, f"A confidence above 1 (up to {largest:g} in this file)"),
    ):
        if wrong.any():
            index = int(wrong.any(axis=(1, 2)).argmax())
            raise LabelError(f"{what} in entry {index} ({names[index]}) of {path}. {_EXPECTED}; 0 = not found.")
    return third.clip(0, 1)
