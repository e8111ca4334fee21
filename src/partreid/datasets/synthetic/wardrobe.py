"""Who there is and what they wear. Wardrobes are small and shared: no single part tells two persons apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from partreid.datasets.synthetic.textures import Cloth

Colour = tuple[float, float, float]
T = TypeVar("T")

COLOURS: dict[str, Colour] = {
    "black": (0.07, 0.07, 0.08), "charcoal": (0.20, 0.20, 0.22), "grey": (0.48, 0.48, 0.50),
    "silver": (0.72, 0.72, 0.72), "white": (0.92, 0.92, 0.90), "navy": (0.09, 0.11, 0.28),
    "denim": (0.22, 0.32, 0.52), "sky": (0.52, 0.70, 0.90), "royal": (0.10, 0.22, 0.72),
    "red": (0.75, 0.09, 0.10), "burgundy": (0.38, 0.05, 0.12), "pink": (0.92, 0.58, 0.68),
    "orange": (0.92, 0.45, 0.10), "yellow": (0.93, 0.80, 0.20), "olive": (0.36, 0.38, 0.18),
    "green": (0.12, 0.48, 0.22), "forest": (0.08, 0.22, 0.14), "teal": (0.08, 0.48, 0.52),
    "brown": (0.34, 0.20, 0.11), "beige": (0.78, 0.68, 0.52), "khaki": (0.58, 0.50, 0.36),
    "purple": (0.40, 0.16, 0.50),
}  # fmt: skip
SKINS: tuple[Colour, ...] = (
    (0.90, 0.72, 0.62), (0.85, 0.64, 0.50), (0.78, 0.57, 0.43), (0.64, 0.44, 0.31), (0.47, 0.31, 0.22),
    (0.33, 0.21, 0.15),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (0.05, 0.04, 0.04), (0.10, 0.07, 0.05), (0.22, 0.13, 0.07), (0.38, 0.23, 0.12), (0.70, 0.54, 0.32),
    (0.45, 0.18, 0.08), (0.60, 0.60, 0.60),
)  # fmt: skip


@dataclass(frozen=True)
class Top:
    """Worn on the trunk under everything else.

    Attributes:
        sleeve: where it ends on the arm, 0 shoulder .. 1 wrist. hem: height of its lower edge over the hip in
        metres on the template body. neck: how deep it is cut in front. skirt: for a dress, where the skirt ends on
        the leg (0 hip .. 1 ankle), else 0.
    """

    cloth: Cloth
    sleeve: float
    hem: float = 0.0
    neck: float = 0.03
    thickness: float = 0.012
    skirt: float = 0.0


@dataclass(frozen=True)
class Outer:
    """A jacket, hoodie, waistcoat or coat over the top; ``opening`` is half the gap in front in metres."""

    cloth: Cloth
    sleeve: float
    hem: float
    opening: float
    thickness: float
    hood: bool = False
    coat: float = 0.0


@dataclass(frozen=True)
class Bottom:
    """Trousers (``end`` on the leg, 1 = ankle) or, with ``skirt``, a skirt."""

    cloth: Cloth
    end: float
    thickness: float = 0.014
    flare: float = 0.0
    skirt: bool = False


@dataclass(frozen=True)
class Shoes:
    """``shaft``: where they begin on the leg; boots begin higher."""

    colour: Colour
    sole: Colour
    sock: Colour
    shaft: float = 0.99


@dataclass(frozen=True)
class Hair:
    """``style`` is one of :data:`HAIR_STYLES`; ``hat`` the colour of a cap or beanie."""

    style: str
    colour: Colour
    hat: Colour = (0.1, 0.1, 0.1)


@dataclass(frozen=True)
class Bag:
    """``kind``: none, backpack, shoulder or hand."""

    kind: str
    colour: Colour = (0.1, 0.1, 0.1)


HAIR_STYLES = ("bald", "buzz", "short", "bob", "long", "ponytail", "bun", "cap", "beanie")


@dataclass(frozen=True)
class Outfit:
    """Everything worn; the same in all images of an identity."""

    top: Top
    outer: Outer | None
    bottom: Bottom
    shoes: Shoes
    hair: Hair
    bag: Bag


@dataclass(frozen=True)
class Person:
    """A body in an outfit. ``shape``: anny's phenotype values; ``stature`` in metres."""

    shape: tuple[tuple[str, float], ...]
    stature: float
    skin: Colour
    outfit: Outfit


