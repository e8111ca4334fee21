"""What the site (``mkdocs.yml``) has beside the pages of this folder: the reference, examples, pages of the root.

MkDocs calls these functions by their names. Nothing here is written into the repository.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import posixpath
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from partreid.cli.commands import program

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.api.public_api import DOORS, names  # noqa: E402 - of the checkout

CARD = "src/partreid/models/shipped_models/partreid-light-4/README.md"
FROM_THE_ROOT = {
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    CARD: "model_card.md",
}
"""Files outside docs/ that are pages of the site."""
ELSEWHERE = {
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "src/partreid/models/shipped_models": "model_card.md",
    "tests/api/public_api.txt": "reference/index.md",
}
"""What stands for other files and folders that pages link to."""


def on_config(config: MkDocsConfig) -> None:
    """Name the reference's pages in the navigation."""
    (reference,) = (part["Reference"] for part in config.nav or () if "Reference" in part)
    reference += [{door: f"reference/{door}.md"} for door in DOORS]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    pages = {there: (ROOT / here).read_text(encoding="utf-8") for here, there in FROM_THE_ROOT.items()}
    pages |= {"examples.md": _examples(), "reference/index.md": _index(), "reference/commands.md": _commands()}
    pages |= {f"reference/{door}.md": _reference(door) for door in DOORS}
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside docs/ lead to the pages that stand for them."""
    here = next((root for root, there in FROM_THE_ROOT.items() if there == page.file.src_uri), None)
    base = posixpath.dirname(here) if here else posixpath.dirname(f"docs/{page.file.src_uri}")

    def moved(link: re.Match[str]) -> str:
        target, anchor = link["target"], link["anchor"] or ""
        if re.match(r"[a-z]+:", target):
            return link[0]
        place = posixpath.normpath(posixpath.join(base, target))
        place = (FROM_THE_ROOT | ELSEWHERE).get(place, place.removeprefix("docs/"))
        return f"]({posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return re.sub(r"\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)", moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links of docstrings' cross-references, such as ``:func:`~partreid.files.atomic_file```."""
    return re.sub(
        r":\w+:<code>(~?)([\w.]+)</code>",
        lambda role: (
            f'<autoref optional identifier="{role[2]}"><code>'
            f"{role[2].rpartition('.')[2] if role[1] else role[2]}</code></autoref>"
        ),
        html,
    )


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site in which a link leads nowhere, or a page loads anything from elsewhere."""
    site = Path(config.site_dir)
    pages = {file: _Links.of(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}
    wrong = [f"{file.relative_to(site)}: {what}" for file in pages for what in _broken(file, pages)]
    if wrong:
        raise PluginError("\n".join(["Links that lead nowhere, or load from elsewhere:", *wrong]))


def _examples() -> str:
    """The page of the examples: what they are, then each script."""
    lines = [(ROOT / "examples/README.md").read_text(encoding="utf-8")]
    for script in sorted((ROOT / "examples").glob("*.py")):
        lines += [f"## {script.name}", "", "```python", script.read_text(encoding="utf-8").strip(), "```", ""]
    return "\n".join(lines)


def _commands() -> str:
    """The page of the command line: what ``--help`` says, in Typer's own words and order."""
    whole = typer.main.get_command(program)
    text = get_docs_for_click(obj=whole, ctx=typer.Context(whole, info_name="partreid"), name="partreid")
    return text.replace("# `partreid`", "# The command line", 1)


def _reference(door: str) -> str:
    """The page of a door: each public name, described at the first door that has it."""
    lines = [f"# {door}", "", _summary(door), ""]
    for name in names(door):
        first = next(other for other in DOORS if name in names(other))
        home = _home(first, name)
        if first == door:
            lines += [f"::: {home}", "    options:", f'      heading: "{name}"', f'      toc_label: "{name}"', ""]
        else:
            lines += [f"## {name}", "", f"See [{first}.{name}]({first}.md#{home}).", ""]
    return "\n".join(lines)


def _index() -> str:
    """The first page of the reference: the doors, what each is for, and its names."""
    lines = [
        "# Reference",
        "",
        "Import from these packages. What a package does not name is not public, and may change.",
        "",
    ]
    lines += ["The same as commands: [the command line](commands.md).", ""]
    for door in DOORS:
        listed = ", ".join(f"`{name}`" for name in names(door))
        lines += [f"## [{door}]({door}.md)", "", _summary(door), "", listed, ""]
    return "\n".join(lines)


def _summary(door: str) -> str:
    return (importlib.import_module(door).__doc__ or "").strip().partition("\n")[0]


def _home(module: str, name: str) -> str:
    """The dotted name of the place where a public name is defined: doors import it from there."""
    source = inspect.getsource(importlib.import_module(module))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("partreid."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _home(node.module, alias.name)
    return f"{module}.{name}"


class _Links(HTMLParser):
    """Of a page: its anchors, its links, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    @classmethod
    def of(cls, file: Path) -> _Links:
        found = cls()
        found.feed(file.read_text(encoding="utf-8"))
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given["href"])


def _broken(file: Path, pages: dict[Path, _Links]) -> Iterator[str]:
    """What is wrong with the links of a page."""
    for target in (*pages[file].loads, *pages[file].links):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            if target in pages[file].loads and parts.scheme != "data":
                yield f"loads {target}"
            continue
        there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        there = there / "index.html" if there.is_dir() else there
        missing = parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors
        if missing or not there.exists():
            yield target
