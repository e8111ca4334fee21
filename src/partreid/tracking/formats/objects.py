"""Rows of live results: supervision's Detections, ultralytics' Results, and objects with the same fields."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows


def rows_of(results: Iterable[object]) -> BoxRows:
    """The rows of results, of which the first is of frame 0.

    Raises:
        DataError: one has no boxes, or its fields do not fit together.
    """
    rows = BoxRows(Path("results"), "xyxy", word="box")
    if not isinstance(results, Iterable) or isinstance(results, str | bytes | Mapping) or hasattr(results, "xyxy"):
        raise DataError(f"Expected an iterable of results, one for each frame, got {type(results).__name__}.")
    for frame, result in enumerate(results):
        where = f"result {frame}"
        boxes = getattr(result, "boxes", result)
        if getattr(result, "obb", None) is not None or not hasattr(boxes, "xyxy"):
            raise DataError(
                f"{where}: expected upright boxes, as sv.Detections (xyxy, tracker_id) or ultralytics' Results "
                f"(boxes.xyxy, boxes.id) have them, got {type(result).__name__}."
            )
        corners = _array(boxes.xyxy, where)
        if corners.shape[1:] != (4,) and corners.size:
            raise DataError(f"{where}: expected boxes [N, 4], got shape {corners.shape}.")
        count = len(corners) if corners.size else 0
        if not np.isfinite(corners).all():
            raise DataError(f"{where}: a box is not finite.")
        tracks = _texts(_field(boxes, "tracker_id", "id"), count, where)
        confidences = _field(boxes, "confidence", "conf")
        scores = np.full(count, math.nan) if confidences is None else _array(confidences, where)
        kinds = _kinds(result, boxes, count, where)
        if scores.shape != (count,):
            raise DataError(f"{where}: expected {count} confidences, got shape {scores.shape}.")
        for number in range(count):
            rows.add(
                number, corners[number].tolist(), frame=frame, track=tracks[number], kind=kinds[number],
                confidence=float(scores[number]), file=where,
            )  # fmt: skip
    return rows


def _kinds(result: object, boxes: object, count: int, where: str) -> list[str]:
    """Classes by their names where these are known."""
    data = getattr(result, "data", None)
    if isinstance(data, Mapping) and "class_name" in data:
        return _texts(data["class_name"], count, where)
    names = getattr(result, "names", None)
    kinds = _texts(_field(boxes, "class_id", "cls"), count, where)
    if isinstance(names, Mapping):
        return [str(names.get(int(float(kind)), kind)) if kind else "" for kind in kinds]
    return kinds


def _field(boxes: object, *names: str) -> Any:
    return next((value for name in names if (value := getattr(boxes, name, None)) is not None), None)


def _texts(values: Any, count: int, where: str) -> list[str]:
    """As a table has them, whole numbers without a point; "" = not known."""
    if values is None:
        return [""] * count
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values).reshape(-1)
    if len(array) != count:
        raise DataError(f"{where}: expected {count} tracks or classes, one for each box, got {len(array)}.")
    return [_text(value) for value in array.tolist()]


def _text(value: object) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return "" if value is None else str(int(value) if whole else value)  # type: ignore[call-overload]


def _array(values: Any, where: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected numbers, got {type(values).__name__}: {error}.") from None
