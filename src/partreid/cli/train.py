"""``partreid train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from partreid import processes
from partreid.cli.console import ProgressObserver, console, progress_bar
from partreid.cli.evaluate import evaluate_run
from partreid.cli.options import (
    CacheMib,
    Comparison,
    ConfigFile,
    DataSets,
    Device,
    Overrides,
    PrecisionOption,
    Preset,
    Workers,
    runtime_config,
    train_config,
)
from partreid.datasets.readers import read_datasets
from partreid.models.checkpoint import Checkpoint
from partreid.runtime import RuntimeConfig
from partreid.training.config import TrainConfig
from partreid.training.loop import Trainer
from partreid.training.observers import TensorBoardObserver
from partreid.training.state import load_run_config
from partreid.types import ReIDImage


def train(
    data: DataSets,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder: checkpoint, logs, results.")],
    preset: Preset = "paper-occluded",
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out with its configuration.")] = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    workers: Workers = 0,
    cache_mib: CacheMib = 2048,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train through torch.compile; needs a C++ compiler.")
    ] = False,
    minutes: Annotated[
        float, typer.Option("--save-minutes", min=0, help="Minutes between checkpoints within an epoch; 0 = none.")
    ] = 10.0,
    evaluate: Annotated[bool, typer.Option(help="Evaluate on each set's queries at the end.")] = True,
) -> None:
    """Train a model, then evaluate it.

    Of several sets the training pictures are joined; equal person ids of two sets are different persons. Each set's
    labels are in its folder masks, and each that has queries is evaluated by itself.

    `partreid config list` names the presets, `partreid config fields` everything that --set can change.

    Interrupted or killed, a training goes on with --resume from its last checkpoint, and ends as if it had not stopped.

    On several devices: `torchrun --nproc-per-node 4 -m partreid train ...`
    """
    runtime = runtime_config(device, precision, workers, cache_mib=cache_mib)
    runtime = runtime.model_copy(update={"compile": compiled, "save_minutes": minutes})
    chosen = load_run_config(out) if resume else train_config(preset, config, overrides)
    datasets = read_datasets(data, labels=chosen.labels, unmatched="drop")
    for dataset in datasets:
        console.print(
            f"{dataset.name}: {len(dataset.train)} training pictures of {len(dataset.train_identities)} identities, "
            f"{len(dataset.gallery)} in the gallery",
            markup=False,
        )
    images = [image for dataset in datasets for image in dataset.train]
    run_training(chosen, images, out, runtime=runtime, resume=resume)
    console.print(f"Checkpoint: {out}/checkpoint    Curves: tensorboard --logdir {out}/logs", markup=False)
    tested = [dataset for dataset in datasets if dataset.queries]
    if evaluate and tested:
        evaluate_run(out, tested, how=Comparison(runtime, chosen.labels), out=out / "evaluation")
    elif evaluate:
        console.print("No queries, so nothing to evaluate.")
    processes.leave()


def run_training(
    config: TrainConfig, images: Sequence[ReIDImage], out: Path, *, runtime: RuntimeConfig, resume: bool = False
) -> Checkpoint:
    """Train with a progress bar and TensorBoard.

    Raises:
        PartReIDError: as the trainer.
    """
    trainer = Trainer(config, images, out, runtime=runtime)
    console.print(trainer.loader.describe(), markup=False)
    if resume:
        trainer.resume()
        steps = f" and {trainer.progress.step} steps" if trainer.progress.step else ""
        console.print(f"Resumed after epoch {trainer.epoch}{steps} of {config.optimizer.epochs}.")
    with progress_bar("training", config.optimizer.epochs, done=trainer.epoch) as (progress, task):
        trainer.observers = (ProgressObserver(progress, task), TensorBoardObserver(out))
        return trainer.fit()
