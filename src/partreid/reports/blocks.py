"""Rankings and attention maps as blocks of an HTML page: text stays text, and a narrow window scrolls a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from partreid.reports.html import Html, cell, details, image, legend, rgb, strip, table
from partreid.viz.attention import AttentionCell, AttentionRow, attention_cells
from partreid.viz.colors import check_slots, part_colors, readable
from partreid.viz.overlay import enlarge, overlay_parts
from partreid.viz.rankings import FRAMES, WORDS, RankedImage, RankingRow, number

READING = (
    "Each line: the query, then what was found, nearest first, with rank and total distance (Eq. 9); where the first "
    "right one comes later, it stands at the end. Colours = parts that count as visible. Bars = distance of each slot, "
    "longer = farther, on one scale per line, which ends where the gallery's farthest image lies; ✗ = not visible in "
    "both images, so not compared. Green ✓ = right person, red ✗ = wrong person, grey – = the query's person and "
    "camera, which scores leave out."
)
"""How to read rankings, in words."""

_SIZE = (168, 336)
"""Image elements of a cell: one and a half of what it takes on the page, sharp on dense screens."""
_QUALITY = 80
_MARKS = {"right": "✓", "wrong": "✗", "junk": "–", None: ""}


def slot_legend(slots: Sequence[str]) -> Html:
    """The slots' colours."""
    return legend({readable(slot): color for slot, color in part_colors(slots).items()})


def ranking_block(row: RankingRow, slots: Sequence[str], *, smooth: bool = True) -> Html:
    """A query and its results side by side, with their distances in figures folded away below.

    Args:
        row: the query and its results. slots: names of the S slots, unless the row has its own.
        smooth: interpolate between the cells of attention maps, or draw them as blocks.
    """
    slots = slots if row.slots is None else row.slots
    check_slots(slots)
    title = f"Query · {row.title}" if row.title else "Query"
    scale = f"full bar = {number(row.longest)}" if row.longest else ""
    cells = [_ranked(row.query, slots, heading=title, alt=f"{title}: {row.query.label}", scale=scale, smooth=smooth)]
    lines = [("query", row.query.label, "", *[""] * len(slots), row.query.name)]
    for rank, result in zip(row.ranks, row.results, strict=True):
        verdict = WORDS[result.verdict] if result.verdict else ""
        distance = "" if result.distance is None else number(result.distance)
        heading = " ".join(filter(None, (str(rank or ""), _MARKS[result.verdict], distance)))
        alt = ", ".join(filter(None, (f"Rank {rank}" if rank else "", verdict, f"distance {distance}", result.label)))
        cells.append(_ranked(result, slots, heading=heading, alt=alt, longest=row.longest, smooth=smooth))
        shown = ["–"] * len(slots)
        if result.slot_distances is not None:
            shown = [number(float(v)) if math.isfinite(v) else "–" for v in result.slot_distances]
        lines.append((f"{rank or '–'} {_MARKS[result.verdict]}", result.label, distance, *shown, result.name))
    columns = ("rank", "image", "distance", *map(readable, slots), "file")
    numbers = table(columns, lines, caption="– = not visible in both, not compared")
    return Html(strip(cells) + details("distances in figures, and file names", numbers))


def attention_block(row: AttentionRow, slots: Sequence[str], *, smooth: bool = True) -> Html:
    """An image's attention maps side by side, under each what the label says of the part.

    Arguments as in :func:`partreid.viz.attention.draw_attention`.
    """
    colors = part_colors(slots)
    first, *below = attention_cells(row, slots, size=_SIZE, smooth=smooth)
    columns = []
    for place, shown in enumerate(first):
        mark = f'<u style="--slot:{rgb(colors[shown.heading])}"></u>' if shown.heading in colors else ""
        cells = [_mapped(row, shown, Html(f"{mark}{escape(readable(shown.heading))}"))]
        cells += [_mapped(row, line[place], Html("")) for line in below]
        columns.append(Html(f"<div>{''.join(cells)}</div>"))
    return Html((f"<p><b>{escape(row.name)}</b></p>" if row.name else "") + strip(columns))


def _mapped(row: AttentionRow, shown: AttentionCell, title: Html) -> Html:
    alt = f"{row.name or row.label}, {readable(shown.heading)}: {shown.caption}"
    return cell(title, image(shown.image, alt=alt, quality=_QUALITY), shown.caption, color=shown.color)


def _ranked(
    ranked: RankedImage, slots: Sequence[str], *, heading: str, alt: str, longest: float = 0.0, scale: str = "",
    smooth: bool = True,
) -> Html:  # fmt: skip
    pixels = enlarge(ranked.image, *_SIZE)
    if ranked.attention is not None:
        pixels = overlay_parts(pixels, ranked.attention, slots, visibility=ranked.visibility, smooth=smooth)
    bars = ""
    if ranked.slot_distances is not None:
        bars = _bars(slots, [float(v) / (longest or 1.0) for v in ranked.slot_distances], ranked.slot_distances)
    elif ranked.visibility is not None:
        bars = _shown_slots(slots, ranked.visibility)
    lines = [Html(f"<b>{escape(heading) or '&nbsp;'}</b>"), image(pixels, alt=alt, quality=_QUALITY), Html(bars)]
    return cell(*lines, *filter(None, (ranked.label, ranked.note, scale)), color=FRAMES[ranked.verdict])


def _bars(slots: Sequence[str], lengths: Sequence[float], distances: np.ndarray) -> str:
    bars = []
    for (slot, color), length, distance in zip(part_colors(slots).items(), lengths, distances, strict=True):
        compared = math.isfinite(length)
        words = number(float(distance)) if compared else "not visible in both"
        inner = f'<i style="height:{100 * min(max(length, 0), 1):.0f}%"></i>' if compared else "✗"
        bars.append(f'<i style="--slot:{rgb(color)}" title="{escape(readable(slot))}: {words}">{inner}</i>')
    return f'<div class="bars" aria-hidden="true">{"".join(bars)}</div>'


def _shown_slots(slots: Sequence[str], visibility: np.ndarray) -> str:
    marks = []
    for (slot, color), seen in zip(part_colors(slots).items(), visibility, strict=True):
        inner = f'<i style="height:100%;background:{rgb(color)}"></i>' if seen > 0 else "✗"
        words = "visible" if seen > 0 else "not visible"
        marks.append(f'<i style="--slot:{rgb(color)}" title="{escape(readable(slot))}: {words}">{inner}</i>')
    return f'<div class="bars" aria-hidden="true">{"".join(marks)}</div>'
