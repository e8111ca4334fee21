"""Draw people and their clothes at random. Wardrobes are small and shared, so no single garment identifies a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from partreid.datasets.synthetic.textures import Cloth
from partreid.datasets.synthetic.wardrobe import (
    COLOURS,
    HAIR_STYLES,
    HAIRS,
    SKINS,
    WORN,
    Bag,
    Bottom,
    Colour,
    Cut,
    Hair,
    Outer,
    Outfit,
    Person,
    Shoes,
    Stock,
    Top,
)  # fmt: skip

T = TypeVar("T")

_TAILORED = 0.85
"""Fraction of garments that use an asset folder's cuts, if the folder has cuts for them."""
_SKIRTS = 0.12
"""Fraction of skirts among what is worn on the legs; asset folders have few."""

Wardrobe = tuple[Sequence[Any], ...]
"""The garments that identities choose from, for each field of :class:`Outfit`."""


def make_wardrobe(rng: np.random.Generator, people: int, stock: Stock | None = None) -> Wardrobe:
    """A wardrobe for that number of people; about four of them share a top, and about six share a bottom.

    ``stock``: cuts of an asset folder; if it is given, most garments use them.
    """
    tops, bottoms = max(6, people // 4), max(5, people // 6)
    stock = stock or Stock()
    return (
        [_tailored(rng, _cut_top, stock.top * 2 + stock.whole, i) or _top(rng) for i in range(tops)],
        [None] * max(6, tops // 2 * (3 if stock.top else 1)) + [_outer(rng) for _ in range(max(4, tops // 3))],
        [_skirt(rng) or _tailored(rng, _cut_bottom, stock.bottom, i) or _trousers(rng) for i in range(bottoms)],
        [_tailored(rng, _cut_shoes, stock.shoes, i) or _shoes(rng) for i in range(12 if stock.shoes else 9)],
        [
            _tailored(rng, _cut_hair, stock.hair * 2 + stock.hat, i) or _hair(rng, i)
            for i in range(40 if stock.hair else 14)
        ],
        [Bag("none")] * 7
        + [Bag(kind, _colour(rng, "bag")) for kind in ("backpack", "shoulder", "hand") for _ in range(3)],
        [None] * 30 + [_colour(rng, "top") for _ in range(3)],
        [None] * 4 + [COLOURS["black"], COLOURS["charcoal"], COLOURS["beige"]],
    )


def make_people(rng: np.random.Generator, wardrobe: Wardrobe, count: int) -> list[Person]:
    """People in different outfits: no two wear the same one."""
    people: list[Person] = []
    seen: set[tuple[object, ...]] = set()
    while len(people) < count:
        outfit = Outfit(*(_pick(rng, garments) for garments in wardrobe))
        # A bottom that is covered does not distinguish two outfits.
        key = (
            outfit.top,
            outfit.outer,
            None if outfit.covers_legs else outfit.bottom,
            outfit.shoes,
            outfit.hair,
            outfit.bag,
        )
        wearers = _wearers(outfit)
        if key not in seen and len(wearers) < 2:
            seen.add(key)
            people.append(_person(rng, outfit))
    return people


def _person(rng: np.random.Generator, outfit: Outfit) -> Person:
    wearers = _wearers(outfit)
    feminine = outfit.hair.style in ("long", "ponytail", "bun", "bob")
    feminine = "female" in wearers if wearers else feminine
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
    fair_hair = outfit.hair.colour[0] - outfit.hair.colour[2] > 0.2
    return Person(rounded, stature, _pick(rng, SKINS[:4] if fair_hair else SKINS), outfit)


def _wearers(outfit: Outfit) -> set[str]:
    """Whom the outfit's parts are made for."""
    return {cut.wearer for cut in outfit.cuts if cut.wearer} | ({"female"} if outfit.skirt else set())


def _tailored(
    rng: np.random.Generator, make: Callable[[np.random.Generator, Cut], T], cuts: Sequence[Cut], number: int
) -> T | None:
    """Mostly a garment from the cuts, in turn; sometimes None, for the kinds that asset folders seldom have."""
    return make(rng, cuts[number % len(cuts)]) if cuts and rng.random() < _TAILORED else None


def _cut_top(rng: np.random.Generator, cut: Cut) -> Top:
    patterns = ("plain", "plain", "plain", "plain", "texture", "stripes", "checks", "block", "logo")
    return Top(_cloth(rng, patterns, "top"), 1.0, cut=cut, whole=cut.piece.endswith(":whole"))


def _cut_bottom(rng: np.random.Generator, cut: Cut) -> Bottom:
    cloth = _denim(rng) if rng.random() < 0.35 else _cloth(rng, ("plain",) * 7 + ("texture",), "bottom")
    return Bottom(cloth, 1.0, cut=cut)


def _cut_shoes(rng: np.random.Generator, cut: Cut) -> Shoes:
    return replace(_shoes(rng), shaft=0.99, cut=cut)


def _cut_hair(rng: np.random.Generator, cut: Cut) -> Hair:
    style = "hat" if cut.piece.endswith(":hat") else "cut"
    return Hair(style, _pick(rng, HAIRS), _colour(rng, "bag"), cut)


def _cloth(rng: np.random.Generator, patterns: Sequence[str], use: str) -> Cloth:
    colour = _colour(rng, use)
    second = _colour(rng, use)
    while sum(abs(a - b) for a, b in zip(colour, second, strict=True)) < 0.5:
        second = _colour(rng, use)
    return Cloth(colour, second, str(rng.choice(list(patterns))), float(rng.uniform(0.06, 0.14)))


def _denim(rng: np.random.Generator) -> Cloth:
    shade = rng.uniform(0.35, 1.3)
    return Cloth((0.22 * shade, 0.31 * shade, 0.50 * shade), COLOURS["sky"], "plain")


def _top(rng: np.random.Generator) -> Top:
    cloth = _cloth(
        rng,
        ("plain",) * 9 + ("stripes", "stripes", "checks", "block", "logo", "logo", "gradient", "camouflage", "dots"),
        "top",
    )
    kind = rng.choice(["t-shirt", "long", "sleeveless", "shirt", "dress"], p=[0.38, 0.22, 0.08, 0.18, 0.14])
    neck = float(rng.uniform(0.01, 0.09))
    if kind == "dress":
        return Top(cloth, float(rng.choice([0.0, 0.25, 1.0])), -0.1, neck, 0.012, float(rng.uniform(0.35, 0.75)))
    short, rolled = rng.uniform(0.22, 0.42), rng.choice([0.35, 0.6, 1.0])
    sleeve = {"t-shirt": short, "long": 1.0, "sleeveless": 0.04, "shirt": rolled}
    return Top(cloth, float(sleeve[str(kind)]), float(rng.uniform(-0.06, 0.06)), neck, float(rng.uniform(0.008, 0.02)))


def _outer(rng: np.random.Generator) -> Outer:
    cloth = _cloth(rng, ("plain", "plain", "plain", "plain", "block", "pinstripes", "checks"), "outer")
    kind = rng.choice(["jacket", "open", "hoodie", "waistcoat", "coat"], p=[0.2, 0.25, 0.25, 0.1, 0.2])
    if kind == "coat":
        return Outer(cloth, 1.0, -0.1, float(rng.choice([0.0, 0.05])), 0.03, coat=float(rng.uniform(0.25, 0.5)))
    opening = {"jacket": 0.0, "open": rng.uniform(0.05, 0.09), "hoodie": 0.0, "waistcoat": 0.03}[str(kind)]
    sleeve = 0.06 if kind == "waistcoat" else 1.0
    hem, thickness = float(rng.uniform(-0.08, 0.03)), float(rng.uniform(0.02, 0.035))
    hood = kind == "hoodie"
    return Outer(cloth, sleeve, hem, float(opening), thickness, hood=hood, hooded=hood and rng.random() < 0.25)


def _skirt(rng: np.random.Generator) -> Bottom | None:
    """Mostly None."""
    if rng.random() >= _SKIRTS:
        return None
    cloth = _cloth(rng, ("plain", "plain", "plain", "checks", "dots"), "bottom")
    shortest, longest = _pick(rng, ((0.25, 0.4), (0.4, 0.65), (0.65, 0.95)))
    return Bottom(cloth, float(rng.uniform(shortest, longest)), skirt=True)


def _trousers(rng: np.random.Generator) -> Bottom:
    kind = rng.choice(["trousers", "jeans", "leggings", "shorts"], p=[0.36, 0.30, 0.14, 0.20])
    if kind == "jeans":
        return Bottom(_denim(rng), 1.0, float(rng.uniform(0.008, 0.018)))
    if kind == "shorts":
        cloth = _cloth(rng, ("plain",) * 5 + ("checks", "camouflage"), "bottom")
        return Bottom(cloth, float(rng.uniform(0.3, 0.52)), float(rng.uniform(0.012, 0.03)), 0.02)
    if kind == "leggings":
        return Bottom(_cloth(rng, ("plain",), "bottom"), float(rng.choice([0.8, 1.0])), 0.002)
    cloth = _cloth(rng, ("plain",) * 8 + ("camouflage",), "bottom")
    return Bottom(cloth, 1.0, float(rng.uniform(0.01, 0.028)))


def _shoes(rng: np.random.Generator) -> Shoes:
    colour = _colour(rng, "shoes")
    sole = COLOURS["white"] if rng.random() < 0.5 else COLOURS["black"]
    sock = COLOURS["white"] if rng.random() < 0.5 else COLOURS["charcoal"]
    return Shoes(colour, sole, sock, float(rng.choice([0.99, 0.97, 0.8], p=[0.6, 0.2, 0.2])))


def _hair(rng: np.random.Generator, number: int) -> Hair:
    style = HAIR_STYLES[(number * 2 + 1) % len(HAIR_STYLES)]
    return Hair(style, _pick(rng, HAIRS), _colour(rng, "bag"))


def _colour(rng: np.random.Generator, use: str) -> Colour:
    """A common colour for that kind of garment, each time a little different."""
    names = list(COLOURS)
    any_colour, common = WORN[use]
    weights = np.array([common.get(name, any_colour) for name in names])
    base = np.asarray(COLOURS[str(rng.choice(names, p=weights / weights.sum()))])
    r, g, b = (float(x) for x in np.clip(base * rng.uniform(0.85, 1.15) + rng.normal(0, 0.02, 3), 0.02, 0.97).round(4))
    return r, g, b


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
