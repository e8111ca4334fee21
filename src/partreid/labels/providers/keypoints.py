"""Persons from a file: COCO keypoints from any other tool, drawn as pose fields."""

from __future__ import annotations

import itertools
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, warn
from partreid.functional._checks import require_fraction
from partreid.labels.providers import Crop, PoseLabel, PoseProvider, label_persons
from partreid.labels.providers.keypoint_files import read_persons
from partreid.types.numbers import require_whole

_SMALLEST = 8
"""Smallest image, in pixels, in which fractions of its size can be distinguished from pixels."""

_ENOUGH = 5
"""Number of images with a person from which on all of them together are evidence."""

_CORNER, _BEYOND = 0.6, 1.1
"""Fractions of width and height: what at least one of many persons fills, and how far beyond a crop joints are
guessed."""

_Parts = tuple[str, ...]
"""A path's folders and base name."""


class KeypointFile(PoseProvider):
    """Pose fields of the target person from keypoints in the pixels of the crop.

    A file's name of an image belongs to a crop if the crop's path ends with it (``bounding_box_train/0002.jpg``, or the
    base name alone), or if both end with the same folder and base name (paths of another machine); the suffix may be
    left out. Among several names, the one with the longest common end counts. A crop without a name in the file shows
    no person.

    If the file gives the size of its images, and the crop has another size with the same aspect ratio, keypoints are
    scaled to the crop's pixels.

    Args:
        file: COCO JSON, COCO results JSON or ``.npz``; see
            :func:`~partreid.labels.providers.keypoint_files.read_persons`.
        stride: pixels of the image between two nodes of the fields.
        images: JSON with the list ``images``, for results whose ``image_id`` are numbers.
        min_confidence: keypoints below it count as not seen. Tools differ, so look at some labels.

    Raises:
        LabelError: the file cannot be read or is not such a file.
        ShapeError: ``stride`` is no whole number of at least 1, or ``min_confidence`` lies outside [0, 1].
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
        self.stride = require_whole("stride", stride, least=1)
        require_fraction("min_confidence", min_confidence)
        found = read_persons(self.file, images=images)
        found.keypoints[found.keypoints[..., 2] < min_confidence] = 0
        self._keypoints, self._sizes = found.keypoints, found.sizes
        self._rows: dict[_Parts, list[int]] = {_parts(name): [] for name in found.mentioned}
        for row, name in enumerate(found.names):
            self._rows[_parts(name)].append(row)
        self._by_name: dict[str, list[_Parts]] = defaultdict(list)
        for parts in self._rows:
            self._by_name[parts[-1]].append(parts)

    def check(self, images: Sequence[Path], others: Sequence[Path] = ()) -> None:
        """Assign each name to an image before anything is written, and warn about images that the file does not name.

        All images of a run count, also those that have a label. Otherwise a resumed run would assign a name that fits
        two images to the second one. The set's other images count as well, because a base name may fit several images.

        Raises:
            LabelError: the file names none of the images; or names that fit an image, or images that fit a
                name, equally well.
        """
        used: dict[_Parts, Path] = {}
        unnamed = []
        for path in images:
            entry = self._entry(path)
            if entry is None:
                unnamed.append(path)
            else:
                self._claim(entry, used.setdefault(entry, path), path)
        if images and not used:
            raise LabelError(
                f"{self.file} names none of the {len(images)} images. It names {'/'.join(next(iter(self._rows)))}; "
                f"the last image is {images[-1]}. A name must be the end of the image's path, with or without "
                "its suffix."
            )
        for path in others:
            if (entry := self._entry(path)) is not None:
                self._claim(entry, used.get(entry, path), path)
        if unnamed:
            warnings.warn(
                f"{self.file} does not name {len(unnamed)} of the {len(images)} images, the first is {unnamed[0]}. "
                "They get an empty label, which means that nobody is in the image.",
                stacklevel=1,  # always the same line of code, so that checking twice warns once
            )

    def _claim(self, entry: _Parts, one: Path, other: Path) -> None:
        if one != other:
            raise LabelError(f"{self.file}: {'/'.join(entry)} may be {one} or {other}. Give names with folders.")

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each image's target person; see :class:`~partreid.labels.providers.PoseProvider`.

        Raises:
            LabelError: names that fit a crop equally well, or keypoints outside their image.
        """
        reaches = []
        for crop in crops:
            label, reach = self._label(crop)
            if reach.any():
                reaches.append(reach)
            yield label
        if len(reaches) >= _ENOUGH and (hint := _other_size(np.array(reaches))):
            warn(
                f"{self.file}: {hint}. If they were made in images of another size, or are percent, give the pixels "
                "of the crop, or say the size of those images in COCO's 'images'."
            )

    def _entry(self, path: Path) -> _Parts | None:
        """The file's name of that image."""
        crop = _parts(path.as_posix())
        if crop[-1] not in self._by_name:
            crop = (*crop[:-1], path.stem)
        lengths = {parts: _common_end(parts, crop) for parts in self._by_name.get(crop[-1], ())}
        lengths = {parts: length for parts, length in lengths.items() if length > 1 or len(parts) == 1}
        longest = max(lengths.values(), default=0)
        best = [parts for parts, length in lengths.items() if length == longest]
        if len(best) > 1:
            first, second = ("/".join(parts) for parts in best[:2])
            raise LabelError(f"{self.file}: {first} and {second} both may be {path}. Give names that tell them apart.")
        return best[0] if best else None

    def _label(self, crop: Crop) -> tuple[PoseLabel, NDArray[np.float64]]:
        """The label, and how far right and down the keypoints reach, as fractions of the crop; 0 without a person."""
        entry, size = self._entry(crop.path), crop.pixels.shape[:2]
        rows = [] if entry is None else self._rows[entry]
        persons = self._keypoints[rows]
        if len(rows):
            persons = persons * self._scales(self._sizes[rows], crop)[:, None]
        persons = persons[persons[..., 2].any(axis=1)]
        seen = persons[persons[..., 2] > 0][:, :2]
        if problem := _wrong_pixels(seen, size, str(crop.path)):
            raise LabelError(f"{self.file}: {problem}")
        reach = (seen / (size[1], size[0])).max(axis=0, initial=0)
        return label_persons(persons, size, stride=self.stride), reach

    def _scales(self, sizes: NDArray[np.float64], crop: Crop) -> NDArray[np.float64]:
        """Factors [P, 3] for keypoints (x, y, confidence), from images of these (width, height) to the crop's pixels.

        Raises:
            LabelError: a size has another aspect ratio, so something unknown was cut off or added.
        """
        height, width = crop.pixels.shape[:2]
        scales = np.ones((len(sizes), 3))
        for scale, (w, h) in zip(scales, sizes, strict=True):
            if not w:
                continue
            if abs(width * h - height * w) > max(w + h, width + height):  # more than a pixel of rounding
                lying = " (that is how it lies in the file; images are read upright)" * ((w, h) == (height, width))
                raise LabelError(
                    f"{self.file} says that {crop.path} is {w:g}x{h:g}{lying}, but it is {width}x{height}, width x "
                    "height: no enlargement, so nobody knows where the keypoints lie. Make them in the images as "
                    "they are, or correct width and height."
                )
            scale[:2] = width / w, height / h
        return scales


