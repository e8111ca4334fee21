"""Reading files of COCO keypoints: COCO's own JSON, its results JSON, or NumPy arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from partreid.errors import LabelError, warn
from partreid.labels.providers.keypoint_lists import image_list, image_of, without_other_categories
from partreid.labels.providers.pose_files import (
    OPENPOSE,
    is_mmpose,
    is_openpose,
    mmpose_persons,
    openpose_persons,
)
from partreid.parts import KEYPOINTS

_NUMBERS = 3 * len(KEYPOINTS)
_EXPECTED = f"Expected {len(KEYPOINTS)} keypoints of 3 numbers (x, y, confidence) in COCO order: {', '.join(KEYPOINTS)}"
_LARGEST_CONFIDENCE = 1.25
"""Peaks of heat maps may be slightly above 1. If the third number is larger than this, it is no confidence."""

_OTHER_COUNTS = {
    2 * len(KEYPOINTS): "x and y without a confidence: put 1 behind each pair, 0 where a joint was not found",
    3 * 18: "18 keypoints, OpenPose's, whose order is another: put them in COCO's",
    3 * 25: "25 keypoints, OpenPose's, whose order is another: put them in COCO's",
    3 * 26: "26 keypoints; of AlphaPose's Halpe the first 17 are COCO's: keep those",
    3 * 133: "133 keypoints of the whole body; the first 17 are COCO's: keep those",
    3 * 136: "136 keypoints; of AlphaPose's Halpe the first 17 are COCO's: keep those",
}
"""Usual meanings of other counts of numbers."""

_BOMB_BYTES, _BOMB_RATIO = 64 * 2**20, 500
"""An array in an ``.npz`` that unpacks to more than both limits is no list of joints, which hardly compress."""

_PREDICTIONS = ".predictions.json"
"""Ending of the files of ``openpifpaf.predict --json-output``. The image's name stands before it."""


@dataclass(frozen=True, eq=False)
class Persons:
    """The content of a file of keypoints.

    Attributes:
        names: each person's image [N].
        keypoints: [N, 17, 3], x, y and a confidence in [0, 1]; all 0 if a joint was not found.
        sizes: (width, height) of the images that the keypoints were made in [N, 2]; 0 if the file does not say.
        mentioned: every image that the file names, also those without a person.
    """

    names: list[str]
    keypoints: NDArray[np.float64]
    sizes: NDArray[np.float64]
    mentioned: list[str]


