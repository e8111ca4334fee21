"""``partreid train``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from partreid import processes
from partreid.cli.console import ProgressCallback, console, errors, progress_bar
from partreid.cli.evaluate import evaluate_run
from partreid.cli.options import (
    CacheMib,
    ConfigFile,
    DataSets,
    Device,
    MatchingOptions,
    Overrides,
    PrecisionOption,
    Preset,
    Workers,
    runtime_config,
    train_config,
)
from partreid.datasets.readers import read_datasets
from partreid.errors import ConfigError
from partreid.models.checkpoint import CHECKPOINT_FOLDER, Checkpoint, read_metrics
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import tensorboard
from partreid.training.data import check_same_config
from partreid.training.loop import Trainer
from partreid.training.state import load_run_config
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDImage


def train(
    context: typer.Context,
    data: DataSets,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder: checkpoint, logs, results.")],
    preset: Preset = "paper-occluded",
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out with its configuration.")] = False,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="With --resume: though images, labels or configuration are others."),
    ] = False,
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

    Of several sets the training images are joined; equal person ids of two sets are different persons. Each set's
    labels are in its folder masks, and each that has queries is evaluated by itself.

    `partreid config list` names the presets, `partreid config fields` everything that --set can change.

    Interrupted or killed, a training goes on with --resume from its last checkpoint, and ends as if it had not stopped.
    The configuration is the run's own: --preset, --config and --set may say the same again, or more optimizer.epochs.

    On several devices: `torchrun --nproc-per-node 4 -m partreid train ...`
    """
    runtime = runtime_config(device, precision, workers, cache_mib=cache_mib)
    runtime = runtime.model_copy(update={"compile": compiled, "save_minutes": minutes})
    if allow_changes and not resume:
        raise ConfigError("--allow-changes says how to go on with a run: it needs --resume.")
    named = config is not None or _is_given(context, "preset")
    if resume and not named:
        chosen = load_run_config(out).override(overrides or [])
    else:
        chosen = train_config(preset, config, overrides)
    if resume and not allow_changes:
        check_same_config(out, chosen)  # before anything is read: another model may need other data
    datasets = read_datasets(data, labels=chosen.labels, unmatched="drop")
    for dataset in datasets:
        console.print(
            f"{dataset.name}: {len(dataset.train)} training images of {len(dataset.train_identities)} identities, "
            f"{len(dataset.gallery)} in the gallery"
        )
    images = [image for dataset in datasets for image in dataset.train]
    with told_how_to_go_on(out, data):
        run_training(chosen, images, out, runtime=runtime, resume=resume, allow_changes=allow_changes)
    curves = f"tensorboard --logdir {out}/logs" if (out / "logs").exists() else f"{out}/checkpoint/metrics.json"
    console.print(f"Checkpoint: {out}/checkpoint    Curves: {curves}")
    tested = [dataset for dataset in datasets if dataset.queries]
    if evaluate and tested:
        evaluate_run(out, tested, how=MatchingOptions(runtime, chosen.labels), out=out / "evaluation")
    elif evaluate:
        console.print("No queries, so nothing to evaluate.")
    processes.leave()


def _is_given(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


@contextmanager
def told_how_to_go_on(out: Path, data: Sequence[str]) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, say what is there of the run, and with which command it goes on.

    Args:
        out: the run. data: the data sets, as they were given.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # the latter after SIGTERM
        if (out / CHECKPOINT_FOLDER).exists():
            done = read_metrics(out)
            steps = f" and {done['steps_of_next_epoch']} steps" if done.get("steps_of_next_epoch") else ""
            command = shlex.join(["partreid", "train", *data, "-o", str(out), "--resume"])
            say = f"The last checkpoint is of epoch {done.get('epoch', 0)}{steps}. The training goes on with: {command}"
        else:
            say = (
                f"There is no checkpoint in {out} yet, so --resume would find nothing: the same command begins anew. "
                "The first one is written after the first epoch, or after --save-minutes of it."
            )
        if processes.is_first():
            errors.print(say, soft_wrap=True, highlight=False)
        raise


def run_training(
    config: TrainConfig,
    images: Sequence[ReIDImage],
    out: Path,
    *,
    runtime: RuntimeConfig,
    resume: bool = False,
    allow_changes: bool = False,
) -> Checkpoint:
    """Train with a progress bar and TensorBoard.

    Raises:
        PartReIDError: as the trainer.
    """
    trainer = Trainer(config, images, out, runtime=runtime)
    console.print(trainer.loader.describe())
    if resume:
        trainer.resume(allow_changes=allow_changes)
        steps = f" and {trainer.progress.step} steps" if trainer.progress.step else ""
        console.print(f"Resumed after epoch {trainer.epoch}{steps} of {config.optimizer.epochs}.")
    with progress_bar("training", config.optimizer.epochs, done=trainer.epoch) as (progress, task):
        trainer.callbacks = (ProgressCallback(progress, task), *tensorboard(out))
        return trainer.fit()
