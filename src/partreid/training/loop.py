"""The training loop. It fits on a page; everything it calls stands under its own name."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from partreid.datasets.augment import Augmentation, Augmented
from partreid.datasets.loaders import TrainLoader
from partreid.datasets.torch_dataset import PictureBatch
from partreid.environment import describe_environment
from partreid.errors import CheckpointError, TrainingError
from partreid.losses.config import ObjectiveConfig
from partreid.losses.objective import objective
from partreid.models.backbones import build_backbone
from partreid.models.build import build_network
from partreid.models.checkpoint import CHECKPOINT_FOLDER, Checkpoint, load_backbone
from partreid.models.network import ReIDNetwork
from partreid.runtime import RuntimeConfig, computes_in_bfloat16, resolve_device
from partreid.training.config import TrainConfig
from partreid.training.observers import StepRecord, TrainingObserver
from partreid.training.state import Progress, restore, save_run
from partreid.types import ReIDImage, identities

IMAGENET, NO_WEIGHTS = "imagenet", "none"
"""Words that ``pretrained`` may be beside a path."""


def build_model(config: TrainConfig, num_identities: int) -> ReIDNetwork:
    """A new model with its pretrained backbone; new layers are random by ``config.seed``.

    Raises:
        CheckpointError: the pretrained weights are missing or do not fit.
    """
    torch.manual_seed(config.seed)
    # A folder of ImageNet's pictures may well be called "imagenet".
    trained = config.pretrained not in (IMAGENET, NO_WEIGHTS) and Path(config.pretrained).is_dir()
    weights = None if config.pretrained == NO_WEIGHTS or trained else config.pretrained
    model = config.model
    backbone = build_backbone(
        model.backbone, output_stride=model.output_stride, map_stride=model.map_stride, weights=weights
    )
    if trained:
        load_backbone(backbone, config.pretrained)
    return build_network(config.model, num_identities, backbone=backbone)


class SupervisedModel(torch.nn.Module):
    """Model and objective as one module: what Fabric wraps for precision and distribution.

    Its output is a plain dictionary, the only structure that wrappers walk through.
    """

    def __init__(self, model: ReIDNetwork, config: ObjectiveConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: Augmented, pid_index: Tensor) -> dict[str, Tensor]:
        """The report of :func:`objective`: ``loss``, and each term and statistic by its name."""
        report = objective(self.model(batch.images, batch.part_maps), pid_index, batch.labels, self.config)
        return {"loss": report.total, **report.terms, **report.statistics}


class Trainer:
    """Trains one model, an epoch at a time.

    Args:
        config: how. images: on what, ``dataset.train`` of one set or of several joined. run: folder of the checkpoint.
        runtime: where. observers: told of every step and epoch.

    Raises:
        DataError, LabelError: the pictures cannot be trained on so.
        CheckpointError: the run's folder holds another run, or pretrained weights do not fit.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: Sequence[ReIDImage],
        run: str | Path,
        *,
        runtime: RuntimeConfig | None = None,
        observers: Sequence[TrainingObserver] = (),
    ) -> None:
        self.config = config
        self.run = Path(run)
        self.observers = observers
        runtime = runtime or RuntimeConfig()
        device = resolve_device(runtime.device)
        precision = "bf16-mixed" if computes_in_bfloat16(device, runtime.precision) else "32-true"
        from lightning_fabric import Fabric  # here, as its import takes a second that other commands need not wait for

        self.fabric = Fabric(accelerator=device.type, devices=_device_index(device), precision=precision)  # type: ignore[arg-type]
        self.loader = TrainLoader(
            images,
            config.batch,
            size=config.preprocess.size,
            schema=config.label_schema,
            map_size=config.map_size,
            seed=config.seed,
            runtime=runtime,
        )
        self.augmentation = Augmentation(config.augment, config.preprocess, config.map_size, config.label_schema)
        self.pid_index = torch.tensor(self.loader.pid_index)
        self.pids = tuple(pid for _, pid in identities(images))
        # Channels last is the layout in which CPUs and GPUs convolve fastest; it changes no result.
        self.raw_model = build_model(config, len(self.pids)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.raw_optimizer = torch.optim.Adam(
            (p for p in self.raw_model.parameters() if p.requires_grad),
            lr=config.optimizer.learning_rate,
            weight_decay=config.optimizer.weight_decay,
        )
        self.progress = Progress(0, {}, self.pids)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.progress.epoch

    def resume(self) -> None:
        """Continue from the run folder's checkpoint.

        Raises:
            CheckpointError: there is none, or it is of another model or of other persons.
        """
        self.progress = restore(self.run, self.raw_model, self.raw_optimizer, self.pids)

    def fit(self) -> Checkpoint:
        """Train to the last epoch; every epoch ends with a whole checkpoint on disk.

        Raises:
            TrainingError: the loss is no longer a finite number.
            CheckpointError: a checkpoint cannot be written, or the folder holds a run that was not resumed.
        """
        if self.epoch == 0 and (self.run / CHECKPOINT_FOLDER).exists():
            raise CheckpointError(f"{self.run} already holds a run. Resume it, or choose another folder.")
        model, optimizer = self.fabric.setup(SupervisedModel(self.raw_model, self.config.objective), self.raw_optimizer)
        try:
            for epoch in range(self.epoch, self.config.optimizer.epochs):
                means = self._train_epoch(epoch, model, optimizer)
                progress = self.progress.after(means)
                metrics = progress.metrics(describe_environment(self.fabric.device))
                checkpoint = Checkpoint(self.raw_model, self.config.preprocess, metrics)
                save_run(self.run, checkpoint, self.config, self.raw_optimizer, progress)
                self.progress = progress
                for observer in self.observers:
                    observer.on_epoch(epoch, means)
        finally:
            for observer in self.observers:
                observer.close()
        return Checkpoint(self.raw_model.eval(), self.config.preprocess)

    def _train_epoch(self, epoch: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        model.train()
        # All randomness derives from the seed and the epoch, so a resumed run draws what an unbroken one would.
        torch.manual_seed(self.config.seed * 100_003 + epoch)
        generator = torch.Generator().manual_seed(self.config.seed * 100_003 + epoch)
        batches = self.loader.epoch(epoch)
        steps = len(self.loader.sampler)
        sums: dict[str, float] = defaultdict(float)
        for step, batch in enumerate(batches):
            start = time.perf_counter()
            rate = self.config.optimizer.rate(epoch + step / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = self._step(batch, model, optimizer, generator)
            values = {name: float(value.detach()) for name, value in losses.items()} | {"learning_rate": rate}
            values["pictures_per_second"] = len(batch.index) / (time.perf_counter() - start)
            self._check_finite(values, epoch, step)
            for name, value in values.items():
                sums[name] += value / steps
            for observer in self.observers:
                observer.on_step(StepRecord(epoch, step, steps, values))
        return dict(sums)

    def _step(
        self,
        batch: PictureBatch,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        batch = batch.to(self.fabric.device)
        pid_index = self.pid_index[batch.index.cpu()].to(self.fabric.device)
        varied = self.augmentation(batch.images, batch.part_maps, pid_index, generator)
        varied = varied._replace(images=varied.images.contiguous(memory_format=torch.channels_last))
        losses: dict[str, Tensor] = model(varied, pid_index)
        if torch.isfinite(losses["loss"]):  # else the loop stops before a broken step is taken
            optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(losses["loss"])
            optimizer.step()
        return losses

    def _check_finite(self, values: dict[str, float], epoch: int, step: int) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"The loss is not a finite number in epoch {epoch + 1}, step {step + 1}: {', '.join(wrong)}. The last "
                f"whole epoch's checkpoint is kept in {self.run}. Lower optimizer.learning_rate, or set "
                f"--precision float32, and check the pictures."
            )


def _device_index(device: torch.device) -> int | list[int]:
    return [device.index] if device.index is not None else 1
