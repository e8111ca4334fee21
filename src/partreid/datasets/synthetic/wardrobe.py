"""What a person is and wears, and the colours of clothes, skin and hair."""

from __future__ import annotations

from dataclasses import dataclass

from partreid.datasets.synthetic.textures import Cloth

Colour = tuple[float, float, float]

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
WORN: dict[str, tuple[float, dict[str, float]]] = {
    "top": (2, {
        "black": 17, "white": 17, "grey": 10, "charcoal": 8, "navy": 8, "sky": 6, "red": 5, "silver": 4, "denim": 4,
        "beige": 4, "pink": 4, "royal": 3, "burgundy": 3, "orange": 1, "purple": 1, "teal": 1,
    }),
    "outer": (1, {"black": 28, "navy": 14, "charcoal": 13, "grey": 10, "beige": 6, "brown": 5, "olive": 4, "white": 3}),
    "bottom": (0.3, {
        "black": 28, "denim": 16, "navy": 14, "charcoal": 13, "grey": 8, "beige": 5, "khaki": 4, "white": 3,
        "brown": 3, "olive": 2,
    }),
    "shoes": (0.5, {"black": 36, "white": 22, "brown": 9, "grey": 9, "charcoal": 8, "navy": 5, "beige": 3, "red": 2}),
    "bag": (1, {"black": 36, "charcoal": 10, "navy": 8, "brown": 8, "grey": 6, "beige": 4, "red": 3}),
}  # fmt: skip
"""Frequency of colours in streets for each kind of garment: the weight of any colour, and of those named."""
SKINS: tuple[Colour, ...] = (
    (0.92, 0.76, 0.67), (0.87, 0.67, 0.54), (0.81, 0.60, 0.45), (0.73, 0.52, 0.38), (0.62, 0.43, 0.30),
    (0.50, 0.33, 0.23), (0.40, 0.26, 0.18), (0.30, 0.19, 0.13),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (0.05, 0.04, 0.04), (0.07, 0.05, 0.05), (0.10, 0.07, 0.05), (0.15, 0.10, 0.07), (0.22, 0.13, 0.07),
    (0.24, 0.16, 0.10), (0.38, 0.23, 0.12), (0.70, 0.54, 0.32), (0.45, 0.18, 0.08), (0.45, 0.45, 0.45),
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """Name of a piece of an asset folder, and the wearer that it is made for: "female", "male", or "" for anybody."""

    piece: str
    wearer: str = ""


@dataclass(frozen=True)
class Stock:
    """The cuts that an asset folder offers for each part; a whole is worn instead of a top and a bottom."""

    top: tuple[Cut, ...] = ()
    bottom: tuple[Cut, ...] = ()
    whole: tuple[Cut, ...] = ()
    shoes: tuple[Cut, ...] = ()
    hat: tuple[Cut, ...] = ()
    hair: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class Top:
    """Worn on the trunk under everything else.

    Attributes:
        sleeve: where it ends on the arm, 0 shoulder .. 1 wrist. hem: height of its lower edge above the hip in
        metres on the template body. neck: how deep it is cut in front. skirt: for a dress, where the skirt ends on
        the leg (0 hip .. 1 ankle), else 0. cut: the piece of an asset folder that is worn; its own sleeves and hem
        then replace these values. whole: whether that piece covers the legs too.
    """

    cloth: Cloth
    sleeve: float
    hem: float = 0.0
    neck: float = 0.03
    thickness: float = 0.012
    skirt: float = 0.0
    cut: Cut | None = None
    whole: bool = False


@dataclass(frozen=True)
class Outer:
    """A jacket, hoodie, waistcoat or coat over the top.

    ``opening``: half the gap in front in metres. ``hood``: it has one; ``hooded``: it is worn over the head.
    """

    cloth: Cloth
    sleeve: float
    hem: float
    opening: float
    thickness: float
    hood: bool = False
    coat: float = 0.0
    hooded: bool = False


@dataclass(frozen=True)
class Bottom:
    """Trousers (``end`` on the leg, 1 = ankle) or, with ``skirt``, a skirt."""

    cloth: Cloth
    end: float
    thickness: float = 0.014
    flare: float = 0.0
    skirt: bool = False
    cut: Cut | None = None


@dataclass(frozen=True)
class Shoes:
    """``shaft``: where they begin on the leg; boots begin higher."""

    colour: Colour
    sole: Colour
    sock: Colour
    shaft: float = 0.99
    cut: Cut | None = None


@dataclass(frozen=True)
class Hair:
    """``style`` is one of :data:`HAIR_STYLES`, or "cut" for hair and "hat" for a hat of an asset folder.

    ``hat``: the colour of a cap, beanie or hat.
    """

    style: str
    colour: Colour
    hat: Colour = (0.1, 0.1, 0.1)
    cut: Cut | None = None


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
    scarf: Colour | None = None
    tights: Colour | None = None
    """Visible under a skirt or dress."""

    @property
    def cuts(self) -> list[Cut]:
        """The pieces of an asset folder that are worn, from the inside outwards."""
        legs = None if self.covers_legs else self.bottom.cut
        hair = None if self.is_hooded else self.hair.cut
        return [cut for cut in (self.shoes.cut, legs, self.top.cut, hair) if cut is not None]

    @property
    def is_hooded(self) -> bool:
        """Whether a hood hides the hair."""
        return self.outer is not None and self.outer.hooded

    @property
    def skirt(self) -> float:
        """Where a skirt or dress ends on the leg, 0 if none is worn."""
        if self.covers_legs:
            return self.top.skirt
        return self.bottom.end if self.bottom.skirt else 0.0

    @property
    def covers_legs(self) -> bool:
        """Whether the top hides the bottom completely."""
        return self.top.whole or self.top.skirt > 0


@dataclass(frozen=True)
class Person:
    """A body in an outfit. ``shape``: anny's phenotype values; ``stature`` in metres."""

    shape: tuple[tuple[str, float], ...]
    stature: float
    skin: Colour
    outfit: Outfit
