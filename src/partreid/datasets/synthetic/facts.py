"""Known facts of a rendered image beyond its labels: view, light and resolution, and the person's body and skin.

``pictures.csv`` records them, so that ``partreid dossier`` can give a model's accuracy by each of them. They use no
random numbers.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partreid.errors import DataError

if TYPE_CHECKING:
    from partreid.datasets.synthetic.cameras import Camera
    from partreid.datasets.synthetic.crowd import Actor
    from partreid.datasets.synthetic.wardrobe import Colour, Person

INDEX = "pictures.csv"
"""The table of a rendered set's images."""

FACTS = ("view", "pose", "distance", "rows", "light", "exposure", "skin", "gender", "age", "weight", "stature")
"""Columns of the table: the angle in degrees between the direction that the person faces and the direction to the
camera (0 = seen from the front, 180 = from behind); what the person does; metres to the camera; pixel rows at which the
person's box was taken, before it was enlarged; the kind of light (:func:`light_kind`); the camera's exposure (1 =
neutral); the skin's individual typology angle in degrees (:func:`typology_angle`); gender (0 = male, 1 = female), age
and weight of the parametric body as anny scales them, in [0, 1]; stature in metres."""

Facts = Mapping[str, float | str]

_BROAD = 0.1
"""Radius of a light in radians from which its shadows have no edge."""
_WHITE = (0.95047, 1.0, 1.08883)
"""CIE XYZ of the white D65."""
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""From linear sRGB (IEC 61966-2-1)."""


def facts_of(person: Person, target: Actor, camera: Camera, rows: int) -> Facts:
    """The facts of an image under the names of :data:`FACTS`."""
    shape = dict(person.shape)
    return {
        "view": round(_view(target), 1),
        "pose": target.pose,
        "distance": round(float(np.linalg.norm([*target.place, camera.height])), 2),
        "rows": rows,
        "light": light_kind(camera),
        "exposure": round(camera.optics.exposure, 3),
        "skin": round(typology_angle(person.skin), 1),
        **{name: shape[name] for name in ("gender", "age", "weight")},
        "stature": round(person.stature, 3),
    }


def _view(target: Actor) -> float:
    """Degrees on the ground between a person's direction, (sin yaw, -cos yaw), and that to the camera at (0, 0)."""
    x, y = (float(v) for v in target.place)
    facing = (y * math.cos(target.yaw) - x * math.sin(target.yaw)) / math.hypot(x, y)
    return math.degrees(math.acos(max(-1.0, min(1.0, facing))))


def light_kind(camera: Camera) -> str:
    """The kind of light: "sun" (shadows with an edge), "lamps" (broadly from one side), or "diffuse"."""
    if not camera.light.sun_colour.any():
        return "diffuse"
    return "lamps" if camera.light.softness >= _BROAD else "sun"


def typology_angle(skin: Colour) -> float:
    """The individual typology angle of an sRGB colour in degrees, by which dermatology classifies skin.

    Above 55 the skin is very light, above 41 light, above 28 intermediate, above 10 tan, above -30 brown, else dark
    (A. Chardin, I. Hourseau and C. Hourseau, "Skin colour typology and suntanning pathways", International Journal of
    Cosmetic Science 1991; S. Del Bino and F. Bernerd, British Journal of Dermatology 2013).
    """
    srgb = np.asarray(skin, np.float64)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    y, z = (_lightness(value) for value in (_TO_XYZ @ linear)[1:] / _WHITE[1:])
    return math.degrees(math.atan2(116 * y - 16 - 50, 200 * (y - z)))


def _lightness(value: float) -> float:
    """The function f of CIE L*a*b* (CIE 15:2004)."""
    return float(np.cbrt(value)) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29


def read_pictures(root: Path) -> dict[str, dict[str, str]] | None:
    """The rows of a rendered set's table, by the path of the image within the set; None if the folder has no table.

    Raises:
        DataError: the table cannot be read, or has no column "path".
    """
    path = root / INDEX
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {row["path"]: {name: value or "" for name, value in row.items() if name} for row in rows}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as a rendered set's table: {error!r:.200}. Render the set again."
        ) from None
