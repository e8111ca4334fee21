"""What the commands print: text for people, text meant to be saved, tables, progress bars.

Text for people goes through ``console``. It ignores markup, because a name may have ``[brackets]``, and wraps lines
only on a terminal. Text for a program or a file goes through :func:`emit`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from partreid import processes
from partreid.progress import Advance
from partreid.training.callbacks import StepRecord, TrainingCallback

if TYPE_CHECKING:  # the help of the commands must not wait for PyTorch
    from partreid.evaluation.dataset import QuerySetScores

_WIDE = 10_000
"""Columns of a file: nothing is wrapped or folded there."""


class _Console(Console):
    """Prints text as it is. For markup, give a ``style`` or a ``Text``."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, stderr=stderr, quiet=quiet)
        self._width = None  # rich would keep $COLUMNS as it is now; here each line reads it again

    @property  # type: ignore[misc]  # rich also lets others set the size; nobody does
    def size(self) -> ConsoleDimensions:
        """The size of the terminal, or from ``$COLUMNS``; a file or a pipe has room for any line."""
        return super().size if self.drawable or "COLUMNS" in os.environ else ConsoleDimensions(_WIDE, 25)

    @property
    def drawable(self) -> bool:
        """Whether the output is a terminal on which bars can be drawn; FORCE_COLOR alone does not make it one."""
        return self.file.isatty() and not self.is_dumb_terminal


_FIRST_LINE, _LAST_LINE = 10.0, 300.0
"""Without a terminal: seconds to a bar's first line, which is also the least time between two lines; and the most."""
_SELDOM = 0.1
"""Seconds between two lines, as a fraction of the time passed."""

console = _Console(quiet=not processes.is_first())  # of several processes under torchrun, one prints
errors = _Console(stderr=True)


def emit(text: str) -> None:
    """Print text that is meant to be saved or read by a program: these characters and no others, as UTF-8.

    Nothing is wrapped, coloured or taken for markup, whatever the terminal, its width and its encoding. In JSON, bytes
    of a file's name that are no text come out as escapes that JSON reads again.
    """
    if console.quiet:
        return
    text = text if text.endswith("\n") else text + "\n"
    stream = console.file
    buffer = None if stream.isatty() else getattr(stream, "buffer", None)
    stream.flush()
    if buffer is None:
        stream.write(text)
    else:
        buffer.write(text.encode("utf-8", errors="backslashreplace"))
        buffer.flush()


def emit_json(value: object) -> None:
    """Print a value as JSON, for programs. It holds no NaN and no infinity, which JSON does not know."""
    emit(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))


def emit_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere one line per row, its cells between tabs, for ``grep`` and ``cut``."""
    if console.drawable:
        console.print(plain_table(title, columns, rows))
    else:
        emit("".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows))


def say_error(text: object) -> None:
    """Print an error message to the error stream."""
    errors.print(Text.assemble(("error:", "bold red"), f" {text}"), soft_wrap=True)


def say_warning(text: object) -> None:
    """Print a warning to the error stream."""
    errors.print(Text.assemble(("warning:", "yellow"), f" {text}"), soft_wrap=True)


class _Bar(Progress):
    """A bar on a terminal; elsewhere lines at growing intervals, and one at the end."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", style="dim", markup=False),
            console=console,
            disable=not console.drawable,
        )
        self._start = time.monotonic()
        self._line_due = self._start + _FIRST_LINE

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Move a bar, as in rich."""
        super().update(task_id, **changes)
        self._write_line(task_id)

    def _write_line(self, task_id: TaskID, *, last: bool = False) -> None:
        now = time.monotonic()
        if not self.disable or (now < self._line_due and not last):
            return
        passed = now - self._start
        self._line_due = now + min(max(passed * _SELDOM, _FIRST_LINE), _LAST_LINE)
        task = self._tasks[task_id]
        done = f"{task.completed:.0f}" if task.completed % 1 == 0 else f"{task.completed:.2f}"
        parts = [f"{task.description}: {done}" + (f" of {task.total:.0f}" if task.total else ""), f"{passed:.0f} s"]
        if task.time_remaining and not last:
            parts.append(f"about {task.time_remaining:.0f} s left")
        console.print(", ".join(filter(None, [*parts, task.fields["status"]])))


@contextmanager
def progress_bar(description: str, total: int, *, done: int = 0) -> Iterator[tuple[Progress, TaskID]]:
    """A bar with a count, the time left and a free text field ``status``; lines where there is no terminal."""
    with _Bar() as progress:
        task = progress.add_task(description, total=total, completed=done, status="")
        yield progress, task
        progress._write_line(task, last=True)


@contextmanager
def show_progress(job: str, total: int, /) -> Iterator[Advance]:
    """The :class:`~partreid.progress.Progress` of the commands: :func:`progress_bar`."""
    with progress_bar(job, total) as (progress, task):
        yield lambda count: progress.update(task, advance=count)


class ProgressCallback(TrainingCallback):
    """Shows training: a bar over epochs with the present losses."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def on_step(self, record: StepRecord) -> None:
        """Move within the epoch."""
        done = record.epoch + (record.step + 1) / record.steps_in_epoch
        self._progress.update(self._task, completed=done, status=_loss_line(record.values))

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """A line per epoch where there is no terminal to draw a bar on."""
        if not console.drawable:
            console.print(f"epoch {epoch + 1}: {_loss_line(means)}")


