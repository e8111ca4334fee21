"""``partreid experiment``: tables of the paper, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, errors, plain_table, say_error, show_progress
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.experiments.execute import Plan
    from partreid.experiments.rows import Experiment
    from partreid.experiments.runs import Task


def experiment(
    names: Annotated[list[str], typer.Argument(metavar="TABLE...", help="Tables: table1 to table5, or options.")],
    data: opt.MoreData = None,
    limit_ids: opt.LimitIds = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all runs and tables.")] = Path("experiments"),
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings per row, with seeds 0, 1, ...")] = 3,
    preset: opt.Preset = "paper-occluded",
    config: opt.ConfigFile = None,
    overrides: opt.Overrides = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only the row of this name. Repeatable.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="BACKBONE=FILE", help="ImageNet file for the larger backbones of table1. Repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time. On CPUs, one per core is fastest.")] = 1,
    summary: Annotated[bool, typer.Option("--summary", help="Train nothing: only write the tables again.")] = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    workers: opt.Workers = 0,
) -> None:
    """Run the rows of the paper's tables and write each table beside the paper's figures.

    Every training has its own folder in --out. Finished trainings are kept. After an interruption, the same command
    continues, and tries failed rows again. Rows that are the same in several tables are trained once.

    `table1` compares models on several data sets, `table2` the components of BPBReID, `table3` each embedding alone,
    `table4` the losses, `table5` the number of parts, and `options` the additions of this project.
    `table1` uses all data sets, the others use the first one.
    """
    from partreid.experiments.execute import Plan, run_all
    from partreid.experiments.tables import find_experiments

    base = opt.train_config(preset, config, overrides)
    found = partreid.read_datasets(opt.all_datasets(data), labels=base.labels, limit_ids=limit_ids)
    datasets = {dataset.name: dataset for dataset in found}
    chosen = find_experiments(names, list(datasets), _weights(weights or []))
    runtime = opt.runtime_config(device, precision, workers=workers)
    plan = Plan(out=out, base=base, datasets=datasets, seeds=seeds, runtime=runtime, jobs=jobs)
    tasks = plan.tasks([row for one in chosen for row in one.select(rows)])
    failed = []
    if not summary:
        console.print(f"{len(tasks)} trainings, {sum(task.done for task in tasks)} of them done.")
        try:
            failed = run_all(tasks, jobs=jobs, progress=show_progress, told=_print_end)
        except (KeyboardInterrupt, SystemExit):  # the latter after SIGTERM
            errors.print("Finished trainings are kept. The same command continues with the others.", soft_wrap=True)
            raise
    for one in chosen:
        _print_table(plan, one)
    if failed:
        say_error(
            f"{len(failed)} of {len(tasks)} trainings failed, see error.txt in: "
            f"{', '.join(str(task.folder) for task in failed)}. The same command tries them again."
        )
        raise typer.Exit(1)


def _print_end(task: Task, problem: Exception | None) -> None:
    name = f"{task.folder.parent.name}/{task.folder.name}"
    console.print(f"{name} done" if problem is None else f"{name} failed: {problem}", soft_wrap=True)


def _print_table(plan: Plan, one: Experiment) -> None:
    from partreid.experiments.summary import COLUMNS, cells, outcome, summarize, ways, write_tables

    summary = summarize(one, plan.scores(one))
    console.print(plain_table(f"{one.name}: {one.title}, %", COLUMNS, map(cells, summary.rows)))
    for way in ways(summary):
        console.print(way, style="dim")
    console.print(outcome(summary))
    files = write_tables(summary, plan)
    console.print(f"Written: {', '.join(map(str, files))}", soft_wrap=True)


def _weights(assignments: list[str]) -> dict[str, str]:
    pairs = [assignment.partition("=") for assignment in assignments]
    if wrong := [a for a, (_, _, file) in zip(assignments, pairs, strict=True) if not Path(file).is_file()]:
        raise ConfigError(f"Expected --weights BACKBONE=FILE with a file that exists, got {', '.join(wrong)}.")
    return {backbone: file for backbone, _, file in pairs}
