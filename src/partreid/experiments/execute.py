"""The trainings of an experiment: which there are, and running them one after the other or several at a time."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from partreid.errors import DataError, TrainingError
from partreid.evaluation.dataset import query_sets
from partreid.experiments.rows import Experiment, Row
from partreid.experiments.runs import Scores, Task, read_scores, run_task
from partreid.experiments.tables import BPBREID
from partreid.objects import Guided
from partreid.progress import Progress, no_progress
from partreid.runtime import RuntimeConfig
from partreid.surroundings import usable_cores
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDDataset


@dataclass(frozen=True, repr=False)
class Plan(Guided):
    """Where and on what experiments run.

    Attributes:
        out: folder of all runs. base: the configuration that every row departs from.
        datasets: by name; tables of one data set take the first. seeds: 0 .. seeds - 1.
        runtime: where. jobs: trainings at a time, each in a process of its own.

    Raises:
        DataError: a data set has no queries.
    """

    out: Path
    base: TrainConfig
    datasets: Mapping[str, ReIDDataset]
    seeds: int = 3
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    jobs: int = 1

    def __post_init__(self) -> None:
        for dataset in self.datasets.values():
            query_sets(dataset)

    def task(self, row: Row, seed: int) -> Task:
        """The training of a row, and its own comparison.

        Raises:
            ConfigError: the row does not fit the configuration.
            DataError: no data set has training images.
            CheckpointError: its folder holds a run of another configuration.
        """
        config = row.config(self.base, seed)
        # Table 5's row of the preset's own K, for one, is the model of the other tables: it is trained once.
        run = BPBREID.run if config == BPBREID.config(self.base, seed) and not row.data else row.run
        test = self.datasets[row.data] if row.data else next(iter(self.datasets.values()))
        threads = max(1, usable_cores() // self.jobs) if self.jobs > 1 else None
        folder = self.out / run / f"seed{seed}"
        task = Task(folder, config, self._trained_on(test), test, (row.comparison,), self.runtime, threads)
        task.check()  # now, as a run that is scored already would not be looked at again
        return task

    def _trained_on(self, test: ReIDDataset) -> ReIDDataset:
        """The set itself; of one without training images, the first that has some (paper: Market-1501)."""
        for dataset in (test, *self.datasets.values()):
            if dataset.train:
                return dataset
        raise DataError(f"{test.name} has no training images: give the set to train on as well (--data).")

    def tasks(self, rows: Sequence[Row]) -> list[Task]:
        """Every training once with all its comparisons, all rows of seed 0 first."""
        joined: dict[Path, Task] = {}
        for seed in range(self.seeds):
            for row in rows:
                task = self.task(row, seed)
                if task.folder in joined:
                    before = joined[task.folder]
                    task = replace(task, comparisons=tuple(dict.fromkeys((*before.comparisons, *task.comparisons))))
                joined[task.folder] = task
        return list(joined.values())

    def scores(self, experiment: Experiment) -> dict[str, dict[int, Scores]]:
        """What is there already: by row, then by seed.

        Raises:
            DataError: a file of scores cannot be read.
        """
        found: dict[str, dict[int, Scores]] = {}
        for row in experiment.rows:
            for seed in range(self.seeds):
                task = self.task(row, seed)
                known = read_scores(task.folder, task.test)
                if row.comparison.name in known:
                    found.setdefault(row.name, {})[seed] = known[row.comparison.name]
        return found


def run_all(
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    progress: Progress = no_progress,
    told: Callable[[Task, Exception | None], None] = lambda task, problem: None,
) -> list[Task]:
    """Run what is not done, and failed tasks once more at the end.

    Args:
        tasks: all of them. jobs: at a time, each in a process of its own. progress: shows how many are done.
        told: called with each task as it ends, and with its error.

    Returns:
        The tasks that failed twice.
    """
    left = [task for task in tasks if not task.done]
    for job in ("trainings", "failed ones again"):
        if not left:
            break
        failed = []
        with progress(job, len(left)) as advance:
            for task, problem in execute(left, jobs=jobs):
                advance(1)
                told(task, problem)
                if problem is not None:
                    failed.append(task)
        left = failed
    return left


def execute(tasks: Sequence[Task], *, jobs: int = 1) -> Iterator[tuple[Task, Exception | None]]:
    """Run what is not done, and tell each task as it ends, with its error.

    A task that fails does not stop the others, nor does one whose process is killed.
    """
    return _side_by_side(tasks, jobs) if jobs > 1 and len(tasks) > 1 else ((task, _attempt(task)) for task in tasks)


def _side_by_side(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Exception | None]]:
    """Every task in a process of its own, ``jobs`` at a time; when the caller stops early, those that run are ended."""
    context = get_context("spawn")  # a forked child of a process that has used PyTorch's threads may hang
    waiting = deque(tasks)
    running: dict[Connection, tuple[Task, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_attempt_here, args=(task, sender))
                process.start()
                sender.close()  # the child's is then the only one: its end is the end of the pipe
                running[receiver] = task, process
            ready = wait(list(running))
            for receiver in [one for one in running if one in ready]:
                task, process = running.pop(receiver)
                yield task, _outcome(receiver, process)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _attempt_here(task: Task, sender: Connection) -> None:
    """In a process of its own: run the task and send the message of its failure, or None."""
    # After Ctrl-C the parent ends its children, in a way that lets them clear away what is half-written.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    error = _attempt(task)
    # Its text: not every exception survives the way between processes.
    sender.send(None if error is None else str(error) or type(error).__name__)


def _outcome(receiver: Connection, process: SpawnProcess) -> Exception | None:
    try:
        message: str | None = receiver.recv()
    except EOFError:
        process.join()
        message = f"its process was killed (exit status {process.exitcode}), perhaps because memory ran out."
    process.join()
    return None if message is None else TrainingError(message)


def _attempt(task: Task) -> Exception | None:
    try:
        run_task(task)
    except Exception as error:  # any: one row's failure must not cost the others
        return error
    return None