Wardrobe = tuple[Sequence[Any], ...]
"""What identities choose from, for each field of :class:`Outfit`."""


def make_wardrobe(rng: np.random.Generator, people: int) -> Wardrobe:
    """A wardrobe for so many people; each top is worn by about four of them, each bottom by about six."""
    tops, bottoms = max(6, min(60, people // 4)), max(5, min(40, people // 6))
    return (
        [_top(rng) for _ in range(tops)],
        [None] * max(6, tops // 2) + [_outer(rng) for _ in range(max(4, tops // 3))],
        [_bottom(rng) for _ in range(bottoms)],
        [_shoes(rng) for _ in range(9)],
        [_hair(rng, i) for i in range(14)],
        [Bag("none")] * 7 + [Bag(kind, _colour(rng)) for kind in ("backpack", "shoulder", "hand") for _ in range(3)],
    )


def make_people(rng: np.random.Generator, wardrobe: Wardrobe, count: int) -> list[Person]:
    """People of whom no two wear the same outfit."""
    people: list[Person] = []
    seen: set[Outfit] = set()
    while len(people) < count:
        outfit = Outfit(*(_pick(rng, garments) for garments in wardrobe))
        if outfit not in seen:
            seen.add(outfit)
            people.append(_person(rng, outfit))
    return people


def _person(rng: np.random.Generator, outfit: Outfit) -> Person:
    feminine = outfit.top.skirt > 0 or outfit.bottom.skirt or outfit.hair.style in ("long", "ponytail", "bun", "bob")
    gender = float(np.clip(rng.normal(0.85 if feminine else 0.2, 0.15), 0, 1))
    shape = {
        "gender": gender,
        "age": rng.uniform(0.55, 0.85),
        "muscle": rng.uniform(0.35, 0.7),
        "weight": float(np.clip(rng.normal(0.5, 0.16), 0.15, 0.9)),
        "height": rng.uniform(0.35, 0.65),
        "proportions": rng.uniform(0.3, 0.9),
    }
    stature = float(np.clip(rng.normal(1.77 - 0.13 * gender, 0.065), 1.48, 1.98))
    rounded = tuple((name, round(float(value), 4)) for name, value in shape.items())
    return Person(rounded, stature, _pick(rng, SKINS), outfit)


def _cloth(rng: np.random.Generator, patterns: Sequence[str]) -> Cloth:
    colour = _colour(rng)
    second = _colour(rng)
    while sum(abs(a - b) for a, b in zip(colour, second, strict=True)) < 0.5:
        second = _colour(rng)
    return Cloth(colour, second, str(rng.choice(list(patterns))), float(rng.uniform(0.06, 0.14)))


def _top(rng: np.random.Generator) -> Top:
    cloth = _cloth(
        rng, ("plain", "plain", "plain", "stripes", "checks", "block", "logo", "logo", "gradient", "camouflage", "dots")
    )
    kind = rng.choice(["t-shirt", "long", "sleeveless", "shirt", "dress"], p=[0.38, 0.22, 0.08, 0.18, 0.14])
    neck = float(rng.uniform(0.01, 0.09))
    if kind == "dress":
        return Top(cloth, float(rng.choice([0.0, 0.25, 1.0])), -0.1, neck, 0.012, float(rng.uniform(0.35, 0.75)))
    short, rolled = rng.uniform(0.22, 0.42), rng.choice([0.35, 0.6, 1.0])
    sleeve = {"t-shirt": short, "long": 1.0, "sleeveless": 0.04, "shirt": rolled}
    return Top(cloth, float(sleeve[str(kind)]), float(rng.uniform(-0.06, 0.06)), neck, float(rng.uniform(0.008, 0.02)))


def _outer(rng: np.random.Generator) -> Outer:
    cloth = _cloth(rng, ("plain", "plain", "plain", "plain", "block", "pinstripes", "checks"))
    kind = rng.choice(["jacket", "open", "hoodie", "waistcoat", "coat"], p=[0.2, 0.25, 0.25, 0.1, 0.2])
    if kind == "coat":
        return Outer(cloth, 1.0, -0.1, float(rng.choice([0.0, 0.05])), 0.03, coat=float(rng.uniform(0.25, 0.5)))
    opening = {"jacket": 0.0, "open": rng.uniform(0.05, 0.09), "hoodie": 0.0, "waistcoat": 0.03}[str(kind)]
    sleeve = 0.06 if kind == "waistcoat" else 1.0
    hem, thickness = float(rng.uniform(-0.08, 0.03)), float(rng.uniform(0.02, 0.035))
    return Outer(cloth, sleeve, hem, float(opening), thickness, hood=kind == "hoodie")


def _bottom(rng: np.random.Generator) -> Bottom:
    kind = rng.choice(["trousers", "jeans", "leggings", "shorts", "skirt"], p=[0.32, 0.26, 0.12, 0.18, 0.12])
    if kind == "jeans":
        shade = rng.uniform(0.35, 1.3)
        blue: Colour = (0.22 * shade, 0.31 * shade, 0.50 * shade)
        return Bottom(Cloth(blue, COLOURS["sky"], "plain"), 1.0, float(rng.uniform(0.008, 0.018)))
    if kind == "skirt":
        return Bottom(_cloth(rng, ("plain", "checks", "dots", "plain")), float(rng.uniform(0.25, 0.85)), skirt=True)
    if kind == "shorts":
        cloth = _cloth(rng, ("plain", "plain", "checks", "camouflage"))
        return Bottom(cloth, float(rng.uniform(0.3, 0.52)), float(rng.uniform(0.012, 0.03)), 0.02)
    if kind == "leggings":
        return Bottom(_cloth(rng, ("plain",)), float(rng.choice([0.8, 1.0])), 0.004)
    cloth = _cloth(rng, ("plain", "plain", "plain", "pinstripes", "camouflage"))
    return Bottom(cloth, 1.0, float(rng.uniform(0.01, 0.028)))


def _shoes(rng: np.random.Generator) -> Shoes:
    colour = _colour(rng)
    sole = COLOURS["white"] if rng.random() < 0.5 else COLOURS["black"]
    sock = COLOURS["white"] if rng.random() < 0.5 else COLOURS["charcoal"]
    return Shoes(colour, sole, sock, float(rng.choice([0.99, 0.97, 0.8], p=[0.6, 0.2, 0.2])))


def _hair(rng: np.random.Generator, number: int) -> Hair:
    style = HAIR_STYLES[(number * 2 + 1) % len(HAIR_STYLES)]
    return Hair(style, _pick(rng, HAIRS), _colour(rng))


def _colour(rng: np.random.Generator) -> Colour:
    """A colour people wear, each time a little different; dark and grey ones are common."""
    names = list(COLOURS)
    weights = np.array([3.0 if n in ("black", "white", "grey", "navy", "charcoal") else 1.0 for n in names])
    base = np.asarray(COLOURS[str(rng.choice(names, p=weights / weights.sum()))])
    r, g, b = (float(x) for x in np.clip(base * rng.uniform(0.85, 1.15) + rng.normal(0, 0.02, 3), 0.02, 0.97).round(4))
    return r, g, b


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