def _loss_line(values: Mapping[str, float]) -> str:
    """The objective, its terms summed by kind, and the speed, in one short line."""
    sums = {
        short: sum(value for name, value in values.items() if name.partition("/")[0] == kind)
        for kind, short in (("identity", "id"), ("triplet", "tri"), ("part_attention", "att"))
    }
    terms = "".join(f" {short} {value:.2f}" for short, value in sums.items() if value)
    return f"loss {values['loss']:.2f}{terms} {values['images_per_second']:.0f}/s"


def scores_table(scores: Mapping[tuple[str, str], QuerySetScores]) -> Table:
    """Rank-k, mAP and mINP by (data set, query set), in percent; of several sets without rank-5 and 10, to fit."""
    datasets = {dataset for dataset, _ in scores}
    several = len(datasets) > 1
    ranks = (1,) if several else (1, 5, 10)
    where = "" if several else f" on {next(iter(datasets))}"  # a subset says so in its name
    table = Table(title=Text(f"Retrieval{where}, all slots compared (Eq. 9), %"), title_justify="left")
    for name in ("data set", "query set") if several else ("query set",):
        table.add_column(name, overflow="fold")
    for name in ("queries", "gallery", *(f"rank-{k}" for k in ranks), "mAP", "mINP"):
        table.add_column(name, justify="right")
    for (dataset, query_set), score in scores.items():
        for name, result in ((query_set, score.result), (f"{query_set}, re-ranked", score.reranked)):
            if result is None:
                continue
            figures = (*map(result.rank, ranks), result.mean_ap, result.mean_inp)
            shown = [f"{100 * figure:.1f}" for figure in figures]
            if "rank1" in result.confidence:
                for column, metric in ((0, "rank1"), (len(ranks), "mAP")):
                    low, high = result.confidence[metric]
                    shown[column] += f" [{100 * low:.1f}, {100 * high:.1f}]"
            names = (dataset, name) if several else (name,)
            table.add_row(*names, str(result.num_queries), str(result.num_gallery), *shown)
    return table


def slots_table(scores: Mapping[str, QuerySetScores], *, dataset: str = "") -> Table:
    """Each embedding alone and all together (the paper's Table 3): rank-1 / mAP per query set, in percent."""
    where = f"{dataset}, each" if dataset else "Each"
    table = Table(title=f"{where} embedding alone: rank-1/mAP · queries that show it, %", title_justify="left")
    table.add_column("compared by", no_wrap=True)
    for name in scores:
        table.add_column(name, justify="right", no_wrap=True)
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
        table.add_row(*row)
    return table


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "query"), counted(2, "query"), counted(0, "item")
        ('1 query', '2 queries', '0 items')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
