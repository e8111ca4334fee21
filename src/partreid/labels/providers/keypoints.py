"""Persons from a file: COCO keypoints that any other tool has found, drawn as pose fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError
from partreid.labels.providers import Crop, PoseLabel, PoseProvider, label_persons
from partreid.labels.providers.keypoint_files import read_keypoints
from partreid.parts import KEYPOINTS

_Parts = tuple[str, ...]
"""A path's folders and base name."""


class KeypointFile(PoseProvider):
    """Pose fields of the target person from keypoints in the pixels of the crop.

    A file's name of a picture belongs to a crop if the crop's path ends with it (``bounding_box_train/0002.jpg``, or
    the base name alone), or if both end with the same folder and base name (paths of another machine). Of several
    the longest common end counts. A crop that the file does not name shows no person.

    Args:
        file: COCO JSON, COCO results JSON or ``.npz``; see
            :func:`~partreid.labels.providers.keypoint_files.read_keypoints`.
        stride: pixels of the picture between two nodes of the fields.
        images: JSON with the list ``images``, for results whose ``image_id`` are numbers.
        min_confidence: a keypoint below it is not seen. Tools differ: look at some labels.

    Raises:
        LabelError: the file cannot be read or is no such file.
    """

    name = "keypoints"

    def __init__(
        self,
        file: str | Path,
        *,
        stride: int = 8,
        images: str | Path | None = None,
        min_confidence: float = 0.3,
    ) -> None:
        self.file = Path(file)
        self.stride = stride
        names, keypoints = read_keypoints(self.file, images=images)
        keypoints[keypoints[..., 2] < min_confidence] = 0
        self._keypoints = keypoints
        self._rows: dict[_Parts, list[int]] = defaultdict(list)
        for row, name in enumerate(names):
            self._rows[_parts(name)].append(row)
        self._by_name: dict[str, list[_Parts]] = defaultdict(list)
        for parts in self._rows:
            self._by_name[parts[-1]].append(parts)

    def check(self, pictures: Sequence[Path]) -> None:
        """Find out whose each name is before anything is written.

        All pictures of a run count, also those that have a label: else a run that is taken up again would give a
        name of two pictures to the second one.

        Raises:
            LabelError: the file names none of the pictures; or names that fit a picture, or pictures that fit a
                name, equally well.
        """
        used: dict[_Parts, Path] = {}
        for path in pictures:
            entry = self._entry(path)
            if entry is not None and used.setdefault(entry, path) != path:
                raise LabelError(
                    f"{self.file}: {'/'.join(entry)} may be {used[entry]} or {path}. Give names with folders."
                )
        if pictures and not used:
            raise LabelError(
                f"{self.file} names none of the {len(pictures)} pictures. It names {'/'.join(next(iter(self._rows)))}; "
                f"the last picture is {pictures[-1]}. A name must be the end of the picture's path."
            )

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each picture's target person; see :class:`~partreid.labels.providers.PoseProvider`.

        Raises:
            LabelError: names that fit a crop equally well, or keypoints outside their picture.
        """
        return map(self._label, crops)

    def _entry(self, path: Path) -> _Parts | None:
        """The file's name of that picture."""
        crop = _parts(path.as_posix())
        lengths = {parts: _common_end(parts, crop) for parts in self._by_name.get(crop[-1], ())}
        lengths = {parts: length for parts, length in lengths.items() if length > 1 or len(parts) == 1}
        longest = max(lengths.values(), default=0)
        best = [parts for parts, length in lengths.items() if length == longest]
        if len(best) > 1:
            first, second = ("/".join(parts) for parts in best[:2])
            raise LabelError(f"{self.file}: {first} and {second} both may be {path}. Give names that tell them apart.")
        return best[0] if best else None

    def _label(self, crop: Crop) -> PoseLabel:
        entry, size = self._entry(crop.path), crop.pixels.shape[:2]
        persons = np.zeros((0, len(KEYPOINTS), 3)) if entry is None else self._keypoints[self._rows[entry]]
        persons = persons[persons[..., 2].any(axis=1)]
        seen = persons[persons[..., 2] > 0][:, :2]
        if len(seen) > 2 and min(size) > 2 and ((seen >= 0) & (seen <= 1)).all():
            raise LabelError(
                f"{self.file}: all keypoints of {crop.path} lie within its first pixel. They seem to be shares of the "
                f"picture's size; expected pixels: x times {size[1]}, y times {size[0]}."
            )
        if len(persons) and not _inside(persons, size).any():
            x, y = persons[persons[..., 2] > 0][0, :2]
            raise LabelError(
                f"{self.file}: all keypoints of {crop.path} lie outside it, the first at x = {x:g}, y = {y:g} of a "
                f"picture {size[1]}x{size[0]}. Keypoints must be given in the pixels of the crop, not of the whole "
                "frame."
            )
        return label_persons(persons, size, stride=self.stride)


def _parts(name: str) -> _Parts:
    """The parts of a path with either kind of slash."""
    return PurePosixPath(name.replace("\\", "/")).parts or ("",)


def _common_end(a: _Parts, b: _Parts) -> int:
    """How many parts are the same, counted from the base name."""
    count = 0
    for one, other in zip(reversed(a), reversed(b), strict=False):
        if one != other:
            break
        count += 1
    return count


def _inside(persons: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which seen keypoints lie in a picture of that (H, W) [P, 17]."""
    x, y, confidence = np.moveaxis(persons, -1, 0)
    inside: NDArray[np.bool_] = (confidence > 0) & (x >= 0) & (x <= size[1]) & (y >= 0) & (y <= size[0])
    return inside
