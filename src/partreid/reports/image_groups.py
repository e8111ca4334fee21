"""Groups of query images for the dossier: by occlusion, parts, view, light, resolution, skin and body."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from partreid.datasets.synthetic.facts import INDEX
from partreid.errors import DataError
from partreid.evaluation.groups import FEWEST_PERSONS, Estimate, GroupScore, score_groups
from partreid.objects import Guided
from partreid.types import ReIDImage

Row = Mapping[str, str]
"""An image's row in the table of a rendered set; empty for other sets."""

NOT_RECORDED = "Not recorded in this set."
_PARTS = {
    "head": ("head",), "torso": ("torso",), "arms": ("left_arm", "right_arm"), "legs": ("left_leg", "right_leg"),
    "feet": ("left_foot", "right_foot"),
}  # fmt: skip
_MOST = 40
"""Most groups in one table, because nobody reads a table of more cameras."""


@dataclass(frozen=True)
class Attribute:
    """An attribute by which images are grouped.

    Attributes:
        title: of its table. about: whether it describes people, not the image. meaning: a sentence.
        value: function of an image: a number, a word, or None = unknown.
        borders, names: for numbers, the borders between groups and the groups' names, ascending; empty for words.
    """

    title: str
    value: Callable[[ReIDImage, Row], float | str | None]
    meaning: str = ""
    borders: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class GroupTable(Guided):
    """The scores of the groups of one attribute.

    Attributes:
        title: of the attribute. meaning: in a sentence. rows: one per group; empty if there is nothing to compare.
        unknown: number of queries whose group is unknown.
    """

    title: str
    meaning: str
    rows: Sequence[GroupScore]
    unknown: int = 0

    def cells(self) -> list[tuple[str, ...]]:
        """Rows of a table: the group, its size, rank-1, mAP, and the difference to the mAP of all other queries."""
        return [
            (row.name, f"{row.queries:,}", f"{row.persons:,}", *(
                _figure(row.scores[metric]) if row.scores else "too few" for metric in ("rank1", "mAP")
            ), compared(row.differences.get("mAP")))
            for row in self.rows
        ]  # fmt: skip

    @property
    def worse(self) -> list[str]:
        """In words, the groups whose queries score worse than all others."""
        return [
            f"{self.title}, {row.name}: mAP {compared(row.differences['mAP'])}"
            for row in self.rows
            if row.differences and row.differences["mAP"].interval.high < 0
        ]


def group_tables(
    images: Sequence[ReIDImage], rows: Sequence[Row], values: Mapping[str, np.ndarray], persons: np.ndarray
) -> list[GroupTable]:
    """A table for each attribute.

    Args:
        images: [N] queries. rows: their rows in the set's table. values, persons: as in :func:`score_groups`.
    """
    tables = []
    for attribute in _attributes(rendered=any(rows)):
        found = [attribute.value(image, row) for image, row in zip(images, rows, strict=True)]
        names = attribute.names or tuple(sorted({str(one) for one in found if one is not None}, key=_naturally))
        places = np.array([_place(attribute, names, one) for one in found], np.int64)
        present = np.unique(places[places >= 0])
        if not len(present) or len(present) > _MOST:
            meaning = NOT_RECORDED if not len(present) else f"{len(present)} groups are too many for a table."
            tables.append(GroupTable(attribute.title, meaning, ()))
            continue
        order = np.full(len(names) + 1, -1)
        order[present] = np.arange(len(present))
        scored = score_groups(values, persons, order[places], [names[i] for i in present])
        tables.append(GroupTable(attribute.title, attribute.meaning, scored, int((places < 0).sum())))
    return tables


def compared(difference: Estimate | None) -> str:
    """A group's difference to all other queries in words: in points, with its interval."""
    if difference is None:
        return "–"
    low, high = (100 * end for end in difference.interval)
    if low <= 0 <= high:
        return f"cannot tell apart [{low:+.1f}, {high:+.1f}]"
    if high < 0:
        return f"lower by {-100 * difference.value:.1f} [{-high:.1f}, {-low:.1f}]"
    return f"higher by {100 * difference.value:.1f} [{low:.1f}, {high:.1f}]"


READING = (
    "Rank-1 and mAP in %, in brackets the 95 % bootstrap interval over persons. The last column compares a group's mAP "
    "with that of all other queries of the table, in points; the intervals of a table hold together with 95 %. Cannot "
    "tell apart = the interval holds 0: there may be a difference as large as its ends. Groups of fewer than "
    f"{FEWEST_PERSONS} persons have too few for a figure. A difference says that queries of a group fare otherwise, "
    "not why."
)
"""How to read the tables."""


