"""The training loop. It fits on a page; everything it calls stands under its own name."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from partreid import processes
from partreid.datasets.augment import Augmentation, Augmented
from partreid.datasets.loaders import ImageBatch, TrainLoader
from partreid.datasets.provenance import describe_data
from partreid.datasets.readers import DataLike
from partreid.environment import describe_environment
from partreid.errors import CheckpointError
from partreid.files import hold_work, mend_folder, recover_folder
from partreid.models.backbones import Backbone, gains_from_bfloat16
from partreid.models.checkpoint import CHECKPOINT_FOLDER, Checkpoint
from partreid.objects import Guided
from partreid.progress import Progress as Shows
from partreid.progress import no_progress
from partreid.runtime import RuntimeConfig, check_compiler, keep_freed_memory, resolve_arithmetic, resolve_device
from partreid.training.cached_maps import CachedMaps, MapBatch, MapSource, cached_maps, remove_maps
from partreid.training.callbacks import StepRecord, TrainingCallback
from partreid.training.data import TrainingData, check_same_config, check_same_data, training_images
from partreid.training.distributed import gather, start_fabric
from partreid.training.meter import Meter
from partreid.training.presets import get_preset
from partreid.training.source import keep_frozen_statistics, keeps_whole, source_vectors
from partreid.training.state import LOCK_FILE, Progress, checkpoint_stamp, restore, save_run
from partreid.training.supervised import SupervisedModel, class_centres, new_learner
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDImage, identities

if TYPE_CHECKING:
    from lightning_fabric.wrappers import _FabricModule


class Trainer(Guided):
    """Trains one model; under torchrun, as one of several processes.

    Args:
        config: the configuration; the name of a preset (:data:`~partreid.training.presets.PRESETS`) works too.
        data: a data set, its name or folder, its images, or several sets, which are joined.
        run: folder of the checkpoint. runtime: device, precision, threads.
        callbacks: called at every step and epoch, in the first process only.

    Raises:
        DataError, LabelError: there is no such data set, or it does not fit this training.
        CheckpointError: pretrained weights are missing or do not fit.
        ConfigError: there is no such preset, or this machine cannot run as ``runtime`` asks.

    Example:
        >>> checkpoint = Trainer("light", "market1501", "runs/light").fit()  # doctest: +SKIP
    """

    def __init__(
        self,
        config: TrainConfig | str,
        data: DataLike | Sequence[DataLike] | Sequence[ReIDImage],
        run: str | Path,
        *,
        runtime: RuntimeConfig | None = None,
        callbacks: Sequence[TrainingCallback] = (),
    ) -> None:
        config = get_preset(config) if isinstance(config, str) else TrainConfig.given(config)
        images = training_images(data, labels=config.labels)
        self.config = config
        self.run = Path(run)
        self.callbacks = callbacks
        self.runtime = runtime or RuntimeConfig()
        if self.runtime.compile:
            check_compiler()
        device = resolve_device(self.runtime.device)
        if device.type == "cpu":
            keep_freed_memory()
            # Dead channels decay to denormal numbers, which are many times slower.
            torch.set_flush_denormal(True)
        gains = gains_from_bfloat16(config.model.backbone)
        arithmetic = resolve_arithmetic(device, self.runtime.precision, gains=gains)
        self.loader = TrainLoader(
            images,
            config.batch,
            size=config.preprocess.size,
            schema=config.label_schema,
            map_size=config.map_size,
            seed=config.seed,
            runtime=self.runtime,
        )
        self._shares = config.distributed.batch == "across_devices"
        self.loader.sampler.share(processes.rank(), processes.count(), split=self._shares)
        self.augmentation = Augmentation(config.augment, config.preprocess, config.map_size, config.label_schema)
        self.pid_index = torch.tensor(self.loader.pid_index)
        self.pids = tuple(pid for _, pid in identities(images))
        self._trained_on = describe_data(images)
        self.fabric = start_fabric(device, arithmetic)
        self._gather = gather if processes.launched() and self._shares else None
        self.progress = Progress(0, {}, self.pids, processes=processes.count())
        self._source: Backbone | None = None  # the original network, until everything needed was computed from it
        self._source_vectors: Tensor | None = None
        self._maps: CachedMaps | None = None  # of the images, if the backbone up to its map is frozen
        self._arithmetic = arithmetic
        self.learner = new_learner(config, len(self.pids), device, self.fabric.strategy.precision, gather=self._gather)
        if config.objective.distills or self._caches:
            self._source = copy.deepcopy(self.learner.model.backbone).eval()
        self._saved_at = time.monotonic()
        self._stamp: tuple[int, ...] | None = None  # stamp of the checkpoint that this training continues

    @property
    def _batch_images(self) -> int:
        return self.loader.sampler.batch_images * self.config.batch.views

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.progress.epoch

    def resume(self, *, allow_changes: bool = False) -> None:
        """Continue from the run folder's checkpoint, exactly after the step at which it was written.

        Args:
            allow_changes: resume even if images, labels or fields of the configuration have changed since the run was
                started; otherwise only ``optimizer.epochs`` may change.

        Raises:
            CheckpointError: there is no checkpoint; it has another model, other persons, other data or another
                configuration; or another process trains in the folder.
        """
        checkpoint_stamp(self.run)  # first: without a run, no folder should be made
        with self._alone():
            if processes.is_first():
                mend_folder(self.run / CHECKPOINT_FOLDER)
            self.fabric.barrier()
            progress = restore(self.run, self.learner, self.pids, shares=self._shares)
            if progress.epoch > self.config.optimizer.epochs:
                raise CheckpointError(
                    f"{self.run} has {progress.epoch} epochs already: more than optimizer.epochs = "
                    f"{self.config.optimizer.epochs} asks for."
                )
            if processes.is_first():
                data = self._describe_data()
                if not allow_changes:
                    check_same_config(self.run, self.config)
                    check_same_data(self.run, progress.data, data)
                progress = replace(progress, data=data.digests)
                self._stamp = checkpoint_stamp(self.run)
            self.progress = progress

    def fit(self) -> Checkpoint:
        """Train to the last epoch. Every epoch ends with a complete checkpoint on disk.

        Returns:
            The trained model; in the first process the average of its weights, if there is one.

        Raises:
            TrainingError: the loss or a weight is no longer a finite number.
            CheckpointError: a checkpoint cannot be written, the folder contains a run that was not resumed, or another
                process trains in it.
        """
        with self._alone():
            self._begin()
            self._prepare(lambda text: None, no_progress)
            return self._fit()

    def prepare(self, *, say: Callable[[str], object] = lambda text: None, progress: Shows = no_progress) -> None:
        """Do all computations that are needed only once. :meth:`fit` does this too, but without progress.

        These are the vectors of the original network, if distillation uses them, and the feature maps of all images, if
        the backbone up to its map is frozen.

        Args:
            say: called with messages in the first process. progress: shows the progress.

        Raises:
            ConfigError: the maps do not fit into their budget.
            CheckpointError: as :meth:`fit`, or a file cannot be written.
        """
        with self._alone():
            self._begin()
            self._prepare(say, progress)

    def _begin(self) -> None:
        if processes.is_first():
            self._check_folder()
            if not self.progress.data:
                self.progress = replace(self.progress, data=self._describe_data().digests)

    def _alone(self) -> AbstractContextManager[None]:
        """Within the block no other process can train into the same folder."""
        if not processes.is_first():
            return nullcontext()
        return hold_work(self.run / LOCK_FILE, f"training into {self.run}", error=CheckpointError)

    def _check_folder(self) -> None:
        """Check that the checkpoint to be replaced is the one that this training continues."""
        there = recover_folder(self.run / CHECKPOINT_FOLDER).exists()
        if there and not self.progress.begun:
            raise CheckpointError(f"{self.run} already holds a run. Resume it, or choose another folder.")
        if self._stamp is not None and (not there or checkpoint_stamp(self.run) != self._stamp):
            raise CheckpointError(f"Another process has written into {self.run} since it was resumed. Resume it again.")

    def _describe_data(self) -> TrainingData:
        labels = self.config.label_schema is not None
        return TrainingData.of(self.loader.dataset.images, self.loader.pid_index, labels=labels)

    def _prepare(self, say: Callable[[str], object], progress: Shows) -> None:
        """The first process computes the files in the run's folder and reports about it. The others read them."""
        say = say if processes.is_first() else (lambda text: None)
        for first in (True, False):
            if processes.is_first() is first:
                if self._maps is None and self._caches:
                    self._maps = self._cache(say, progress)
                    self._source_vectors = self._maps.clean_vectors() if self.config.objective.distills else None
                elif self.config.objective.distills and self._source is not None and self._source_vectors is None:
                    self._source_vectors = source_vectors(
                        self._source, self.loader.dataset, self.config.preprocess, self.run, progress
                    )
            self.fabric.barrier()
        self._source = None

    @property
    def _caches(self) -> bool:
        whole = keeps_whole(self.learner.model.backbone, self.config.optimizer.frozen_stride)
        return whole and self.config.cached_maps.variants > 0 and self.epoch < self.config.optimizer.epochs

    def _cache(self, say: Callable[[str], object], progress: Shows) -> CachedMaps:
        digests = self.progress.data or self._describe_data().digests
        assert self._source is not None
        source = MapSource.of(
            self._source, self.config, self.loader.dataset, self.pid_index, self.augmentation, digests
        )
        return cached_maps(
            source, self.config.cached_maps, self.run, device=self.fabric.device, arithmetic=self._arithmetic, say=say,
            progress=progress,
        )  # fmt: skip

    def _fit(self) -> Checkpoint:
        supervised = SupervisedModel(
            self.learner.model,
            self.config.objective,
            extra=self.learner.extra,
            gather=self._gather,
            compiled=self.runtime.compile,
        )
        model, optimizer = self.fabric.setup(supervised, self.learner.optimizer)
        try:
            while self.epoch < self.config.optimizer.epochs:
                self._train_epoch(model, optimizer)
                self.progress = self.progress.after_epoch()
                self._save()
                for callback in self._told:
                    callback.on_epoch(self.epoch - 1, self.progress.means)
        finally:
            for callback in self._told:
                callback.close()
        self.fabric.barrier()
        self._maps = None
        if processes.is_first() and not self.config.cached_maps.keep:
            remove_maps(self.run)
        return Checkpoint(self.learner.result.eval(), self.config.preprocess)

    def _train_epoch(self, model: _FabricModule, optimizer: torch.optim.Optimizer) -> None:
        """The steps of an epoch that are not done yet."""
        model.train()
        keep_frozen_statistics(model)
        epoch, size, sampler = self.epoch, self.config.optimizer.accumulation, self.loader.sampler
        if self.config.batch.look_alikes and not self.progress.step:
            self.progress = replace(self.progress, centres=class_centres(self.learner.model, self.config.objective))
        sampler.together(self.progress.centres)
        read = self.loader.epoch if self._maps is None else self.loader.order
        batches: Iterator[ImageBatch | list[int]] = iter(read(epoch, start=self.progress.step * size))
        steps = math.ceil(sampler.batches / size)
        meter = Meter(self.fabric.device, lambda values: cast(Tensor, self.fabric.all_reduce(values)))
        for step in range(self.progress.step, steps):
            rate = self.config.optimizer.rate(epoch + step / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            optimizer.zero_grad(set_to_none=True)
            count = min(size, sampler.batches - step * size)
            losses = []
            for i, batch in enumerate(islice(batches, count)):
                with self.fabric.no_backward_sync(model, enabled=i + 1 < count):
                    losses.append(self._losses(batch, step * size + i, model))
                    self.fabric.backward(losses[-1]["loss"] / count)
            meter.add(
                StepRecord(epoch, step, steps, {"learning_rate": rate}), losses, images=count * self._batch_images
            )
            records = meter.read() if meter.due else []  # first, so that a CPU takes no step with a broken loss
            optimizer.step()
            if self.learner.average is not None:
                self.learner.average.update(self.learner.model)
            self._report(records)

    def _losses(self, batch: ImageBatch | list[int], number: int, model: torch.nn.Module) -> dict[str, Tensor]:
        """Augment a batch and compute its losses. ``number``: of the batch in its epoch."""
        # All randomness derives from the seed and the batch's number. So a resumed run draws the same as an
        # uninterrupted one.
        state = np.random.SeedSequence([self.config.seed, self.epoch, number, processes.rank()])
        augmenting, network = (int(seed) for seed in state.generate_state(2, np.uint32))
        generator = torch.Generator().manual_seed(augmenting)
        torch.manual_seed(network)
        index = batch.index if isinstance(batch, ImageBatch) else torch.tensor(batch)
        index = index.repeat(self.config.batch.views)
        pid_index = self.pid_index[index].to(self.fabric.device)
        source = None if self._source_vectors is None else self._source_vectors[index].to(self.fabric.device)
        varied: Augmented | MapBatch
        if isinstance(batch, ImageBatch):
            batch = batch.repeated(self.config.batch.views).to(self.fabric.device)
            varied = self.augmentation(batch.images, batch.part_maps, pid_index, generator)
            varied = varied._replace(images=varied.images.contiguous(memory_format=torch.channels_last))
        else:
            assert self._maps is not None
            varied = self._maps.draw(index, generator).to(self.fabric.device)
        losses: dict[str, Tensor] = model(varied, pid_index, source)
        return losses

    def _report(self, records: Sequence[StepRecord]) -> None:
        """Count steps that were read, call the callbacks, and save from time to time."""
        if not records:
            return
        self.progress = self.progress.after_steps(records)
        for record in records:
            for callback in self._told:
                callback.on_step(record)
        whole = records[-1].step + 1 == records[-1].steps_in_epoch
        minutes = self.runtime.save_minutes
        if minutes and not whole and time.monotonic() - self._saved_at > 60 * minutes:
            self._save()

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if processes.is_first():
            metrics = self.progress.metrics(describe_environment(self.fabric.device)) | {"data": self._trained_on}
            checkpoint = Checkpoint(self.learner.result, self.config.preprocess, metrics)
            save_run(self.run, checkpoint, self.config, self.learner, self.progress)
            self._stamp = checkpoint_stamp(self.run)

    @property
    def _told(self) -> Sequence[TrainingCallback]:
        return self.callbacks if processes.is_first() else ()
