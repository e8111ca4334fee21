"""One colour per part name, the same in every figure.

The colours come from the palettes of Okabe & Ito (2008) and Tol (2021), which people with the common colour-vision
deficiencies can tell apart. Right and wrong also have different signs, never only different colours.
"""

from __future__ import annotations

from collections.abc import Sequence

from partreid.errors import ShapeError
from partreid.parts import FOREGROUND

Color = tuple[float, float, float]
"""Red, green, blue in [0, 1]."""


def _hex(text: str) -> Color:
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


RIGHT, WRONG, JUNK, INK, BAR, FAINT = (_hex(c) for c in ("1B8A3A", "D1342F", "9AA0A6", "202124", "5B6775", "E8EAED"))
"""Colours of a right and a wrong match, of junk, of text, of a bar, and of missing things."""

_ORANGE, _YELLOW, _BLUE, _SKY, _GREEN = (_hex(c) for c in ("E69F00", "F0E442", "0072B2", "56B4E9", "009E73"))
SAME, DIFFERENT = _BLUE, _hex("D55E00")
"""Colours of pairs of one person and of two."""
_VERMILLION, _PINK, _WINE, _INDIGO, _OLIVE, _TEAL, _GREY = (
    _hex(c) for c in ("D55E00", "CC79A7", "882255", "332288", "999933", "44AA99", "8C8C8C")
)

_BY_NAME: dict[str, Color] = {
    FOREGROUND: _GREY,
    "head": _ORANGE,
    "torso": _BLUE, "upper_torso": _BLUE, "lower_torso": _INDIGO,
    "upper_body": _BLUE, "middle_body": _BLUE, "lower_body": _PINK,
    "upper_arms_torso": _SKY, "lower_arms_torso": _BLUE,
    "arms": _SKY, "left_arm": _SKY, "right_arm": _OLIVE,
    "left_upper_arm": _SKY, "left_lower_arm": _TEAL, "right_upper_arm": _OLIVE, "right_lower_arm": _GREEN,
    "legs": _PINK, "left_leg": _PINK, "right_leg": _WINE,
    "feet": _VERMILLION, "left_foot": _VERMILLION, "right_foot": _YELLOW,
}  # fmt: skip
_SPARE = (_BLUE, _ORANGE, _GREEN, _PINK, _VERMILLION, _SKY, _WINE, _YELLOW, _INDIGO, _OLIVE, _TEAL)


def part_colors(slots: Sequence[str]) -> dict[str, Color]:
    """A colour for each slot name. Known parts have their own colours; others get one of the remaining colours.

    Example:
        >>> colors = part_colors(["foreground", "head", "tail"])
        >>> len(set(colors.values()))
        3
    """
    colors = {slot: _BY_NAME[slot] for slot in slots if slot in _BY_NAME}
    free = [color for color in _SPARE if color not in colors.values()] or list(_SPARE)
    for slot in slots:
        if slot not in colors:
            colors[slot] = free[0]
            free = free[1:] or list(_SPARE)
    return {slot: colors[slot] for slot in slots}


def check_slots(*several: Sequence[str]) -> None:
    """Raise a ShapeError if there is no slot, or one is named twice."""
    for slots in several:
        if not slots or len(set(slots)) < len(slots):
            raise ShapeError(f"Expected the names of one slot or more, each once, got {tuple(slots)!r:.200}.")


def readable(slot: str) -> str:
    """A slot's name for people: ``left_arm`` → ``left arm``."""
    return slot.replace("_", " ")


def css(color: Color) -> str:
    """A colour as CSS writes it.

    Example:
        >>> css((1.0, 0.5, 0.0))
        'rgb(255,128,0)'
    """
    return f"rgb({','.join(str(round(255 * value)) for value in color)})"
