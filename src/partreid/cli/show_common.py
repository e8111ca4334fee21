"""What the figures' commands share: which queries to show, and where to write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid.cli.console import console
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.reports.drawings import Drawing

Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="A query image by its file's name or its number from 0. Repeatable."),
]
Best = Annotated[int, typer.Option(min=0, help="Show so many of the best queries by average precision.")]
Worst = Annotated[int, typer.Option(min=0, help="Show so many of the worst.")]
Random = Annotated[int, typer.Option(min=0, help="Show so many random ones.")]
Seed = Annotated[int, typer.Option(help="Seed of the random ones.")]
Cells = Annotated[bool, typer.Option("--cells", help="Draw the cells of attention maps as blocks, not interpolated.")]
AsPage = Annotated[bool, typer.Option("--html", help="Write one self-contained HTML page instead of a PNG.")]


def output_path(out: Path | None, name: str, *, page: bool) -> Path:
    """The file to write; its ending says whether it is an image or a page.

    Raises:
        ConfigError: it ends in something else, or a page is asked for and it is none.
    """
    from partreid.reports.drawings import is_page

    path = out or Path(f"{name}.html" if page else f"{name}.png")
    if not is_page(path) and page:
        raise ConfigError(f"Expected a file that ends in .html, got {path}.")
    return path


def save_drawing(drawing: Drawing, path: Path) -> None:
    """Write a figure, and say where it is."""
    console.print(f"Written: {drawing.save(path)}", markup=False, soft_wrap=True, highlight=False)
