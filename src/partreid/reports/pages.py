"""Self-contained HTML pages, made from ``templates/``: rankings, attention, and what all pages share."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from partreid.viz.attention import AttentionRow, attention_cells, attention_note
from partreid.viz.canvas import Cell, check_rows
from partreid.viz.colors import css, part_colors, readable
from partreid.viz.overlay import check_image
from partreid.viz.rankings import SIGNS, RankingRow, number, ranking_cells

READING = (
    "Each line: the query, then what was found, nearest first, with rank and total distance (Eq. 9); where the first "
    "right one comes later, it stands at the end. Colours = parts that count as visible. Bars = distance of each slot, "
    "longer = farther, on one scale per line, which ends where the gallery's farthest image lies; ✗ = not visible in "
    "both images, so not compared. Green ✓ = right person, red ✗ = wrong person, grey – = the query's person and "
    "camera, which scores leave out."
)
"""How to read rankings, in words."""

_SIZE = (168, 336)
"""Pixels of a cell's image: one and a half times its size on the page, so that it is sharp on dense screens."""


def rankings_page(rows: Sequence[RankingRow], slots: Sequence[str], *, title: str = "", smooth: bool = True) -> str:
    """Queries and their results as one HTML page. Arguments and errors as for :func:`partreid.viz.draw_rankings`."""
    check_rows(rows, RankingRow)
    shown = [ranking_view(row, slots, smooth=smooth) for row in rows]
    return render("rankings.html", title=title, lead=READING, slots=slots, rows=shown)


def attention_page(rows: Sequence[AttentionRow], slots: Sequence[str], *, title: str = "", smooth: bool = True) -> str:
    """Attention maps and labels as one HTML page. Arguments and errors as for :func:`partreid.viz.draw_attention`."""
    check_rows(rows, AttentionRow)
    shown = [attention_view(row, slots, smooth=smooth) for row in rows]
    return render("attention.html", title=title, lead=attention_note(rows, smooth=smooth), slots=slots, rows=shown)


class RankingView(NamedTuple):
    """A ranking for a template: whether it has a title, its cells, and a table of its distances."""

    titled: bool
    cells: list[Cell]
    columns: tuple[str, ...]
    lines: list[tuple[str, ...]]


def ranking_view(row: RankingRow, slots: Sequence[str], *, smooth: bool = True) -> RankingView:
    """A query and its results; arguments as for :func:`partreid.viz.rankings.ranking_cells`."""
    cells = ranking_cells(row, slots, size=_SIZE, smooth=smooth)
    slots = slots if row.slots is None else row.slots
    lines: list[tuple[str, ...]] = [("query", row.query.label, "", *[""] * len(slots), row.query.name)]
    for rank, found in zip(row.ranks, row.results, strict=True):
        apart = np.full(len(slots), np.nan) if found.slot_distances is None else found.slot_distances
        numbers = [number(float(value)) if math.isfinite(value) else "–" for value in apart]
        distance = "" if found.distance is None else number(found.distance)
        lines.append((f"{rank or '–'} {SIGNS[found.verdict]}", found.label, distance, *numbers, found.name))
    return RankingView(bool(row.title), cells, ("rank", "image", "distance", *map(readable, slots), "file"), lines)


class AttentionView(NamedTuple):
    """An image's attention for a template: its file, and each cell above the label's cell."""

    name: str
    columns: list[tuple[Cell, ...]]


def attention_view(row: AttentionRow, slots: Sequence[str], *, smooth: bool = True) -> AttentionView:
    """An image's maps; arguments as for :func:`partreid.viz.attention.attention_cells`."""
    return AttentionView(row.name, list(zip(*attention_cells(row, slots, size=_SIZE, smooth=smooth), strict=True)))


class Chart(NamedTuple):
    """A drawing, uint8 [H, W, 3], and its description in words."""

    pixels: np.ndarray
    alt: str


def render(template: str, *, title: str, lead: str, slots: Sequence[str], **values: object) -> str:
    """A page from ``templates/``. Every text is escaped. The legend of slot colours stays at the top of the window."""
    colors = {readable(slot): color for slot, color in part_colors(slots).items()}
    return _environment().get_template(template).render(title=title, lead=lead, colors=colors, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("partreid.reports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    environment.filters |= {"css": css, "data_url": data_url, "readable": readable, "thousands": "{:,}".format}
    return environment


def data_url(pixels: np.ndarray, quality: int | None = 85) -> str:
    """A data URL of an image, uint8 [H, W, 3]: a JPEG, or for None a PNG of few colours."""
    image, buffer = Image.fromarray(check_image(pixels)), io.BytesIO()
    if quality is None:
        image.quantize(128).save(buffer, format="PNG", optimize=True)
    else:
        image.save(buffer, format="JPEG", quality=quality, subsampling=0)
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
