"""``partreid data``: list the known data sets, and check those on disk."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from partreid import datasets
from partreid.cli import options as opt
from partreid.cli.console import console, counted, emit_json, plain_table, show_progress
from partreid.progress import no_progress

if TYPE_CHECKING:
    from partreid.datasets import DatasetReport

app = typer.Typer(help="Data sets: list the known ones, and check those on disk.", no_args_is_help=True)


@app.command("list")
def list_layouts() -> None:
    """List the data sets that are known by name, and the content of their folders."""
    rows = [(layout.key, layout.name, layout.holds) for layout in datasets.LAYOUTS]
    console.print(plain_table("Known data sets", ("name", "what it is", "its folder holds"), rows))
    console.print(
        "Other folders with bounding_box_train, query and bounding_box_test, and tables of your own, work too."
    )


@app.command()
def check(
    data: opt.Data,
    as_json: opt.AsJson = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that read files. Default: one per processor.")
    ] = None,
) -> None:
    """Check a data set, or all data sets in a folder: counts, ids, damaged and duplicate images, labels.

    Every file is read. Exit status 0: no problem, 1: problems, 2: there is nothing to check.
    """
    from partreid.datasets.readers import locate_dataset

    found = datasets.find_datasets(data) if Path(data).exists() else ()
    reports = []
    for one in found or (locate_dataset(data),):
        report = datasets.check_dataset(one, threads=threads, progress=no_progress if as_json else show_progress)
        if not as_json:
            _print(report)
        reports.append(report)
    problems = sum(report.problems for report in reports)
    count = f"{counted(problems, 'problem')}."
    if as_json:
        emit_json({"problems": problems, "datasets": [asdict(report) for report in reports]})
    else:
        console.print(f"{len(reports)} data sets, {count}" if len(reports) > 1 else count)
    if problems:
        raise typer.Exit(1)


@app.command()
def occlude(
    data: opt.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist yet.")],
    overrides: opt.OtherOverrides = None,
    labels: opt.Labels = "auto",
) -> None:
    """Write a new data set whose queries are partly hidden behind other people and objects.

    The new set has the queries as they are, and once more with each kind of occluder. Its gallery is that of DATA.
    --set changes the occluders and how much they hide: occluders=people, least=0.35, most=0.6, seed=0. People are cut
    out of gallery images with labels: partreid labels make DATA --split gallery --limit 2000.
    """
    config = datasets.OcclusionConfig().override(overrides or [])
    dataset = datasets.read_dataset(data, labels=labels)
    total = len(dataset.query) * len(config.occluders)
    with show_progress(f"hiding the queries of {dataset.name}", total) as advance:
        table = datasets.write_occluded_queries(dataset, out, config, advance=advance)
    console.print(f"{counted(total, 'image')}. Evaluate with: partreid evaluate RUN {table}", soft_wrap=True)


def _print(report: DatasetReport) -> None:
    console.print(Text.assemble("\n", (report.name, "bold"), f"  {report.spec}"), soft_wrap=True)
    if report.splits:
        rows = [
            (s.name, str(s.identities), str(s.images), str(s.cameras or "unknown"),
             "" if s.published is None else f"{s.published[0]} / {s.published[1]}")
            for s in report.splits
        ]  # fmt: skip
        columns = ("split", "identities", "images", "cameras", "published")
        console.print(plain_table("", columns, rows))
    table = Table("", "check", Column("finding", overflow="fold"), show_header=False, box=None, padding=(0, 1))
    for finding in report.findings:
        examples = [(f"\n{example}", "dim") for example in finding.examples]
        style = {"ok": "green", "note": "cyan", "problem": "bold red"}[finding.severity]
        table.add_row(Text(finding.severity, style), finding.check, Text.assemble(finding.text, *examples))
    console.print(table)
