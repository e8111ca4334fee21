"""What the commands print: one console, tables, progress bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from partreid import processes
from partreid.evaluation.dataset import QuerySetScores
from partreid.training.observers import StepRecord

console = Console(quiet=not processes.is_first())  # of several processes under torchrun, one prints
errors = Console(stderr=True)

_KINDS = {"identity": "id", "triplet": "tri", "part_attention": "att"}


@contextmanager
def progress_bar(description: str, total: int, *, done: int = 0) -> Iterator[tuple[Progress, TaskID]]:
    """A bar with a count, the time left and a free text field ``status``."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", style="dim"),
        console=console,
    ) as progress:
        yield progress, progress.add_task(escape(description), total=total, completed=done, status="")


class ProgressObserver:
    """Shows training: a bar over epochs with the present losses."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def on_step(self, record: StepRecord) -> None:
        """Move within the epoch."""
        done = record.epoch + (record.step + 1) / record.steps_in_epoch
        self._progress.update(self._task, completed=done, status=loss_line(record.values))

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """A line per epoch where there is no terminal to draw a bar on."""
        if not console.is_terminal:
            console.print(f"epoch {epoch + 1}: {loss_line(means)}", soft_wrap=True)

    def close(self) -> None:
        """Nothing to close."""


def loss_line(values: Mapping[str, float]) -> str:
    """The objective, its terms summed by kind, and the speed, in one short line."""
    sums = {
        short: sum(value for name, value in values.items() if name.partition("/")[0] == kind)
        for kind, short in _KINDS.items()
    }
    terms = "".join(f" {short} {value:.2f}" for short, value in sums.items() if value)
    return f"loss {values['loss']:.2f}{terms} {values['pictures_per_second']:.0f}/s"


def scores_table(scores: Mapping[tuple[str, str], QuerySetScores]) -> Table:
    """Rank-k, mAP and mINP by (data set, query set), in percent; of several sets without rank-5 and 10, to fit."""
    several = len({dataset for dataset, _ in scores}) > 1
    ranks = (1,) if several else (1, 5, 10)
    table = Table(title="Retrieval, all slots compared (Eq. 9), %", title_justify="left")
    for name in ("data set", "query set") if several else ("query set",):
        table.add_column(name, overflow="fold")
    for name in ("queries", "gallery", *(f"rank-{k}" for k in ranks), "mAP", "mINP"):
        table.add_column(name, justify="right")
    shown_results = [
        (dataset, name + suffix, result)
        for (dataset, name), score in scores.items()
        for suffix, result in (("", score.result), (", re-ranked", score.reranked))
        if result is not None
    ]
    for dataset, name, result in shown_results:
        figures = [*map(result.rank, ranks), result.mean_ap, result.mean_inp]
        shown = [f"{100 * figure:.1f}" for figure in figures]
        if "rank1" in result.confidence:
            for column, metric in ((0, "rank1"), (len(ranks), "mAP")):
                low, high = result.confidence[metric]
                shown[column] += f" [{100 * low:.1f}, {100 * high:.1f}]"
        names = map(escape, (dataset, name) if several else (name,))
        table.add_row(*names, str(result.num_queries), str(result.num_gallery), *shown)
    return table


def slots_table(scores: Mapping[str, QuerySetScores], *, dataset: str = "") -> Table:
    """Each embedding alone and all together (the paper's Table 3): rank-1 / mAP per query set, in percent."""
    where = f"{escape(dataset)}, each" if dataset else "Each"
    table = Table(title=f"{where} embedding alone: rank-1/mAP · queries that show it, %", title_justify="left")
    table.add_column("compared by", no_wrap=True)
    for name in scores:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for rows in zip(*(score.slots for score in scores.values()), strict=True):
        bold = "bold" if "+" in rows[0].name else ""
        cells = [f"{100 * r.rank1:.1f}/{100 * r.mean_ap:.1f} ·{100 * r.visible:4.0f}" for r in rows]
        table.add_row(rows[0].name, *cells, style=bold)
    return table


def plain_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain text."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
