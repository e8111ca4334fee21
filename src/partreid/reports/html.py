"""One HTML page that holds everything: no script, no request to anywhere, light and dark.

Blocks are made by :func:`paragraph`, :func:`table`, :func:`legend`, :func:`figure` and the like, put into a
:class:`Section`, and those into :func:`page`. Text given to them is plain text: it is escaped here, so that no file
name can become markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from partreid.viz.canvas import to_array
from partreid.viz.colors import Color
from partreid.viz.overlay import check_image

_FEW_COLUMNS = 4  # as many as a telephone has room for


class Html(str):
    """Markup that is safe to put into a page; a plain ``str`` is text and gets escaped."""


@dataclass(frozen=True)
class Section:
    """A heading with blocks under it.

    Attributes:
        title: the heading; also the entry in the page's list of contents.
        blocks: markup made by this module.
        anchor: a word unique on the page, so that links lead here.
    """

    title: str
    blocks: Sequence[Html]
    anchor: str


def paragraph(text: str) -> Html:
    """A paragraph of plain text."""
    return Html(f"<p>{escape(text)}</p>")


def link(text: str, anchor: str) -> Html:
    """A link to a section of the page."""
    return Html(f'<a href="#{escape(anchor)}">{escape(text)}</a>')


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Html]], *, caption: str = "") -> Html:
    """A table; all columns but the first are set flush right. On a telephone, one of many columns becomes a list: each
    row a heading with its values below, each after its column's name.

    Args:
        columns: headings. rows: plain text, or markup made by :func:`link`. caption: a line above.
    """
    names = [escape(column) for column in columns]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(f"<tr>{''.join(map(_table_cell, names, row))}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    kind = "wide many" if len(names) > _FEW_COLUMNS else "wide"
    return Html(f'<div class="{kind}"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def _table_cell(name: str, content: str | Html) -> str:
    return f'<td data-name="{name}">{content if isinstance(content, Html) else escape(content)}</td>'


def legend(colors: Mapping[str, Color]) -> Html:
    """Names with their colours."""
    entries = "".join(
        f'<li><span style="background:{rgb(color)}"></span>{escape(name)}</li>' for name, color in colors.items()
    )
    return Html(f'<ul class="legend">{entries}</ul>')


def image(pixels: np.ndarray, *, alt: str, quality: int | None = 85) -> Html:
    """An image inside the page.

    Args:
        pixels: uint8 [H, W, 3]. alt: what it shows, in words. quality: of a JPEG; None = a PNG of few colours, for
            drawings, which JPEG blurs.

    Raises:
        ShapeError: not an image.
    """
    pixels = check_image(pixels)
    buffer = io.BytesIO()
    if quality is None:
        kind = "png"
        Image.fromarray(pixels).quantize(128).save(buffer, format="PNG", optimize=True)
    else:
        kind = "jpeg"
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = pixels.shape[:2]
    return Html(f'<img src="data:image/{kind};base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">')


def figure(pixels: np.ndarray, *, alt: str, lines: Sequence[str] = (), quality: int | None = 85) -> Html:
    """An image with lines of text under it, the first in bold; arguments as in :func:`image`, lines plain text.

    Raises:
        ShapeError: not an image.
    """
    tags = ("b" if i == 0 else "span" for i in range(len(lines)))
    caption = "".join(f"<{tag}>{escape(line)}</{tag}>" for tag, line in zip(tags, lines, strict=True) if line)
    caption = f"<figcaption>{caption}</figcaption>" if caption else ""
    return Html(f"<figure>{image(pixels, alt=alt, quality=quality)}{caption}</figure>")


def chart(drawn: Figure, *, alt: str) -> Html:
    """A matplotlib figure on the page; ``alt`` says in words what it shows."""
    return figure(to_array(drawn), alt=alt, quality=None)


def charts(figures: Sequence[Html]) -> Html:
    """Charts side by side, as many as the window has room for."""
    return Html(f'<div class="charts">{"".join(figures)}</div>')


def rgb(color: Color) -> str:
    """A colour as CSS writes it."""
    return f"rgb({','.join(str(round(255 * value)) for value in color)})"


def strip(cells: Sequence[Html]) -> Html:
    """Small images in one line, which is moved sideways where the window is narrow."""
    return Html(f'<div class="strip">{"".join(cells)}</div>')


def cell(*lines: str | Html, color: Color | None = None) -> Html:
    """One small image of a :func:`strip` with lines of text around it, in a frame of that colour."""
    inner = "".join(line if isinstance(line, Html) else f"<span>{escape(line) or '&nbsp;'}</span>" for line in lines)
    style = "" if color is None else f' style="--frame:{rgb(color)}"'
    return Html(f'<div class="cell"{style}>{inner}</div>')


def details(summary: str, block: Html) -> Html:
    """A block that is folded away until its summary is clicked."""
    return Html(f"<details><summary>{escape(summary)}</summary>{block}</details>")


def heading(text: str) -> Html:
    """A heading within a section."""
    return Html(f"<h3>{escape(text)}</h3>")


def gallery(figures: Sequence[Html]) -> Html:
    """Figures side by side, as many as the window has room for."""
    return Html(f'<div class="gallery">{"".join(figures)}</div>')


def page(title: str, sections: Sequence[Section], *, lead: str = "", pinned: Html | None = None) -> str:
    """The whole document.

    Args:
        title: of the page. sections: in order. lead: a sentence under the title.
        pinned: a block that stays at the top of the window, for example a legend.
    """
    contents = "".join(f"<li>{link(s.title, s.anchor)}</li>" for s in sections)
    body = "".join(
        f'<section id="{escape(s.anchor)}"><h2>{escape(s.title)}</h2>{"".join(s.blocks)}</section>' for s in sections
    )
    top = f'<div class="pinned">{pinned}</div>' if pinned else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The browser itself refuses whatever is not inside the page.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><header><h1>{escape(title)}</h1>"
        f"{paragraph(lead) if lead else ''}<nav><ul>{contents}</ul></nav></header>"
        f"<main>{top}{body}</main></body></html>\n"
    )


_STYLE = """
:root { color-scheme: light dark; --ink: #202124; --soft: #5f6368; --page: #fff; --line: #dadce0; --link: #0b57d0;
  --faint: #e8eaed; --bar: #5b6775 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a9aeb4; --page: #1b1c1e; --line: #3c4043; --link: #8ab4f8;
    --faint: #3c4043; --bar: #a9aeb4 }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 84rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line) }
p { margin: .25rem 0 .75rem; max-width: 48rem }
a { color: var(--link) }
nav ul, .legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0; padding: 0; list-style: none }
.pinned { position: sticky; top: 0; padding: .1rem 0; background: var(--page); font-size: .85rem }
section { scroll-margin-top: 3rem }
.legend span { display: inline-block; width: .85em; height: .85em; margin-right: .4em; border-radius: 2px }
.wide { overflow-x: auto; display: inline-block; vertical-align: top; max-width: 100%; margin-right: 3vw }
td:not(:first-child), th:not(:first-child) { white-space: nowrap }
table { overflow-wrap: normal }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem }
th, td { padding: .2rem .75rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1rem }
figure { margin: 0 }
figure img { display: block; width: 100%; height: auto; max-width: 26rem }
figcaption { font-size: .85rem; line-height: 1.35; padding-top: .25rem }
figcaption > * { display: block }
figcaption span { color: var(--soft) }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem }
.charts figure { background: #fff }
.strip { display: flex; gap: .6rem; overflow-x: auto; padding: .25rem 0 .5rem; margin-top: .75rem }
.cell { flex: 0 0 7rem; width: 7rem; font-size: .8rem; line-height: 1.3 }
.cell > span { display: block }
.cell u { display: inline-block; width: .8em; height: .8em; margin-right: .3em; background: var(--slot) }
.cell img { display: block; width: 7rem; height: auto; max-height: 21rem; border: 3px solid var(--frame, transparent) }
.cell b { display: block; color: var(--frame, inherit); white-space: nowrap }
.bars { display: flex; gap: 2px; height: 2.2rem; margin: 3px 0; align-items: stretch }
.bars i { flex: 1; display: flex; flex-direction: column; justify-content: flex-end; background: var(--faint);
  border-bottom: 4px solid var(--slot); text-align: center; font: 700 .75rem/1.9rem sans-serif; color: #d1342f }
.bars i > i { flex: none; border: 0; background: var(--bar) }
details { font-size: .85rem; margin-bottom: .5rem }
summary { cursor: pointer }
.bars, .bars i, .cell u, .legend span { print-color-adjust: exact; -webkit-print-color-adjust: exact }
@media (max-width: 40rem) {
  table { overflow-wrap: anywhere }
  td, th { padding-right: .4rem }
  td:first-child, th:first-child { min-width: 5.5rem }
  td:not(:first-child), th:not(:first-child) { white-space: normal }
  th:not(:first-child) { overflow-wrap: normal }
  .wide { display: block; margin-right: 0 }
  .many table, .many caption, .many tbody { display: block }
  .many thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .many tr { display: flex; flex-wrap: wrap; gap: 0 .9rem; padding: .35rem 0; border-bottom: 1px solid var(--line) }
  .many td { border: 0; padding: 0; text-align: left }
  .many td:first-child { flex: 1 0 100%; font-weight: 600 }
  .many td:not(:first-child)::before { content: attr(data-name) " "; color: var(--soft) }
  .many td:empty { display: none }
}
@media print {
  html { font-size: 10.5px }
  body { max-width: none; padding: 0 }
  .pinned { position: static }
  .wide, .strip { overflow: visible }
  .strip { flex-wrap: wrap; gap: .4rem; break-inside: avoid }
  .cell, .cell img { flex-basis: 6rem; width: 6rem }
  figure, .cell, tr { break-inside: avoid }
  h2, h3, p:has(+ .strip) { break-after: avoid }
}
"""