def read_persons(path: str | Path, *, images: str | Path | None = None) -> Persons:
    """All persons of a file. The format is recognised from the content.

    - COCO JSON: an object with ``images`` (``id``, ``file_name``, and the size where known) and ``annotations``
      (``image_id``, ``keypoints``). Entries of other categories than persons are left out, with a warning.
    - COCO results JSON: a list of ``{image_id, keypoints}``. ``image_id`` is the image's name, with or without its
      suffix, or a number that ``images`` explains; a ``file_name`` beside it counts more.
    - OpenPifPaf's ``NAME.predictions.json``, OpenPose's ``NAME_keypoints.json`` (its models BODY_25 and COCO), MMPose's
      ``NAME.json``: the persons of the image NAME; or a folder of such files. For a video MMPose numbers the frames;
      ``images`` says which images they are.
    - ``.npz`` with ``paths`` [N] (text) and ``keypoints`` [N, 17, 3].

    The third number of a keypoint is its confidence in [0, 1]. If all of them in a file are 0, 1 or 2 and at least one
    is 2, they are COCO's visibility flags. Then only 2 counts as seen, because a hidden joint must not become a part's
    label. A joint of confidence 0 may have any place, also NaN or null.

    A person without any confident keypoint is left out.

    Args:
        path: the file, or the folder.
        images: a JSON with a list ``images``, for results whose ``image_id`` are numbers.

    Raises:
        LabelError: the file is unreadable or empty, has another number of keypoints, values that are not pixels or not
            confidences, no person among its categories, or an image that the list of images lacks. The message names
            the file and the first wrong entry.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        names, keypoints = _from_arrays(path)
        mentioned, sizes = names, np.zeros((len(names), 2))
    elif path.suffix.lower() == ".json" or path.is_dir():
        names, keypoints, sizes, mentioned = _from_json(path, None if images is None else Path(images))
    else:
        raise LabelError(f"Cannot tell what {path} is: expected keypoints in a .json or .npz file.")
    # A joint that was not found has no position; tools write 0, NaN or null for it.
    nowhere = np.isnan(keypoints[..., :2]).any(axis=-1)
    keypoints[nowhere & (np.isnan(keypoints[..., 2]) | (keypoints[..., 2] == 0))] = 0
    keypoints[..., 2] = _confidences(keypoints, names, path)
    someone = keypoints[..., 2].any(axis=1)
    if not someone.any():
        raise LabelError(f"{path} holds no person: {len(names)} entries, none with a confident keypoint.")
    return Persons([names[i] for i in np.flatnonzero(someone)], keypoints[someone], sizes[someone], mentioned)


def _from_arrays(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, NpzFile):
            raise ValueError("it holds a single array")
        with file:
            for info in file.zip.infolist() if file.zip is not None else ():  # before anything is unpacked
                if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
                    raise ValueError(f"{info.filename} unpacks from {info.compress_size} bytes to {info.file_size}")
            arrays = {name: file[name] for name in ("paths", "keypoints") if name in file}
    except Exception as error:  # damaged archives and headers can raise nearly any error
        raise LabelError(f"Cannot read {path}: {error}. Expected an .npz with text 'paths' and 'keypoints'.") from None
    if len(arrays) < 2:
        raise LabelError(f"{path} must hold the arrays 'paths' [N] and 'keypoints' [N, {len(KEYPOINTS)}, 3].")
    paths, keypoints = arrays["paths"], arrays["keypoints"]
    if paths.ndim != 1 or paths.dtype.kind != "U":
        raise LabelError(f"'paths' of {path} must be a list of texts, got {paths.dtype} of shape {paths.shape}.")
    if keypoints.shape != (len(paths), len(KEYPOINTS), 3) or keypoints.dtype.kind not in "fiu":
        raise LabelError(
            f"'keypoints' of {path} have shape {keypoints.shape} for {len(paths)} paths. {_EXPECTED}. "
            "An image of several persons takes several rows with the same path."
        )
    return paths.tolist(), keypoints.astype(np.float64)


def _from_json(
    path: Path, images: Path | None
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], list[str]]:
    content, told = _load_folder(path) if path.is_dir() else _load_file(path, path.name)
    if isinstance(content, dict):
        entries, listed = content.get("annotations"), content
    else:
        entries, listed = content, {} if images is None else _load_json(images)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        inside = ", ".join(map(str, content)) if isinstance(content, dict) else ""
        found = f"an object with {inside or 'nothing'}" if isinstance(content, dict) else "neither"
        raise LabelError(
            f"{path} is neither COCO JSON ('images' and 'annotations') nor a list of COCO results, found {found}. "
            "Export COCO's format from your tool."
        )
    if not entries:
        raise LabelError(f"{path} holds no person: its list is empty.")
    categories = listed.get("categories") if isinstance(listed, dict) else None
    entries = without_other_categories(entries, categories, path, expected=_EXPECTED)
    known = image_list(listed, images or path)
    of_entries = [image_of(entry, index, known, path) for index, entry in enumerate(entries)]
    names = [image.name for image in of_entries]
    keypoints = _numbers([entry.get("keypoints") for entry in entries], names, path)
    if isinstance(content, dict) and keypoints[..., 2].max() == 1 and np.isin(keypoints[..., 2], (0, 1)).all():
        warn(
            f"The third numbers of {path} are all 0 or 1. They are taken for confidences, 1 = seen; as COCO's flags 1 "
            "would mean a hidden joint."
        )
    sizes = np.array([image.size for image in of_entries], float)
    return names, keypoints, sizes, [*(image.name for image in known.values()), *told, *names]


def _load_folder(path: Path) -> tuple[list[Any], list[str]]:
    """The persons from all files of one tool in a folder, each with the ``file_name`` of its image; and the names of
    all images."""
    files = sorted(path.rglob("*.json"))
    for suffix in (_PREDICTIONS, OPENPOSE):
        files = [file for file in files if file.name.endswith(suffix)] or files
    if not files:
        raise LabelError(
            f"{path} holds no *{_PREDICTIONS}. Expected the folder of openpifpaf.predict --json-output, of OpenPose's "
            f"--write_json (*{OPENPOSE}), or MMPose's predictions."
        )
    entries, names = [], []
    for file in files:
        persons, told = _load_file(file, file.relative_to(path).as_posix())
        if not told:
            raise LabelError(
                f"{file} is not what OpenPifPaf, OpenPose or MMPose writes of an image. Give a file of COCO's alone."
            )
        entries += persons
        names += told
    return entries, names


def _load_file(file: Path, name: str) -> tuple[Any, list[str]]:
    """For a file about one image: the persons, and the image's name, which is the file's without the tool's ending. For
    any other file: its content."""
    content = _load_json(file)
    if name.endswith(_PREDICTIONS):
        if not isinstance(content, list) or not all(isinstance(person, dict) for person in content):
            raise LabelError(f"{file} is no list of persons, as openpifpaf.predict --json-output writes it.")
        persons, image = content, name.removesuffix(_PREDICTIONS)
    elif is_openpose(content):
        persons, image = (
            openpose_persons(content["people"], str(file)),
            name.removesuffix(".json").removesuffix("_keypoints"),
        )
    elif is_mmpose(content) or content == []:
        persons, image = mmpose_persons(content, str(file)), name.removesuffix(".json")
        if isinstance(content, dict):  # of its demo, results_NAME.json
            image = (Path(image).parent / Path(image).name.removeprefix("results_")).as_posix()
        if any("image_id" in person for person in persons):  # of a video
            return persons, []
    else:
        return content, []
    return [{**person, "file_name": image} for person in persons], [image]


def _load_json(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return json.load(file)
    except FileNotFoundError:
        raise LabelError(f"Keypoint file {path} does not exist.") from None
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
        raise LabelError(f"Cannot read {path} as JSON: {error}.") from None
    except (RecursionError, MemoryError):
        raise LabelError(f"Cannot read {path} as JSON: lists within lists without end, or too much of it.") from None


def _numbers(lists: Sequence[Any], names: Sequence[str], path: Path) -> NDArray[np.float64]:
    """[N, 17, 3], with NaN for null."""
    flat = []
    for index, numbers in enumerate(lists):
        if isinstance(numbers, list) and numbers and all(isinstance(one, list) for one in numbers):
            numbers = [number for one in numbers for number in one]  # of 17 lists of three too
        flat.append(numbers)
        if not isinstance(numbers, list) or len(numbers) != _NUMBERS:
            count = f"{len(numbers)} numbers" if isinstance(numbers, list) else "no list of numbers"
            if isinstance(numbers, list) and len(numbers) in _OTHER_COUNTS:
                count += f" ({_OTHER_COUNTS[len(numbers)]})"
            raise LabelError(f"'keypoints' of entry {index} ({names[index]}) in {path}: {count}. {_EXPECTED}.")
    try:
        return np.array(flat, dtype=np.float64).reshape(-1, len(KEYPOINTS), 3)
    except (TypeError, ValueError, OverflowError) as error:  # OverflowError: a number of 400 digits
        raise LabelError(f"'keypoints' in {path} hold something else than numbers: {error}.") from None


def _confidences(keypoints: NDArray[np.float64], names: Sequence[str], path: Path) -> NDArray[np.float64]:
    """The third numbers as confidences [N, 17] in [0, 1]."""
    third = keypoints[..., 2]
    largest = third.max(initial=0)
    if largest == 2 and np.isin(third, (0, 1, 2)).all() and np.isfinite(keypoints).all():
        return np.where(third == 2, 1.0, 0.0)
    above = f"A confidence above 1 (up to {largest:g} in this file; divide by the scale)"
    for wrong, what in (
        (~np.isfinite(keypoints), "A number that is not finite"),
        (keypoints[..., 2:] < 0, "A negative confidence"),
        (keypoints[..., 2:] > _LARGEST_CONFIDENCE, above),
    ):
        if wrong.any():
            index = int(wrong.any(axis=(1, 2)).argmax())
            raise LabelError(f"{what} in entry {index} ({names[index]}) of {path}. {_EXPECTED}; 0 = not found.")
    return third.clip(0, 1)
