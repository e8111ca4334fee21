"""Reading HTML pages in tests, and what every page must keep to."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

from PIL import Image


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._hidden = False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._hidden = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read_page(content: str) -> Page:
    """The page, if it asks nobody for anything and runs nothing, and every image is whole and described."""
    page = Page(content)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base", "svg"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert not re.search(r"url\(|@import|https?://", content)
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert len(anchors) == len(page.all("section"))
    assert {link["href"] for link in page.all("a")} == {f"#{anchor}" for anchor in anchors}
    for picture in page.all("img"):
        assert picture["alt"].strip()
        kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,([\w+/=]+)", picture["src"]).groups()  # type: ignore[union-attr]
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == kind.upper()
            assert (str(image.width), str(image.height)) == (picture["width"], picture["height"])
    return page
