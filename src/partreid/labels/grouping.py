"""From pose fields to part maps E and label maps Y (Eq. 10). No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError
from partreid.lazy import is_tensor, torch
from partreid.parts import NUM_POSE_FIELDS, PartSchema

if TYPE_CHECKING:
    from torch import Tensor

LABEL_THRESHOLD = 0.5
"""λ_r of Eq. 10: a node is background if no part reaches this value."""


def group_fields(fields: NDArray[np.generic], schema: PartSchema) -> NDArray[np.generic]:
    """Part maps E: for each part the maximum over its channels.

    Args:
        fields: [36, h, w] or [N, 36, h, w].
        schema: the K parts.

    Returns:
        [K, h, w] or [N, K, h, w], of the same dtype.

    Raises:
        LabelError: ``fields`` has another shape, or the schema groups no channels.
    """
    if not all(schema.groups):
        raise LabelError(
            f"Part schema {schema.name!r} has parts without pose-field channels, so no labels can be made for it. "
            "Choose a schema by name, for example model.parts=five."
        )
    if fields.ndim not in (3, 4) or fields.shape[-3] != NUM_POSE_FIELDS:
        raise LabelError(
            f"Pose fields must be [{NUM_POSE_FIELDS}, h, w] or [N, {NUM_POSE_FIELDS}, h, w], got shape {fields.shape}."
        )
    members = [channel for group in schema.groups for channel in group]
    starts = np.cumsum([0, *(len(group) for group in schema.groups[:-1])])
    return np.maximum.reduceat(fields.take(members, axis=-3), starts, axis=-3)


@overload
def label_map(part_maps: Tensor, threshold: float = LABEL_THRESHOLD) -> Tensor:
    """Of a tensor a tensor."""


@overload
def label_map(part_maps: NDArray[np.generic], threshold: float = LABEL_THRESHOLD) -> NDArray[np.uint8]:
    """Of an array an array."""


def label_map(
    part_maps: NDArray[np.generic] | Tensor, threshold: float = LABEL_THRESHOLD
) -> NDArray[np.uint8] | Tensor:
    """Label map Y (Eq. 10): 0 = background if no part reaches ``threshold``, else 1 + the strongest part.

    Args:
        part_maps: E, [K, h, w] or [N, K, h, w], an array or a tensor; a tie goes to the part that comes first.
        threshold: λ_r, in the unit of the maps. A node where all parts are 0 is background for any threshold.

    Returns:
        [h, w] or [N, h, w], values 0..K: uint8 of an array, int64 on the same device of a tensor.

    Raises:
        LabelError: ``part_maps`` has another shape, or more than 255 parts.
    """
    check_part_maps(part_maps)
    if not is_tensor(part_maps):
        maps = torch.from_numpy(np.require(part_maps, requirements=["C", "W"]))
        return label_map(maps, threshold).numpy().astype(np.uint8)
    strongest, part = part_maps.max(dim=-3)
    return torch.where((strongest < threshold) | (strongest == 0), 0, part + 1)


def one_hot(label: NDArray[np.integer], num_parts: int) -> NDArray[np.float32]:
    """Part maps E of a label map: 1 at the nodes of a part, else 0.

    Args:
        label: [h, w], values 0..K. num_parts: K.

    Returns:
        float32 [K, h, w].
    """
    same: NDArray[np.bool_] = label[None] == np.arange(1, num_parts + 1)[:, None, None]
    return same.astype(np.float32)


def check_part_maps(part_maps: NDArray[np.generic] | Tensor) -> None:
    """Raise LabelError unless ``part_maps`` is [K, h, w] or [N, K, h, w] with 1 to 255 parts."""
    if part_maps.ndim not in (3, 4) or not 1 <= part_maps.shape[-3] <= 255:
        raise LabelError(
            f"Part maps must be [K, h, w] or [N, K, h, w] with K from 1 to 255, got shape {tuple(part_maps.shape)}."
        )
