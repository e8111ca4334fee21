"""Whether boxes are in the pixels of the frames, as far as their numbers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, warn
from partreid.inference.crops import are_fractions

if TYPE_CHECKING:
    from partreid.tracking.track_boxes import TrackBoxes

_ENOUGH = 5  # boxes, before a part of them says something
_MOST, _FEW = 0.2, 0.05  # of the boxes may lie outside, and may be an exception
_ALIKE = 0.5  # two readings of a box that have more than this in common (intersection over union) are not worth a word
_BEYOND = 1.1  # widths or heights of the frame that boxes reach
_FAR = 1.5  # widths or heights of the frame, beyond which hardly a person reaches who stands half in it
_TALL = 0.5  # heights of the frame that a person seldom has
_STILL = 1.0  # square pixels by which sizes change where nobody moves


def check_units(boxes: TrackBoxes, width: int, height: int) -> None:
    """Whether boxes can be those of persons in frames of ``width`` × ``height`` pixels.

    Looks at all of them, as some of them would pass one by one: boxes written as fractions of the frame, x, y, width,
    height in the place of two corners or the reverse, and boxes of another video or size. Warns where all of them lie
    in one corner of the frame, as those of a smaller image do.

    Raises:
        DataError: they cannot be; the message names a line, its values, and what to do.
    """
    if not len(boxes):
        return
    check_fractions(boxes)
    if boxes.table.form is not None:
        _check_form(boxes, width, height)
    x1, y1, x2, y2 = boxes.corners.T
    outside = (x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0)
    far = (x2 > _FAR * width) | (y2 > _FAR * height)
    for which, where, most in (
        (outside, "lie outside", _MOST if len(boxes) >= _ENOUGH else 1),
        (far, "reach far beyond", 0.5),
    ):
        if which.mean() > most:
            raise DataError(
                f"{_first(boxes, which)}: {int(which.sum())} of {len(boxes)} boxes {where} the frame of {width}×"
                f"{height} pixels. Do they belong to this video, and were they found in frames of this size?"
            )
    if len(boxes) >= _ENOUGH and x2.max() < width / 2 and y2.max() < height / 2:
        warn(
            f"All boxes lie in the upper left quarter of the frame of {width}×{height} pixels: none reaches beyond "
            f"({x2.max():g}, {y2.max():g}). If they were found in smaller frames, or are in percent, scale them."
        )


def check_size(boxes: TrackBoxes, frame: int, width: int, height: int) -> None:
    """Refuse a frame that has another size than the table of its boxes says."""
    said = boxes.table.sizes.get(frame)
    if said is not None and said != (width, height):
        raise DataError(
            f"{boxes.table.path} says that frame {frame} (counted from 0) has {said[0]:g}×{said[1]:g} pixels, but it "
            f"has {width}×{height}. Give the frames that the boxes were made in."
        )


def check_fractions(boxes: TrackBoxes) -> None:
    """Refuse boxes in fractions of the frame."""
    fractions = are_fractions(boxes.corners)
    if len(boxes) and fractions.mean() > 0.5:
        raise DataError(
            f"{_first(boxes, fractions)}: {int(fractions.sum())} of {len(boxes)} boxes lie within one pixel, as if "
            "their numbers were fractions of the frame. Multiply x by the frame's width in pixels and y by its height."
        )


def _check_form(boxes: TrackBoxes, width: int, height: int) -> None:
    """Whether the four numbers are two corners where they should be a corner and a size, or the reverse."""
    numbers, frame = _as_written(boxes), np.array([width, height])
    corner, second = numbers[:, :2], numbers[:, 2:]
    if boxes.table.form == "xywh":
        wrong, form, other = _corners_for_sizes(boxes, corner, second, frame), "x, y, width, height", "x1, y1, x2, y2"
    else:
        wrong, form, other = _sizes_for_corners(boxes, corner, second, frame), "x1, y1, x2, y2", "x, y, width, height"
    option = "xyxy" if boxes.table.form == "xywh" else "xywh"
    which = _first(boxes, np.any(second <= corner, axis=1))
    if wrong is None:
        warn(f"{which}: boxes are taken for {form}; nothing tells whether they are {other}. If so: --boxes {option}.")
    elif wrong:
        raise DataError(
            f"{which}: the boxes should be {form}, but look like {other} in frames of {width}×{height} pixels. Say "
            f"which they are: --boxes {option}, or --boxes {boxes.table.form} if they are right (form= of read_boxes)."
        )


def _as_written(boxes: TrackBoxes) -> NDArray[np.float64]:
    """[N, 4] the numbers as they stand in the table."""
    numbers = boxes.corners + boxes.table.first_pixel
    if boxes.table.form == "xywh":
        numbers[:, 2:] -= numbers[:, :2]
    return numbers


def _corners_for_sizes(
    boxes: TrackBoxes, corner: NDArray[np.float64], size: NDArray[np.float64], frame: NDArray[np.int64]
) -> bool | None:
    """Whether what should be sizes are second corners: they lie right of and below the first, and within the frame,
    for all boxes, which those of persons do only in the upper left corner. None = either may be."""
    ordered, within = (size > corner).all(axis=1), (size <= _BEYOND * frame).all(axis=1)
    if ordered.mean() <= 1 - _FEW or within.mean() <= 1 - _MOST or not _differ(corner, size):
        return False
    as_sizes, as_corners = _change(boxes, size), _change(boxes, size - corner)
    if max(as_sizes, as_corners) > _STILL:  # persons that move keep their size
        if as_sizes < as_corners / 3:
            return False
        if as_corners < as_sizes / 2:
            return True
    if len(boxes.names) >= _ENOUGH:  # nobody stands elsewhere
        return True
    too_large = (size[:, 1] > _TALL * frame[1]) | (corner + size > _BEYOND * frame).any(axis=1)
    return True if _shape(size - corner) >= 1 and too_large.mean() >= 0.5 else None


def _sizes_for_corners(
    boxes: TrackBoxes, corner: NDArray[np.float64], second: NDArray[np.float64], frame: NDArray[np.int64]
) -> bool | None:
    """Whether what should be second corners are sizes: they are left of or above the first, or change less when a
    person moves, and give boxes within the frame. None = either may be."""
    fits = (second > 0).all(axis=1) & (corner + second <= _BEYOND * frame).all(axis=1)
    if fits.mean() <= 1 - _FEW:
        return False
    if (second <= corner).any(axis=1).mean() > _FEW:
        return True
    if not _differ(corner, second):
        return False
    as_corners, as_sizes = _change(boxes, second - corner), _change(boxes, second)
    if max(as_sizes, as_corners) > _STILL:
        return as_sizes < as_corners / 4
    if (corner + second > frame).any():
        return False
    return True if _shape(second - corner) < 1 <= _shape(second) else None


def _shape(sizes: NDArray[np.float64]) -> float:
    """Heights a width; persons stand, mostly."""
    return float(np.median(sizes[:, 1] / np.maximum(sizes[:, 0], 1e-9)))


def _differ(corner: NDArray[np.float64], numbers: NDArray[np.float64]) -> bool:
    """Whether it matters if the second pair is a corner or a size."""
    between = np.maximum(numbers - corner, 0)
    shared = np.minimum(between, numbers).prod(axis=1)
    union = between.prod(axis=1) + numbers.prod(axis=1) - shared
    return bool(np.median(shared / np.maximum(union, 1e-9)) < _ALIKE)


def _change(boxes: TrackBoxes, sizes: NDArray[np.float64]) -> float:
    """How much the sizes change within tracks: the mean variance."""
    count = np.maximum(np.bincount(boxes.tracks), 1)
    total = 0.0
    for column in sizes.T:
        mean = np.bincount(boxes.tracks, column) / count
        total += float(((column - mean[boxes.tracks]) ** 2).mean())
    return total


def _first(boxes: TrackBoxes, which: NDArray[np.bool_]) -> str:
    row = int(which.argmax())
    return f"{boxes.where(row)}, box ({', '.join(f'{value:g}' for value in _as_written(boxes)[row])})"
