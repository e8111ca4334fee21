"""``partreid data``: which sets are known, and whether those on disk are whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from partreid.cli.console import console, plain_table, progress_bar
from partreid.cli.options import Data, Overrides
from partreid.datasets.checks import DatasetReport, check_dataset
from partreid.datasets.occlusion import OcclusionConfig, write_occluded_queries
from partreid.datasets.readers import LAYOUTS, FoundDataset, find_datasets, locate_dataset, read_dataset
from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.labels.locate import AUTO

app = typer.Typer()

_STYLES = {"ok": "green", "note": "cyan", "problem": "bold red"}


@app.command("list")
def list_layouts() -> None:
    """List the data sets that are known by name, and what their folders hold."""
    rows = [(layout.key, layout.name, layout.holds) for layout in LAYOUTS]
    console.print(plain_table("Known data sets", ("name", "what it is", "its folder holds"), rows))
    console.print(
        "Any folder with bounding_box_train, query and bounding_box_test is read too, and tables of own data."
    )


@app.command()
def check(
    root: Data,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File to write the findings to, for scripts.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to read files with; default: one per processor.")
    ] = None,
) -> None:
    """Check a data set, or every one in a folder: counts, ids, damaged and duplicate images, labels.

    Reads every file. Exit status 0: no problem, 1: problems, 2: there is nothing to check.
    """
    found = find_datasets(root) if Path(root).exists() else ()
    reports = []
    for one in found or (locate_dataset(root),):
        report = _check(one, threads)
        _print(report)
        reports.append(report)
    problems = sum(report.problems for report in reports)
    count = "1 problem." if problems == 1 else f"{problems} problems."
    console.print(f"{len(reports)} data sets, {count}" if len(reports) > 1 else count)
    if json_file is not None:
        content = {"problems": problems, "datasets": [asdict(report) for report in reports]}
        with atomic_file(json_file, error=DataError) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if problems:
        raise typer.Exit(1)


@app.command()
def occlude(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist yet.")],
    overrides: Overrides = None,
    labels: Annotated[str, typer.Option(help="Label folder, by which people are cut out.")] = AUTO,
) -> None:
    """Hide a set's queries behind other people and objects, seeded, as a set of its own.

    Its query sets are the queries as they are, and the same ones under each kind of occluder; its gallery is that of
    the set. --set changes what hides how much: occluders=people, least=0.35, most=0.6, seed=0. People are cut out of
    gallery images with labels: partreid labels make DATA --split gallery --limit 2000.
    """
    config = OcclusionConfig().override(overrides or [])
    dataset = read_dataset(data, labels=labels)
    total = len(dataset.query) * len(config.occluders)
    with progress_bar(f"hiding the queries of {dataset.name}", total) as (bar, task):
        table = write_occluded_queries(dataset, out, config, advance=lambda: bar.advance(task))
    console.print(f"{total} images. Evaluate with: partreid evaluate RUN {table}", markup=False, soft_wrap=True)


def _check(found: FoundDataset, threads: int | None) -> DatasetReport:
    with progress_bar(f"reading {found.path.name}", 1) as (bar, task):
        return check_dataset(
            found, threads=threads, progress=lambda done, total: bar.update(task, total=total, advance=done)
        )


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
        severity = Text(finding.severity, _STYLES[finding.severity])
        table.add_row(severity, finding.check, Text.assemble(finding.text, *examples))
    console.print(table, highlight=False)
