"""``partreid show``: figures of what a model finds, where it looks, and a report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, show_progress
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.reports import Drawing

app = typer.Typer(
    help="Figures of a model on a data set: rankings, attention, and a report of everything.", no_args_is_help=True
)

_Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="A query image by its file's name or its number from 0. Repeatable."),
]
_Best = Annotated[int, typer.Option(min=0, help="Show so many of the best queries by average precision.")]
_Worst = Annotated[int, typer.Option(min=0, help="Show so many of the worst.")]
_Random = Annotated[int, typer.Option(min=0, help="Show so many random ones.")]
_Seed = Annotated[int, typer.Option(help="Seed of the random ones.")]
_Cells = Annotated[bool, typer.Option("--cells", help="Draw the cells of attention maps as blocks, not interpolated.")]
_AsPage = Annotated[bool, typer.Option("--html", help="Write one self-contained HTML page instead of a PNG.")]


@app.command()
def rankings(
    model: opt.Model,
    data: opt.Data,
    image: _Images = None,
    best: _Best = 0,
    worst: _Worst = 0,
    random: _Random = 0,
    seed: _Seed = 0,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Results to show for each query.")] = 8,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Rank by this slot alone, by several (head+torso), or by all; a line for each."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Another model, shown in lines below; repeatable.")
    ] = None,
    junk: Annotated[
        bool, typer.Option("--junk", help="Show images of the query's person and camera too; scores leave them out.")
    ] = False,
    attention: Annotated[bool, typer.Option(help="Draw attention maps over the images.")] = True,
    cells: _Cells = False,
    query: opt.QuerySet = None,
    limit_ids: opt.LimitIds = None,
    labels: opt.Labels = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, .png or .html. Default: rankings.png.")
    ] = None,
    html: _AsPage = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Draw queries with what was found for each: attention, distance of each slot, right or wrong.

    Six queries spread evenly from the best to the worst, unless you ask for others. `--by head --by all` draws the
    paper's Figure 3, `--against OTHER_RUN` its Figure 4.
    """
    from partreid.reports import QueryChoice, draw_rankings_of

    path = _output_path(out, "rankings", page=html)
    drawing = draw_rankings_of(
        model,
        partreid.read_dataset(data, labels=None, limit_ids=limit_ids),
        queries=QueryChoice(image or (), best, worst, random, seed),
        query_set=query,
        against=against or (),
        by=by or (),
        top=top,
        junk=junk,
        attention=attention,
        smooth=not cells,
        labels=labels,
        runtime=opt.runtime_config(device, precision, batch_size=batch_size),
        progress=show_progress,
    )
    for name, how in drawing.compared:
        console.print(f"{name}. {how}" if against else str(how), style="dim", soft_wrap=True)
    _save(drawing, path)


@app.command()
def attention(
    model: opt.Model,
    data: opt.Data,
    image: _Images = None,
    best: _Best = 0,
    worst: _Worst = 0,
    random: _Random = 0,
    seed: _Seed = 0,
    cells: _Cells = False,
    query: opt.QuerySet = None,
    limit_ids: opt.LimitIds = None,
    labels: opt.Labels = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, .png or .html. Default: attention.png.")
    ] = None,
    html: _AsPage = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Draw the attention map of every part, and below it what the label says, where an image has one.

    Six queries spread evenly over the set, unless you ask for others. Green frame: the part counts as visible.
    """
    from partreid.reports import QueryChoice, draw_attention_of

    path = _output_path(out, "attention", page=html)
    drawing = draw_attention_of(
        model,
        partreid.read_dataset(data, labels=None, limit_ids=limit_ids),
        queries=QueryChoice(image or (), best, worst, random, seed),
        query_set=query,
        smooth=not cells,
        labels=labels,
        runtime=opt.runtime_config(device, precision, batch_size=batch_size),
        progress=show_progress,
    )
    _save(drawing, path)


@app.command()
def report(
    model: opt.Model,
    data: opt.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("report.html"),
    query: opt.QuerySets = None,
    limit_ids: opt.LimitIds = None,
    labels: opt.Labels = "auto",
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Write one self-contained HTML page about a run: training, scores, distances, rankings, attention, configuration.

    `partreid evaluate --out FOLDER` writes it too, beside its other results.
    """
    from partreid.errors import DataError
    from partreid.files import write_text

    found = partreid.evaluate(
        model,
        partreid.read_dataset(data, labels=None, limit_ids=limit_ids),
        query=query,
        labels=labels,
        runtime=opt.runtime_config(device, precision, batch_size=batch_size),
        progress=show_progress,
    )
    write_text(out, found.report().page(), error=DataError)
    console.print(f"Written: {out}", soft_wrap=True)


def _output_path(out: Path | None, name: str, *, page: bool) -> Path:
    """The file to write; its ending says whether it is an image or a page.

    Raises:
        ConfigError: it ends in something else, or a page is asked for and it is none.
    """
    from partreid.reports.drawings import is_page

    path = out or Path(f"{name}.html" if page else f"{name}.png")
    if not is_page(path) and page:
        raise ConfigError(f"Expected a file that ends in .html, got {path}.")
    return path


def _save(drawing: Drawing, path: Path) -> None:
    console.print(f"Written: {drawing.save(path)}", soft_wrap=True)
