"""``partreid experiment``: tables of the paper, row by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, errors, plain_table, progress_bar, say_error
from partreid.cli.options import (
    ConfigFile,
    Device,
    LimitIds,
    MoreData,
    Overrides,
    PrecisionOption,
    Preset,
    Workers,
    all_datasets,
    runtime_config,
    train_config,
)
from partreid.datasets.readers import read_datasets
from partreid.errors import ConfigError, DataError, nearest
from partreid.experiments.execute import Plan, execute
from partreid.experiments.report import COLUMNS, as_json, as_markdown, cells, outcome, ways
from partreid.experiments.rows import Experiment
from partreid.experiments.runs import Task
from partreid.experiments.summary import summarize
from partreid.experiments.tables import EXPERIMENTS, table1
from partreid.files import atomic_file
from partreid.types import ReIDDataset

TABLE1 = "table1"
NAMES = (TABLE1, *EXPERIMENTS)


def experiment(
    names: Annotated[list[str], typer.Argument(metavar="TABLE...", help=f"Which: {', '.join(NAMES)}.")],
    data: MoreData = None,
    limit_ids: LimitIds = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all runs and tables.")] = Path("experiments"),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row, with seeds 0, 1, ...")] = 3,
    preset: Preset = "paper-occluded",
    config: ConfigFile = None,
    overrides: Overrides = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only this row, by its name. Repeatable.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="BACKBONE=FILE", help="ImageNet file for the larger backbones of table1. Repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time. On CPUs, one per core is quickest.")] = 1,
    summary: Annotated[bool, typer.Option("--summary", help="Train nothing: only write the tables anew.")] = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    workers: Workers = 0,
) -> None:
    """Run the rows of the paper's tables and write each table beside the paper's figures.

    Every training has a folder of its own in --out. What is done is kept: the same command goes on where it stopped,
    and rows that failed are tried again. Tables share trainings where their rows are the same.

    `table1` compares models on several data sets, `table2` the components of BPBReID, `table3` each embedding alone,
    `table4` the losses, `table5` the number of parts, `options` what this project adds to the paper.
    `table1` takes all data sets, the others the first.
    """
    base = train_config(preset, config, overrides)
    datasets = {
        dataset.name: dataset for dataset in read_datasets(all_datasets(data), labels=base.labels, limit_ids=limit_ids)
    }
    _check_queries(datasets)
    chosen = _experiments(names, list(datasets), _weights(weights or []))
    plan = Plan(
        out=out,
        base=base,
        datasets=datasets,
        seeds=seeds,
        runtime=runtime_config(device, precision, workers),
        jobs=jobs,
    )
    tasks = plan.tasks([row for one in chosen for row in one.select(rows)])
    try:
        failed = [] if summary else _run(tasks, jobs)
    except (KeyboardInterrupt, SystemExit):  # the latter after SIGTERM
        errors.print("What is done is kept. The same command goes on where this one stopped.", soft_wrap=True)
        raise
    for one in chosen:
        _write(plan, one)
    if failed:
        say_error(
            f"{len(failed)} of {len(tasks)} trainings failed, see error.txt in: "
            f"{', '.join(str(task.folder) for task in failed)}. The same command tries them again."
        )
        raise typer.Exit(1)


def _run(tasks: Sequence[Task], jobs: int) -> list[Task]:
    """Run what is not done, failures once more at the end; returns what failed twice."""
    left = [task for task in tasks if not task.done]
    console.print(f"{len(tasks)} trainings, {len(tasks) - len(left)} of them done.")
    for attempt in ("first", "second"):
        failed = []
        if not left:
            break
        with progress_bar("trainings" if attempt == "first" else "failed ones again", len(left)) as (progress, task):
            for one, problem in execute(left, jobs=jobs):
                name = f"{one.folder.parent.name}/{one.folder.name}"
                progress.update(task, advance=1, status=name)
                if problem is not None:
                    failed.append(one)
                    console.print(f"{name} failed: {problem}", markup=False, soft_wrap=True)
                elif not console.drawable:
                    console.print(f"{name} done", markup=False)
        left = failed
    return left


def _write(plan: Plan, one: Experiment) -> None:
    summary = summarize(one, plan.scores(one))
    console.print(plain_table(f"{one.name}: {one.title}, %", COLUMNS, map(cells, summary.rows)))
    for way in ways(summary):
        console.print(way, style="dim", markup=False, highlight=False)
    console.print(outcome(summary))
    for suffix, text in (
        (".md", as_markdown(summary, plan)),
        (".json", json.dumps(as_json(summary), indent=2) + "\n"),
    ):
        with atomic_file(plan.out / f"{one.name}{suffix}", error=DataError) as temporary:
            temporary.write_text(text, encoding="utf-8")
    console.print(f"Written: {plan.out / one.name}.md and .json", markup=False)


def _experiments(names: Sequence[str], datasets: Sequence[str], weights: dict[str, str]) -> list[Experiment]:
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"Unknown experiment {name!r}. {nearest(name, NAMES)}")
    return [table1(datasets, weights) if name == TABLE1 else EXPERIMENTS[name] for name in dict.fromkeys(names)]


def _weights(assignments: Sequence[str]) -> dict[str, str]:
    pairs = [assignment.partition("=") for assignment in assignments]
    if wrong := [a for a, (_, _, file) in zip(assignments, pairs, strict=True) if not Path(file).is_file()]:
        raise ConfigError(f"Expected --weights BACKBONE=FILE with a file that exists, got {', '.join(wrong)}.")
    return {backbone: file for backbone, _, file in pairs}


def _check_queries(datasets: dict[str, ReIDDataset]) -> None:
    if without := [dataset for dataset in datasets.values() if not dataset.queries]:
        raise DataError(f"{without[0].name} ({without[0].root}) has no query images to score a row on.")
