"""Shards made by the workers of a Ray cluster, with Ray Data. Ray is imported here only."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from partreid.errors import ConfigError, DataError, MissingDependencyError, PartReIDError
from partreid.inference.shards import ShardJob, embed_shards
from partreid.inference.workers import MakeExtractor
from partreid.runtime import keep_freed_memory


def embed_with_ray(
    make: MakeExtractor,
    job: ShardJob,
    *,
    workers: int = 0,
    skip: bool = False,
    gpus: float = 0.0,
    shards: Sequence[int] | None = None,
) -> Iterator[tuple[int, int]]:
    """Make the missing shards on a Ray cluster: the one of ``RAY_ADDRESS``, or one started here.

    A shard is a row of a Ray data set; an actor makes it and writes it by itself, whole or not at all. What a killed
    actor had not finished Ray gives to another, which leaves shards that are whole as they are. All machines need the
    images, the model and the folder at the same paths.

    Args:
        make: as in :func:`~partreid.inference.workers.embed_with_workers`. job: the folder.
        workers: actors, each with one CPU slot; 0 = all but one. One slot always stays free for Ray Data itself, which
            would wait for ever without.
        skip: as in :func:`~partreid.inference.shards.embed_shards`. gpus: that each actor takes.
        shards: as in ``embed_with_workers``.

    Yields:
        (shard, its images), once it is on the disk.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: the cluster has too few CPU slots.
        DataError: as ``embed_shards``.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingDependencyError("Ray", purpose="Embedding on a cluster", extra="ray") from None
    missing = job.missing() if shards is None else list(shards)
    if not missing:
        return
    started = not ray.is_initialized()
    if started:
        _start(ray, workers)
    try:
        slots = int(ray.cluster_resources().get("CPU", 0))
        if slots < max(workers, 1) + 1:
            raise ConfigError(
                f"{max(workers, 1)} workers need a CPU slot each and one for Ray Data, and the cluster has {slots}. "
                "Ask for fewer with --workers, or start Ray with more: ray start --num-cpus."
            )
        ray.data.DataContext.get_current().enable_progress_bars = False  # there is one already
        rows = ray.data.from_items([{"shard": shard} for shard in missing], override_num_blocks=len(missing))
        actors = {
            "fn_constructor_kwargs": {"make": make, "job": job, "folder": Path.cwd(), "skip": skip},
            "compute": ray.data.ActorPoolStrategy(size=min(workers or slots - 1, len(missing))),
        }
        for row in rows.map(_ShardMaker, num_cpus=1, num_gpus=gpus, **actors).iter_rows():
            if row["error"]:
                raise DataError(str(row["error"]))
            yield int(row["shard"]), job.size(int(row["shard"]))
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any, workers: int) -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one on this machine."""
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    # Slots are a matter of counting: one more than there are actors, also on a machine with a single core.
    slots = max(workers, (os.cpu_count() or 2) - 1) + 1
    ray.init(num_cpus=slots, include_dashboard=False, **quiet)


class _ShardMaker:
    """What an actor does."""

    def __init__(self, make: MakeExtractor, job: ShardJob, folder: Path, *, skip: bool) -> None:
        os.chdir(folder)  # the names may be relative to where the command was given
        torch.set_num_threads(1)
        keep_freed_memory()
        self._extractor, self._job, self._skip = make(), job, skip

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        shard, error = int(row["shard"]), ""
        try:
            if not self._job.is_whole(shard):  # else a killed actor had just finished it
                for _ in embed_shards(self._extractor, self._job, [shard], skip=self._skip, readers=1):
                    pass
        except PartReIDError as problem:  # as text: Ray would wrap it in a trace of its own
            error = str(problem)
        return {"shard": shard, "error": error}
