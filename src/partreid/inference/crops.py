"""Boxes cut out of a frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from partreid.errors import DataError, ShapeError, warn
from partreid.types import PartEmbeddings


def are_fractions(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] whether all four numbers of a box [N, 4] are so small that they can only be fractions of a frame.

    Example:
        >>> are_fractions(np.array([[0.1, 0.2, 0.3, 1.0], [1, 1, 30, 80]]))
        array([ True, False])
    """
    small: NDArray[np.bool_] = np.all(np.abs(_corners(corners)) <= 1.5, axis=1)
    return small


def crop_boxes(frame: NDArray[np.uint8], boxes: ArrayLike) -> list[NDArray[np.uint8]]:
    """Cut boxes out of a frame: every pixel that a box touches. What lies outside the frame is cut off, not filled.

    Args:
        frame: uint8 [H, W, 3]. boxes: [N, 4] numbers x1, y1, x2, y2 in pixels from the upper left corner; x2 and y2
            are where the box ends, so that (0, 0, W, H) is the whole frame.

    Returns:
        N copies, so that the frame need not stay in memory.

    Raises:
        DataError: the frame is not such an array, or a box is not finite, empty, inverted, completely outside, or in
            fractions of the frame. The message names the box.
        ShapeError: the boxes are not [N, 4] numbers, or some are masked.

    Example:
        >>> [crop.shape for crop in crop_boxes(np.zeros((90, 160, 3), np.uint8), [[10, 5, 30, 65.5], [-8, 0, 12, 40]])]
        [(61, 20, 3), (40, 12, 3)]
    """
    crops, problems = try_boxes(frame, boxes)
    for problem in problems.values():
        raise DataError(problem)
    return crops


