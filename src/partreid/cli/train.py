"""``partreid train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import ProgressObserver, console, progress_bar
from partreid.cli.evaluate import evaluate_run
from partreid.cli.options import (
    ConfigFile,
    Device,
    Overrides,
    PrecisionOption,
    Preset,
    Workers,
    runtime_config,
    train_config,
)
from partreid.datasets.readers import read_dataset
from partreid.models.checkpoint import Checkpoint
from partreid.runtime import RuntimeConfig
from partreid.training.config import TrainConfig
from partreid.training.loop import Trainer
from partreid.training.observers import TensorBoardObserver
from partreid.training.state import load_run_config
from partreid.types import ReIDDataset


def train(
    data: Annotated[Path, typer.Argument(help="Data set in Market-1501 layout, labels in its folder masks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder: checkpoint, logs, results.")],
    preset: Preset = "paper-occluded",
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out with its configuration.")] = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    workers: Workers = 0,
    evaluate: Annotated[bool, typer.Option(help="Evaluate on the data set's queries at the end.")] = True,
) -> None:
    """Train a model, then evaluate it.

    `partreid config list` names the presets, `partreid config fields` everything that --set can change.
    """
    runtime = runtime_config(device, precision, workers)
    chosen = load_run_config(out) if resume else train_config(preset, config, overrides)
    dataset = read_dataset(data, labels=chosen.labels)
    console.print(
        f"{dataset.name}: {len(dataset.train)} training pictures of {len(dataset.train_pids)} identities, "
        f"{len(dataset.gallery)} in the gallery"
    )
    run_training(chosen, dataset, out, runtime=runtime, resume=resume)
    console.print(f"Checkpoint: {out}/checkpoint    Curves: tensorboard --logdir {out}/logs")
    if evaluate:
        evaluate_run(out, dataset, runtime=runtime, out=out / "evaluation")


def run_training(
    config: TrainConfig, dataset: ReIDDataset, out: Path, *, runtime: RuntimeConfig, resume: bool = False
) -> Checkpoint:
    """Train with a progress bar and TensorBoard.

    Raises:
        PartReIDError: as the trainer.
    """
    trainer = Trainer(config, dataset, out, runtime=runtime)
    if resume:
        trainer.resume()
        console.print(f"Resumed after epoch {trainer.epoch} of {config.optimizer.epochs}.")
    with progress_bar("training", config.optimizer.epochs, done=trainer.epoch) as (progress, task):
        trainer.observers = (ProgressObserver(progress, task), TensorBoardObserver(out))
        return trainer.fit()
