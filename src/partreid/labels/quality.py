"""A few rules over label maps that find bad labels among thousands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError
from partreid.labels.fields import read_part_maps
from partreid.labels.grouping import LABEL_THRESHOLD, label_map
from partreid.objects import Guided
from partreid.parts import KEYPOINTS, PartSchema


@dataclass(frozen=True)
class Reason:
    """A reason to look at a label: a title, and the rule in a sentence."""

    title: str
    rule: str


REASONS = {
    "missing": Reason("No label file", "Training ignores these images where it learns parts."),
    "damaged": Reason("Label file that cannot be read", "Training stops at such a file."),
    "empty": Reason("No person", "No node is labelled with a part: training learns that all is background."),
    "upside_down": Reason("Upside down", "The part with the nose lies below the parts with knees and ankles."),
    "full": Reason("Nearly all of the image", "The body covers more than 75 % of the image."),
    "torn": Reason(
        "In separate pieces",
        "Pieces that touch nowhere; one beside the largest holds a tenth of the body or more. Most of the body "
        "outside the largest piece comes first. An occluded person may rightly look so.",
    ),
    "few_parts": Reason(
        "Few parts", "Fewer than half of the parts, the fewest first. An occluded person may rightly look so."
    ),
    "small": Reason("Very little of the image", "The body covers less than 5 % of the image."),
}
"""Why a label is a bad case, the most severe first. A label counts under the first rule that holds for it."""

_PIECE = 0.1
"""A piece only counts if it is at least this fraction of the body; smaller ones are specks."""

_SMALL, _FULL = 0.05, 0.75
"""Fractions of the image. Of Market-1501's training crops one in 200 covers less than 6 %, none more than 68 %."""

_HEAD = {KEYPOINTS.index("nose")}
_LEGS = {KEYPOINTS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("knee", "ankle")}


@dataclass(frozen=True, repr=False)
class LabelRating(Guided):
    """The content of a label, and its fault.

    Attributes:
        size: (h, w) in nodes, or None if it cannot be read.
        parts: the parts in the label, in the schema's order.
        coverage: fraction of the nodes that are labelled with a part.
        reason: a key of :data:`REASONS`, or None for a label without fault.
        detail: the fault in words.
        badness: orders the labels of one reason, the larger the worse.
    """

    size: tuple[int, int] | None = None
    parts: tuple[str, ...] = ()
    coverage: float = 0.0
    reason: str | None = None
    detail: str = ""
    badness: float = 0.0


def rate_label_file(path: Path | None, schema: PartSchema, *, threshold: float = LABEL_THRESHOLD) -> LabelRating:
    """Rate a label file; None stands for an image without one.

    Args:
        path: pose fields or a ready label map. schema: the parts. threshold: λ_r of Eq. 10.
    """
    if path is None:
        return LabelRating(reason="missing", detail="no label file")
    try:
        part_maps = read_part_maps(path, schema)
    except LabelError as error:
        # The file's name stands elsewhere, so the narrow column begins with the fault.
        detail = str(error).removeprefix("Cannot read label file ").removeprefix(f"{path}: ")
        return LabelRating(reason="damaged", detail=detail)
    return rate_part_maps(part_maps, schema, threshold=threshold)


def rate_part_maps(
    part_maps: NDArray[np.floating], schema: PartSchema, *, threshold: float = LABEL_THRESHOLD
) -> LabelRating:
    """Rate a label by its label map Y; the first rule of :data:`REASONS` that holds gives the reason.

    The rules suggest labels to look at; they do not prove a fault. Nodes that touch at sides or corners belong to one
    piece.

    Args:
        part_maps: E [K, h, w]. schema: the K parts. threshold: λ_r of Eq. 10.
    """
    label = label_map(part_maps, threshold)
    present = set(np.unique(label).tolist())
    parts = tuple(part for i, part in enumerate(schema.parts, start=1) if i in present)
    reason, detail, badness = _fault(label, parts, schema) or (None, "", 0.0)
    if reason == "empty":
        detail += f", strongest value {part_maps.max():.2f}"
    height, width = label.shape
    return LabelRating((height, width), parts, float((label > 0).mean()), reason, detail, badness)