def _figure(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{100 * estimate.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _naturally(name: str) -> tuple[float, str]:
    return (float(name), "") if name.isdecimal() else (math.inf, name)


def _place(attribute: Attribute, names: Sequence[str], value: float | str | None) -> int:
    """The position of an image's group among the names; -1 = unknown."""
    if value is None:
        return -1
    return int(np.searchsorted(attribute.borders, value, side="right")) if attribute.names else names.index(str(value))


def _number(column: str) -> Callable[[ReIDImage, Row], float | None]:
    """A function that reads a number of an image from the set's table."""

    def value(image: ReIDImage, row: Row) -> float | None:
        text = row.get(column, "")
        try:
            number = float(text) if text else None
        except ValueError:
            number = math.nan
        if number is not None and not math.isfinite(number):
            raise DataError(f"{INDEX}: {column} of {image.path.name}: expected a number, got {text!r:.80}.")
        return number

    return value


def _word(column: str) -> Callable[[ReIDImage, Row], str | None]:
    return lambda image, row: row.get(column) or None


def _occlusion(image: ReIDImage, row: Row) -> float | None:
    return image.occlusion


def _seen(regions: Sequence[str]) -> Callable[[ReIDImage, Row], float | None]:
    """The mean visible fraction of regions. A region that the body itself hides is left out."""
    readers = [_number(f"visible_{region}") for region in regions]

    def value(image: ReIDImage, row: Row) -> float | None:
        found = [one for one in (read(image, row) for read in readers) if one is not None]
        return sum(found) / len(found) if found else None

    return value


def _file_height(image: ReIDImage, row: Row) -> float:
    try:
        with Image.open(image.path) as opened:
            return float(opened.height)
    except OSError as error:
        raise DataError(f"{image.path} cannot be read: {error}.") from None


def _camera(image: ReIDImage, row: Row) -> str | None:
    return image.camera_name or None


def _steps(unit: str, *borders: float) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Borders, and the names of the groups between them."""
    between = [f"{low:g} to {high:g}{unit}" for low, high in pairwise(borders)]
    return borders, (f"under {borders[0]:g}{unit}", *between, f"{borders[-1]:g}{unit} and more")


def _attributes(*, rendered: bool) -> list[Attribute]:
    """All attributes by which images are grouped. A rendered image was taken with fewer rows than its file has."""
    parts = [
        Attribute(
            f"Part: {part}",
            _seen(regions),
            f"Whether the {part} can be seen, exactly, as it was rendered.",
            (0.5,),
            ("hidden by half or more", "seen"),
        )
        for part, regions in _PARTS.items()
    ]
    return [
        Attribute(
            "Occlusion",
            _occlusion,
            "The hidden fraction of the person's silhouette.",
            (0.1, 0.3, 0.5, 0.7),
            ("whole", "10 to 30 % hidden", "30 to 50 % hidden", "50 to 70 % hidden", "70 % hidden and more"),
        ),
        *parts,
        Attribute(
            "View",
            _number("view"),
            "Where the person faces, from the camera.",
            (45.0, 135.0),
            ("front", "side", "back"),
        ),
        Attribute("Pose", _word("pose"), "What the person does."),
        Attribute(
            "Resolution",
            _number("rows") if rendered else _file_height,
            "Pixel rows at which the person's box was taken." if rendered else "Pixel rows of the file.",
            *_steps(" rows", 64, 96, 128),
        ),
        Attribute("Light", _word("light"), "Sun with sharp shadows, lamps from one side, or diffuse light."),
        Attribute("Exposure", _number("exposure"), "Of the camera; 1 is neutral.", *_steps("", 0.65, 0.8)),
        Attribute("Camera", _camera, "By the number that the set gives it."),
        Attribute(
            "Skin",
            _number("skin"),
            "Classes of the individual typology angle (Chardin 1991).",
            (-30.0, 10.0, 41.0),
            ("dark (under -30°)", "brown (-30 to 10°)", "tan to intermediate (10 to 41°)", "light (41° and more)"),
        ),
        Attribute("Body: gender", _number("gender"), "Of the parametric body.", (0.5,), ("male", "female")),
        Attribute(
            "Body: weight",
            _number("weight"),
            "Of the parametric body, from 0 to 1.",
            (0.4, 0.6),
            ("slim (under 0.4)", "medium", "heavy (0.6 and more)"),
        ),
        Attribute(
            "Body: age",
            _number("age"),
            "Of the parametric body; 0.67 is a young adult.",
            (0.67, 0.76),
            ("younger (under 0.67)", "middle", "older (0.76 and more)"),
        ),
        Attribute("Body: stature", _number("stature"), "", *_steps(" m", 1.65, 1.75)),
    ]
