"""What the figures' commands share: which queries to show, and writing an image or a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from partreid.cli.console import console
from partreid.cli.figure_data import spread
from partreid.errors import ConfigError, DataError, nearest
from partreid.files import atomic_file
from partreid.types import EvaluationResult, ReIDImage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="A query image by its file's name or its number from 0. Repeatable."),
]
Best = Annotated[int, typer.Option(min=0, help="Show so many of the best queries by average precision.")]
Worst = Annotated[int, typer.Option(min=0, help="Show so many of the worst.")]
Random = Annotated[int, typer.Option(min=0, help="Show so many random ones.")]
Seed = Annotated[int, typer.Option(help="Everything random derives from it.")]
Cells = Annotated[bool, typer.Option("--cells", help="Draw the cells of attention maps as blocks, not interpolated.")]
AsPage = Annotated[bool, typer.Option("--html", help="Write one self-contained HTML page instead of a PNG.")]


@dataclass(frozen=True)
class Choice:
    """Which images to show; ``count`` spread evenly from best to worst where nothing else is asked for."""

    names: Sequence[str] = ()
    best: int = 0
    worst: int = 0
    random: int = 0
    seed: int = 0
    count: int = 6

    @property
    def ranked(self) -> bool:
        """Whether the queries must be ranked to choose."""
        return bool(self.best or self.worst)

    def check(self, images: Sequence[ReIDImage]) -> None:
        """Find a mistyped name before all is embedded, which may take minutes; errors as in :meth:`pick`."""
        for name in self.names:
            find_image(images, name)

    def pick(self, images: Sequence[ReIDImage], result: EvaluationResult | None = None) -> list[int]:
        """Positions in ``images``, each once; without a result the default is spread over the images' order.

        Raises:
            DataError: there is no such image, or several.
        """
        found = [find_image(images, name) for name in self.names]
        if result is not None:
            order = spread(result.average_precision, len(images))
            found += order[: self.best] + order[len(order) - min(self.worst, len(order)) :]
        if self.random:
            some = np.random.default_rng(self.seed).choice(len(images), min(self.random, len(images)), replace=False)
            found += sorted(some.tolist())
        if not found:
            scores = -np.arange(len(images), dtype=np.float64) if result is None else result.average_precision
            found = spread(scores, self.count)
        return list(dict.fromkeys(found))


def find_image(images: Sequence[ReIDImage], name: str) -> int:
    """Position of the image of that file name, with or without folders and suffix, else of that number.

    Raises:
        DataError: there is none, or several.
    """
    path = Path(name)
    found = [
        i
        for i, image in enumerate(images)
        if image.path.parts[-len(path.parts) :] == path.parts or name == image.path.stem
    ]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(str(images[i].path) for i in found[:3])
        raise DataError(f"{len(found)} images are called {name!r}: {some}. Give the folder too, or the number.")
    if name.isdecimal() and str(int(name)) == name and int(name) < len(images):
        return int(name)
    raise DataError(
        f"No image {name!r}: expected the name of one of {len(images)} files, or a number from 0 to "
        f"{len(images) - 1}. {nearest(name, [images[i].path.name for i in range(min(len(images), 10_000))])[:200]}"
    )


def output_path(out: Path | None, name: str, *, page: bool) -> tuple[Path, bool]:
    """Where to write, and whether as a page: by ``--html``, else by the file's ending.

    Raises:
        ConfigError: the ending is another.
    """
    path = out or Path(f"{name}.html" if page else f"{name}.png")
    endings = {".html": True, ".htm": True, ".png": False}
    kind = endings.get(path.suffix.lower())
    if kind is None or (page and not kind):
        raise ConfigError(f"Expected a file that ends in {'.html' if page else '.png or .html'}, got {path}.")
    return path, kind


def write_figure(path: Path, draw: Callable[[], Figure], page: Callable[[], str], *, as_page: bool) -> None:
    """Write the image or the page, whole or not at all, and say where it is.

    Raises:
        DataError: it cannot be written.
    """
    from partreid.viz.canvas import save_png

    if as_page:
        write_page(path, page())
    else:
        save_png(draw(), path)
    console.print(f"Written: {path}", markup=False, soft_wrap=True, highlight=False)


def write_page(path: Path, content: str) -> None:
    """Write an HTML page, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    with atomic_file(path, error=DataError) as temporary:
        temporary.write_text(content, encoding="utf-8", errors="replace")  # a file's name may be any bytes
