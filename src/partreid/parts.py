"""Body parts: pose-field names, part schemas (groupings of pose fields), and flips derived from the names.

A pose field array has 36 channels: 17 COCO keypoints, then 19 limbs between them (paper, supplementary
materials; OpenPifPaf's order). A :class:`PartSchema` groups the channels into K body parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

from partreid.errors import ConfigError, nearest
from partreid.objects import Guided, guided

FOREGROUND = "foreground"
"""Name of the slot that holds the foreground embedding; it stands before the parts in every ``PartEmbeddings``."""

GLOBAL = "global"
"""Name of the slot that holds the embedding of the whole image: the only one of a model without parts, and the first of
a model that keeps its backbone's own embedding."""

HOLISTIC = (GLOBAL, FOREGROUND)
"""Names of slots that are no parts."""

KEYPOINTS: tuple[str, ...] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""The 17 COCO keypoints, channels 0-16 of a pose field array."""

LIMBS: tuple[tuple[str, str], ...] = (
    ("left_ankle", "left_knee"), ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"), ("right_knee", "right_hip"),
    ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist"), ("left_eye", "right_eye"),
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
    ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder"),
)  # fmt: skip
"""The 19 limbs, channels 17-35 of a pose field array, as pairs of keypoint names."""

NUM_POSE_FIELDS = len(KEYPOINTS) + len(LIMBS)
"""36: channels of a pose field array."""


def mirrored(name: str) -> str:
    """``name`` with left and right exchanged; a name without a side is its own mirror."""
    for side, other in (("left", "right"), ("right", "left")):
        if name.startswith(side):
            return other + name[len(side) :]
    return name


def flip_order(names: Sequence[str]) -> tuple[int, ...]:
    """Positions of the mirrored names: ``vectors[:, list(flip_order(slots))]`` swaps left and right.

    A name whose mirror is not among them, and one without a side, keeps its place.

    Example:
        >>> flip_order(("foreground", "left_arm", "right_arm"))
        (0, 2, 1)
    """
    return tuple(names.index(mirrored(n)) if mirrored(n) in names else i for i, n in enumerate(names))


def pose_field_flip() -> tuple[int, ...]:
    """The channel order that goes with a horizontal flip: ``fields[list(pose_field_flip()), :, ::-1]``."""
    keypoints = [KEYPOINTS.index(mirrored(name)) for name in KEYPOINTS]
    pairs = [frozenset(limb) for limb in LIMBS]
    limbs = [pairs.index(frozenset(mirrored(end) for end in limb)) for limb in LIMBS]
    return tuple(keypoints + [len(KEYPOINTS) + i for i in limbs])


@dataclass(frozen=True, repr=False)
class PartSchema(Guided):
    """K named body parts, each a group of pose-field channels (SPEC of the label format; paper, Table 5).

    Attributes:
        name: name of the grouping.
        parts: part names in label order; part ``i`` (0-based) is class ``i + 1`` of a label map.
        groups: for each part the pose-field channels whose maximum is its map in the tensor E.
    """

    name: str
    parts: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.groups):
            raise ConfigError(
                f"Part schema {self.name!r} needs one channel group per part, at least one part; "
                f"got {len(self.parts)} parts and {len(self.groups)} groups."
            )
        names = not isinstance(self.parts, str) and all(isinstance(part, str) and part for part in self.parts)
        if not names or len(set(self.parts)) != len(self.parts) or set(HOLISTIC) & set(self.parts):
            raise ConfigError(
                f"Part names of schema {self.name!r} must be unique texts, neither {FOREGROUND!r} nor {GLOBAL!r}."
            )
        for part, group in zip(self.parts, self.groups, strict=True):
            if any(isinstance(c, bool) or not isinstance(c, Integral) or not 0 <= c < NUM_POSE_FIELDS for c in group):
                raise ConfigError(
                    f"Part {part!r} of schema {self.name!r}: channels must lie in "
                    f"0..{NUM_POSE_FIELDS - 1}, got {group}."
                )

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the compared slots: the foreground, then the parts (Eq. 9)."""
        return (FOREGROUND, *self.parts)

    @cached_property
    def flip(self) -> tuple[int, ...]:
        """Part order after a horizontal flip: ``vectors[:, list(flip)]`` swaps left and right parts."""
        return flip_order(self.parts)


