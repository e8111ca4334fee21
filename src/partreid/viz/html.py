"""One HTML page that holds everything: no script, no request to anywhere, light and dark.

Blocks are made by :func:`paragraph`, :func:`table`, :func:`legend` and :func:`figure`, put into a :class:`Section`,
and those into :func:`page`. Text given to them is plain text: it is escaped here, so that no file name can become
markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from partreid.viz.colors import Color
from partreid.viz.overlay import check_picture


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
    """A table; all columns but the first are set flush right.

    Args:
        columns: headings. rows: plain text, or markup made by :func:`link`. caption: a line above.
    """
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{c if isinstance(c, Html) else escape(c)}</td>" for c in row) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return Html(f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def legend(colors: Mapping[str, Color]) -> Html:
    """Names with their colours."""
    entries = "".join(
        f'<li><span style="background:rgb({",".join(str(round(255 * v)) for v in color)})"></span>{escape(name)}</li>'
        for name, color in colors.items()
    )
    return Html(f'<ul class="legend">{entries}</ul>')


def figure(picture: np.ndarray, *, alt: str, lines: Sequence[str] = ()) -> Html:
    """A picture inside the page, with lines of text under it, the first in bold.

    Args:
        picture: uint8 [H, W, 3]. alt: what it shows, in words. lines: plain text.

    Raises:
        ShapeError: not a picture.
    """
    picture = check_picture(picture)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=85, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = picture.shape[:2]
    tags = ("b" if i == 0 else "span" for i in range(len(lines)))
    caption = "".join(f"<{tag}>{escape(line)}</{tag}>" for tag, line in zip(tags, lines, strict=True) if line)
    return Html(
        f'<figure><img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


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
:root { color-scheme: light dark; --ink: #202124; --soft: #5f6368; --page: #fff; --line: #dadce0; --link: #0b57d0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a9aeb4; --page: #1b1c1e; --line: #3c4043; --link: #8ab4f8 }
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
td:not(:first-child) { white-space: nowrap }
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
"""
