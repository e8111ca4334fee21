"""``partreid show``: figures of rankings and of attention, and a report of a run."""

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
    help="Figures of a model on a data set: rankings, attention, and a report with everything.", no_args_is_help=True
)

_Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="A query image, by file name or by number from 0. Repeatable."),
]
_Best = Annotated[int, typer.Option(min=0, help="Number of best queries to show, by average precision.")]
_Worst = Annotated[int, typer.Option(min=0, help="Number of worst queries to show.")]
_Random = Annotated[int, typer.Option(min=0, help="Number of random queries to show.")]
_Seed = Annotated[int, typer.Option(help="Seed of the random queries.")]
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
        typer.Option("--by", help="Rank by this slot, by several (head+torso), or by all. Each draws a line."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Another model, shown in lines below. Repeatable.")
    ] = None,
    junk: Annotated[
        bool, typer.Option("--junk", help="Also show images of the query's person and camera, which scores ignore.")
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
    """Draw queries with their results: attention, the distance of each slot, and whether the result is right.

    By default the figure has six queries, spread evenly from the best to the worst. `--by head --by all` draws the
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
    """Draw the attention map of every part, and below it the label, if the image has one.

    By default the figure has six queries, spread evenly over the set. A green frame marks parts that count as visible.
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