_HEAD = (0, 1, 2, 3, 4, 29, 30, 31, 32, 33, 34, 35)
_ARMS = (5, 6, 7, 8, 9, 10, 25, 26, 27, 28)
_TORSO = (11, 12, 21, 22, 23, 24)
_LEFT_ARM, _RIGHT_ARM = (5, 7, 9, 25, 27), (6, 8, 10, 26, 28)
_LOWER_BODY = (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)


def _schema(name: str, **groups: Sequence[int]) -> PartSchema:
    return PartSchema(name, tuple(groups), tuple(tuple(g) for g in groups.values()))


PART_SCHEMAS: dict[str, PartSchema] = {
    schema.name: schema
    for schema in (
        _schema("two_v", upper_body=(*range(11), *range(22, 36)), lower_body=_LOWER_BODY),
        _schema("three_v", head=_HEAD, middle_body=(*range(5, 11), 22, 23, 24, 25, 26, 27, 28), lower_body=_LOWER_BODY),
        _schema("four", head=_HEAD, arms=_ARMS, torso=(5, 6, 11, 12, 21, 22, 23, 24), lower_body=_LOWER_BODY),
        _schema("five", head=_HEAD, arms=_ARMS, torso=_TORSO, legs=(11, 12, 13, 14, 17, 18, 19, 20, 21), feet=(15, 16)),
        _schema(
            "five_v",
            head=_HEAD,
            upper_arms_torso=(5, 6, 7, 8, 24, 25, 26),
            lower_arms_torso=(9, 10, 11, 12, 23, 27, 28),
            legs=(11, 12, 13, 14, 17, 18, 19, 20),
            feet=(15, 16),
        ),
        _schema(
            "six_new",
            head=_HEAD,
            torso=_TORSO,
            left_arm=_LEFT_ARM,
            right_arm=_RIGHT_ARM,
            legs=(13, 14, 17, 18, 19, 20, 21),
            feet=(15, 16),
        ),
        _schema(
            "eight",
            head=_HEAD,
            left_arm=_LEFT_ARM,
            right_arm=_RIGHT_ARM,
            torso=_TORSO,
            left_leg=(13, 17, 18, 21),
            right_leg=(14, 19, 20),
            left_foot=(15,),
            right_foot=(16,),
        ),
        _schema(
            "eleven",
            head=_HEAD,
            left_upper_arm=(5, 7, 25),
            left_lower_arm=(9, 27),
            right_upper_arm=(6, 8, 26),
            right_lower_arm=(10, 28),
            upper_torso=(22, 23, 24),
            lower_torso=(11, 12, 21),
            left_leg=(13, 18, 21),
            right_leg=(14, 20),
            left_foot=(15, 17),
            right_foot=(16, 19),
        ),
    )
}
"""The groupings of the paper's Table 5 by their published names."""


MOST_PARTS = 255
"""Of a schema: label maps are stored as bytes, background included."""

_UNNAMED, _UNNAMED_PART = "unnamed_", "part_"


def unnamed_schema(num_parts: int) -> PartSchema:
    """K parts of which nothing but their number is known: ``unnamed_<K>`` with parts ``part_1`` .. ``part_K``.

    Raises:
        ConfigError: K is no whole number in 1..:data:`MOST_PARTS`.
    """
    whole = isinstance(num_parts, Integral) and not isinstance(num_parts, bool)
    if not whole or not 1 <= num_parts <= MOST_PARTS:
        raise ConfigError(f"A model has 1 to {MOST_PARTS} parts, got {num_parts!r:.80}.")
    parts = tuple(f"{_UNNAMED_PART}{k}" for k in range(1, num_parts + 1))
    return PartSchema(f"{_UNNAMED}{num_parts}", parts, ((),) * num_parts)


def has_unnamed(slots: Sequence[str]) -> bool:
    """Whether some of these are parts of :func:`unnamed_schema`, of which nobody knows the side."""
    return any(slot.startswith(_UNNAMED_PART) for slot in slots)


@guided
def get_part_schema(name: str) -> PartSchema:
    """The schema of that name.

    Raises:
        ConfigError: there is none; the message names the nearest one.
    """
    if name in PART_SCHEMAS:
        return PART_SCHEMAS[name]
    digits = name.removeprefix(_UNNAMED)
    if name.startswith(_UNNAMED) and digits.isdecimal() and len(digits) < 20:
        return unnamed_schema(int(digits))
    raise ConfigError(f"Unknown part schema {name!r}. {nearest(name, PART_SCHEMAS)}")