def try_boxes(frame: NDArray[np.uint8], boxes: ArrayLike) -> tuple[list[NDArray[np.uint8]], dict[int, str]]:
    """Like :func:`crop_boxes`, but a box that cannot be cut out is returned as a problem instead of raised.

    Returns:
        The crops of the good boxes in their order, and the problem of each other box by its number.

    Raises:
        DataError, ShapeError: as :func:`crop_boxes` where the frame or the whole table is wrong.

    Example:
        >>> crops, problems = try_boxes(np.zeros((90, 160, 3), np.uint8), [[10, 5, 30, 65], [200, 5, 220, 65]])
        >>> len(crops), list(problems)
        (1, [1])
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        what = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise DataError(f"Expected a frame as uint8 array [H, W, 3] in RGB order, got {what}.")
    crops, problems = [], {}
    for number, box in enumerate(_corners(boxes)):
        problem = _problem(frame, box)
        if problem:
            problems[number] = f"Box {number} {_told(box)} {problem}"
            continue
        left, top = (max(0, int(np.floor(value))) for value in box[:2])
        right, bottom = (int(np.ceil(value)) for value in box[2:])  # beyond the frame a slice ends by itself
        crops.append(frame[top:bottom, left:right].copy())
    return crops, problems


def check_corners(boxes: ArrayLike, width: int, height: int) -> None:
    """Check that the boxes of one frame are two corners each, in pixels. A mistake here concerns all boxes.

    Args:
        boxes: as in :func:`crop_boxes`. width, height: of the frame in pixels.

    Raises:
        DataError: most boxes are fractions of the frame, or they are x, y, width, height. ShapeError: as
            ``crop_boxes``.

    Example:
        >>> check_corners([[3, 1, 2, 4]], 9, 9)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        partreid.errors.DataError: The boxes look like x, y, width, height: (3, 1, 2, 4). Write x1, y1, x2, y2: boxes...
    """
    corners = _corners(boxes)
    if not len(corners) or not np.isfinite(corners).all():
        return
    if max(width, height) > 2 and are_fractions(corners).mean() > 0.5:
        raise DataError(
            f"The boxes lie within one pixel, as if their numbers were fractions of the frame: {_told(corners[0])}. "
            f"Write boxes * [{width}, {height}, {width}, {height}]."
        )
    corner, second = corners[:, :2], corners[:, 2:]
    inverted = (second < corner).any(axis=1)
    fits = (second > 0).all() and (corner >= 0).all() and (corner + second <= _BEYOND * np.array([width, height])).all()
    if inverted.any() and fits:
        raise DataError(
            f"The boxes look like x, y, width, height: {_told(corners[inverted.argmax()])}. Write x1, y1, x2, y2: "
            "boxes[:, 2:] += boxes[:, :2]."
        )


_BEYOND = 1.1  # widths or heights of the frame that boxes reach


def tell_unseen(problems: Mapping[int, str], others: int, *, raised: bool) -> None:
    """Warn about boxes that show nothing of the frame, or raise a DataError; do nothing if there are none.

    Args:
        problems: the problem of each such box by its number, from :func:`try_boxes`. others: number of the other boxes.
        raised: whether to raise.
    """
    if problems and raised:
        raise DataError(" ".join(problems.values()))
    if problems:
        told = f"{len(problems)} of {others + len(problems)} boxes show nothing of the frame, and get a row without"
        warn(f"{told} any visible slot. {' '.join(problems.values())}")


def with_unseen(seen: PartEmbeddings, unseen: Collection[int]) -> PartEmbeddings:
    """Embeddings of some boxes, with a row added for each other box: zeros that are visible in no slot.

    Args:
        seen: [N - U, S, D]. unseen: numbers of the U other boxes.

    Example:
        >>> with_unseen(PartEmbeddings(torch.ones(1, 1, 2)), [0]).visibility
        tensor([[0.],
                [1.]])
    """
    total = len(seen) + len(unseen)
    rows = [number for number in range(total) if number not in unseen]
    vectors = seen.vectors.new_zeros(total, *seen.shape[1:])
    visibility = seen.visibility.new_zeros(total, len(seen.slots))
    vectors[rows], visibility[rows] = seen.vectors, seen.visibility
    return replace(seen, vectors=vectors, visibility=visibility)


def _told(box: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value:g}' for value in box)})"


def _corners(boxes: Any) -> NDArray[np.float64]:
    """[N, 4] numbers; also of detections that keep them as ``xyxy``."""
    boxes = getattr(boxes, "xyxy", boxes)
    try:
        if np.ma.is_masked(boxes) or np.iscomplexobj(boxes):
            raise TypeError
        corners = np.asarray(boxes.detach().cpu() if isinstance(boxes, Tensor) else boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise ShapeError(
            f"Expected boxes [N, 4] of numbers: x1, y1, x2, y2 for each; got {type(boxes).__name__}."
        ) from None
    if corners.size == 0:
        return corners.reshape(0, 4)
    if corners.shape == (4,):
        raise ShapeError("Expected boxes [N, 4] = x1, y1, x2, y2 for each, got one box. Write [box].")
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ShapeError(f"Expected boxes [N, 4] = x1, y1, x2, y2 for each, got shape {corners.shape}.")
    return corners


def _problem(frame: NDArray[np.uint8], box: NDArray[np.float64]) -> str:
    """What is wrong with a box; "" where it can be cut out."""
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = box
    if not np.isfinite(box).all():
        return "is not finite. Expected x1, y1, x2, y2 in pixels."
    if are_fractions(box[None])[0] and max(height, width) > 2:
        return (
            "lies within one pixel, as if its numbers were fractions of the frame. Multiply x1 and x2 by the "
            f"width of {width} pixels, y1 and y2 by the height of {height}."
        )
    if x1 >= x2 or y1 >= y2:
        return "is empty or inverted. Expected x1 < x2 and y1 < y2; is it x, y, width, height?"
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return f"lies outside the frame of {width}×{height} pixels. Does it belong to this video?"
    return ""