def worst_first(ratings: Sequence[LabelRating]) -> dict[str, list[int]]:
    """Positions of the bad labels by reason, the worst first; a tie keeps the order. Reasons without any are left out.

    Example:
        >>> worst_first([LabelRating(), LabelRating(reason="torn", badness=1), LabelRating(reason="torn", badness=3)])
        {'torn': [2, 1]}
    """
    found = {reason: [i for i, rating in enumerate(ratings) if rating.reason == reason] for reason in REASONS}
    return {reason: sorted(which, key=lambda i: -ratings[i].badness) for reason, which in found.items() if which}


def describe(rating: LabelRating, schema: PartSchema) -> str:
    """A rating in words: the fault, then the missing parts, or the present ones if they are few.

    Example:
        >>> from partreid.parts import get_part_schema
        >>> describe(LabelRating(size=(17, 9), parts=("upper_body",)), get_part_schema("two_v"))
        'no lower body'
    """
    if rating.size is None or rating.reason == "empty":
        return rating.detail
    missing = [part.replace("_", " ") for part in schema.parts if part not in rating.parts]
    words = ""
    if 2 * len(missing) > len(schema):
        words = "only " + ", ".join(part.replace("_", " ") for part in rating.parts)
    elif missing:
        words = "no " + ", ".join(missing)
    return " · ".join(filter(None, [rating.detail, words])) or "all parts"


def _fault(label: NDArray[np.uint8], parts: Sequence[str], schema: PartSchema) -> tuple[str, str, float] | None:
    body = label > 0
    coverage = float(body.mean())
    if not coverage:
        return "empty", "no person", 0.0
    head, legs = (_mean_row(label, schema, channels) for channels in (_HEAD, _LEGS))
    if head is not None and legs is not None and head > legs:
        return "upside_down", f"head at {head:.0%} of the height, legs at {legs:.0%}", head - legs
    if coverage > _FULL:
        return "full", f"covers {coverage:.0%} of the image", coverage
    pieces = sorted(_pieces(body), reverse=True)
    if len(pieces) > 1 and pieces[1] >= _PIECE * sum(pieces):
        apart = 1 - pieces[0] / sum(pieces)
        return "torn", f"{len(pieces)} pieces, {apart:.0%} apart", apart
    if 2 * len(parts) < len(schema):
        return "few_parts", f"{len(parts)} of {len(schema)} parts", len(schema) - len(parts) - coverage
    if coverage < _SMALL:
        return "small", f"covers {coverage:.1%} of the image", -coverage
    return None


def _mean_row(label: NDArray[np.uint8], schema: PartSchema, channels: set[int]) -> float | None:
    """Mean height, 0 = top and 1 = bottom, of the parts with one of these channels; None without a node."""
    parts = [i for i, group in enumerate(schema.groups, start=1) if channels.intersection(group)]
    rows = np.nonzero(np.isin(label, parts))[0]
    return float(rows.mean()) / max(1, label.shape[0] - 1) if rows.size else None


def _pieces(body: NDArray[np.bool_]) -> list[int]:
    """Sizes of the 8-connected pieces of a mask [h, w].

    The mask becomes one integer, a bit per node, in which shifts move all nodes at once: 10 µs a label.
    """
    padded = np.pad(body, ((0, 0), (0, 1)))  # an empty column, so that no bit is shifted into the next row
    line = padded.shape[1]
    left = int.from_bytes(np.packbits(padded).tobytes(), "big")
    sizes = []
    while left:
        piece, grown = 0, left & -left
        while grown != piece:
            piece = grown
            grown |= grown << 1 | grown >> 1
            grown = (grown | grown << line | grown >> line) & left
        sizes.append(piece.bit_count())
        left &= ~piece
    return sizes


def count_parts(
    paths: Sequence[Path], schema: PartSchema, *, sample: int
) -> tuple[NDArray[np.float64], list[tuple[int, ...]], list[str]]:
    """The share of labels that each part covers.

    Args:
        paths: of pose fields or label maps. schema: the K parts. sample: how many to read at most, evenly chosen.

    Returns:
        [N, 1 + K], the fractions of nodes that are background and that belong to each part, for each of the N readable
        labels; the sorted sizes (h, w) of labels; and the faults of unreadable labels.
    """
    maps, damaged = [], []
    for i in np.linspace(0, len(paths) - 1, min(sample, len(paths))).astype(int):
        try:
            maps.append(label_map(read_part_maps(paths[i], schema)))
        except LabelError as error:
            damaged.append(str(error))
    nodes = np.array([[(one == part).mean() for part in range(1 + len(schema))] for one in maps])
    return nodes, sorted({one.shape for one in maps}), damaged
