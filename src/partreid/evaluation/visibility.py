"""Comparing visibility with labels: which parts a model sees, and the best threshold for visible parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, LabelError, ShapeError
from partreid.inference.extractor import PartExtractor
from partreid.labels.fields import read_part_maps
from partreid.labels.grouping import label_map
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.types import ReIDImage


@dataclass(frozen=True, repr=False)
class PartVisibility(Guided):
    """How well the visibility of a part predicts whether the part is present.

    Attributes:
        part: its name. present: fraction of the images whose label shows it.
        threshold: above it the part counts as visible; it has the highest balanced accuracy. None if the labels show
            the part in every image or in none, so that nothing can be learned.
        balanced_accuracy: mean of recall and of its counterpart for hidden parts, at the threshold.
        precision: fraction of the visible parts that are present. recall: fraction of the present parts that are
            visible.
    """

    part: str
    present: float
    threshold: float | None
    balanced_accuracy: float
    precision: float
    recall: float


def choose_threshold(part: str, visibility: NDArray[np.floating], present: NDArray[np.bool_]) -> PartVisibility:
    """The threshold of highest balanced accuracy for one part; among equally good thresholds, the lowest.

    Args:
        visibility: [N] continuous, in [0, 1]. present: [N] whether the label shows the part.

    Raises:
        ShapeError: the numbers of values differ, there are none, or one lies outside [0, 1].

    Example:
        >>> choose_threshold("head", np.array([0.9, 0.7, 0.5, 0.1]), np.array([True, True, False, False])).threshold
        0.6
    """
    if np.ma.is_masked(visibility) or np.ma.is_masked(present):
        raise ShapeError("Some visibilities or labels are masked. Leave those images out.")
    visibility, present = np.asarray(visibility), np.asarray(present)
    if visibility.ndim != 1 or visibility.shape != present.shape or not len(present):
        raise ShapeError(f"Expected [N] visibilities and labels, got {visibility.shape} and {present.shape}.")
    if present.dtype != np.bool_ or visibility.dtype.kind != "f" or not ((visibility >= 0) & (visibility <= 1)).all():
        raise ShapeError("Expected floating-point visibilities in [0, 1], and labels that are true or false.")
    fraction = float(present.mean())
    if not 0 < fraction < 1:
        return PartVisibility(part, fraction, None, float("nan"), fraction, float("nan"))
    values, place = np.unique(visibility.astype(np.float64), return_inverse=True)
    shown, hidden = (np.bincount(place[kind], minlength=len(values)) for kind in (present, ~present))
    # Behind each value: those at most as large are called hidden.
    recall = 1 - shown.cumsum() / shown.sum()
    accuracy = (recall + hidden.cumsum() / hidden.sum()) / 2
    best = int(accuracy.argmax())
    visible = (shown.sum() - shown.cumsum() + hidden.sum() - hidden.cumsum())[best]
    between = float(values[best] + values[min(best + 1, len(values) - 1)]) / 2
    return PartVisibility(
        part=part,
        present=fraction,
        threshold=round(min(between, 0.999), 6),
        balanced_accuracy=float(accuracy[best]),
        precision=float(recall[best] * shown.sum() / visible) if visible else float("nan"),
        recall=float(recall[best]),
    )


def part_visibility(
    extractor: PartExtractor, images: Sequence[ReIDImage], *, advance: Advance = lambda count: None
) -> tuple[PartVisibility, ...]:
    """Each part's visibility against labels, over images that have one.

    Args:
        extractor: a model with continuous visibility (override "visibility=continuous").
        images: training images, because the threshold must not be chosen on the images of the test.
        advance: told how many images were done, after each batch.

    Raises:
        ConfigError: the model has no parts that may be hidden, or its visibility is not continuous.
        LabelError: no image has a label.
    """
    config = extractor.model.config
    if config.visibility != "continuous" or config.attention in ("stripes", "none"):
        raise ConfigError(
            f"Thresholds are chosen on continuous visibilities of parts; this model has visibility = "
            f"{config.visibility}, attention = {config.attention}. Load it with the override visibility=continuous."
        )
    labelled = [image for image in images if image.label is not None]
    if not labelled:
        raise LabelError(f"None of the {len(images)} training images has a label. Make them: `partreid labels make`.")
    schema, left = config.part_schema, iter(labelled)
    values, present = [], []
    for output in extractor.outputs(labelled):
        values.append(output.visibility.numpy())
        for image in itertools.islice(left, len(output.visibility)):
            assert image.label is not None
            label = label_map(read_part_maps(image.label, schema))
            present.append(np.isin(np.arange(1, len(schema) + 1), label))
        advance(len(output.visibility))
    seen, there = np.concatenate(values), np.stack(present)
    return tuple(choose_threshold(part, seen[:, k], there[:, k]) for k, part in enumerate(schema.parts))
