"""Worker processes that make shards: one that is killed is replaced, and what it had not finished is made again."""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeAlias

import torch

from partreid.errors import ConfigError, DataError, PartReIDError
from partreid.inference.extractor import PartExtractor
from partreid.inference.shards import ShardJob, embed_shards
from partreid.runtime import keep_freed_memory

MakeExtractor: TypeAlias = Callable[[], PartExtractor]
"""Makes the extractor in another process: ``functools.partial(PartExtractor.from_pretrained, "runs/light")``."""

_MOST_LOST = 3
"""A worker is replaced so often; one that always dies would go on for ever."""


def embed_with_workers(
    make: MakeExtractor, job: ShardJob, *, workers: int, skip: bool = False, shards: Sequence[int] | None = None
) -> Iterator[tuple[int, int]]:
    """Make the missing shards in several processes, each one whole shards with one thread of PyTorch.

    Args:
        make: called in every process; it must be something that pickle can send. job: the folder.
        workers: processes. skip: as in :func:`~partreid.inference.shards.embed_shards`.
        shards: the missing ones, where they are known: to find out, every shard is read.

    Yields:
        (shard, images done of it since it was last named); a negative number where a worker was lost.

    Raises:
        ConfigError: fewer than one worker.
        DataError: as ``embed_shards``, or processes were lost again and again.
    """
    if workers < 1:
        raise ConfigError(f"Expected at least one worker, got {workers}.")
    pending = deque(job.missing() if shards is None else shards)
    lost = 0
    team = [_Worker.start(make, job, skip=skip) for _ in range(min(workers, len(pending)))]
    try:
        while team:
            for connection in wait([worker.connection for worker in team]):
                worker = next(worker for worker in team if worker.connection is connection)
                try:
                    yield from worker.answer(pending)
                    continue
                except EOFError:  # it has ended
                    team.remove(worker)
                unfinished = [shard for shard in worker.shards if not job.is_whole(shard)]
                yield from ((shard, -worker.done[shard]) for shard in unfinished)
                pending.extendleft(reversed(unfinished))
                if unfinished or not worker.dismissed:
                    lost += 1
                    worker.check(lost)
                if pending:
                    team.append(_Worker.start(make, job, skip=skip))
    finally:
        for worker in team:
            worker.process.terminate()
            worker.process.join()


@dataclass
class _Worker:
    """A process, and what it was given.

    Attributes:
        process, connection: to it. shards: that it was given. done: images done by shard.
        dismissed: it was told that there are no more.
    """

    process: BaseProcess
    connection: Connection
    shards: list[int] = field(default_factory=list)
    done: Counter[int] = field(default_factory=Counter)
    dismissed: bool = False

    @classmethod
    def start(cls, make: MakeExtractor, job: ShardJob, *, skip: bool) -> _Worker:
        context = get_context("spawn")  # forking a process that has threads may lock it for ever
        mine, its = context.Pipe()
        process = context.Process(target=_work, args=(make, job, its), kwargs={"skip": skip}, daemon=True)
        process.start()
        its.close()  # else the end of the process would not be noticed
        return cls(process, mine)

    def answer(self, pending: deque[int]) -> Iterator[tuple[int, int]]:
        """Take one message: a wish for a shard, images done, or an error."""
        try:
            message = self.connection.recv()
        except OSError:
            raise EOFError from None
        if isinstance(message, PartReIDError):
            raise message
        if message is not None:
            shard, count = message
            self.done[shard] += count
            yield shard, count
            return
        shard = pending.popleft() if pending else None
        if shard is None:
            self.dismissed = True
        else:
            self.shards.append(shard)
        try:
            self.connection.send(shard)
        except OSError:
            raise EOFError from None

    def check(self, lost: int) -> None:
        """Whether another process is worth a try."""
        self.process.join()
        if lost > _MOST_LOST:
            raise DataError(
                f"{lost} worker processes were lost, the last with exit code {self.process.exitcode} (-9: killed, "
                "often for want of memory). What was finished is kept; go on with fewer workers or smaller batches."
            )


def _work(make: MakeExtractor, job: ShardJob, connection: Connection, *, skip: bool) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    torch.set_num_threads(1)
    keep_freed_memory()

    def shards() -> Iterator[int]:
        while True:
            connection.send(None)
            shard = connection.recv()
            if shard is None:
                return
            yield shard

    try:
        for progress in embed_shards(make(), job, shards(), skip=skip, readers=1):
            connection.send(progress)
    except PartReIDError as error:
        with suppress(OSError):
            connection.send(error)
    except (EOFError, OSError):  # the first process is gone
        return