def _parts(name: str) -> _Parts:
    """The parts of a path with either kind of slash."""
    return PurePosixPath(name.replace("\\", "/")).parts or ("",)


def _common_end(a: _Parts, b: _Parts) -> int:
    """The number of equal parts, counted from the base name."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _other_size(reaches: NDArray[np.float64]) -> str:
    """Why keypoints seem to be for another image size, or "". ``reaches`` [N, 2]: as fractions of their crops."""
    if reaches.max() < _CORNER:
        return f"in all {len(reaches)} images they lie in the upper left, within {reaches.max():.0%} of both sides"
    beyond = (reaches > _BEYOND).all(axis=1)
    if beyond.mean() > 0.5:
        return f"in {beyond.sum()} of {len(reaches)} images they reach beyond the right and the lower edge"
    return ""


def _wrong_pixels(seen: NDArray[np.float64], size: tuple[int, int], name: str) -> str:
    """Why keypoints [N, 2] cannot be in the pixels of an image of that (H, W); "" = they may be.

    A few joints may lie outside, because tools guess where a body continues beyond the crop.
    """
    (height, width), count = size, len(seen)
    if not count:
        return ""
    if count > 2 and min(size) >= _SMALLEST and ((seen >= -1) & (seen <= 2)).all():
        return (
            f"all keypoints of {name} lie within its first pixels. They seem to be fractions of the image's size; "
            f"expected pixels: x times {width}, y times {height}."
        )
    inside = ((seen >= 0) & (seen <= (width, height))).all(axis=1)
    if not inside.any():
        x, y = seen[0]
        return (
            f"all keypoints of {name} lie outside it, the first at x = {x:g}, y = {y:g} of an image {width}x{height}. "
            "Keypoints must be given in the pixels of the crop, not of the whole frame."
        )
    right, low = seen.max(axis=0)
    reach = f"keypoints of {name} reach to x = {right:g}, y = {low:g} of an image {width}x{height}"
    beyond = right > _BEYOND * width, low > _BEYOND * height
    if count > 4 and height > width and beyond[0] and ((seen >= 0) & (seen <= (height, width))).all():
        return f"{reach}: x and y seem to be exchanged. Expected x, y, confidence."
    if count > 4 and all(beyond) and inside.mean() < 0.5:
        return (
            f"{reach}, and most lie outside it: they seem to be of another size. Expected the pixels of the crop; or "
            "say the size of the images they are of, in COCO's 'images'."
        )
    return ""
