"""``partreid train``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from partreid import processes
from partreid.cli.console import ProgressCallback, console, errors, progress_bar, show_progress
from partreid.cli.evaluate import show_evaluations
from partreid.cli.options import (
    CacheMib,
    ConfigFile,
    DataSets,
    Device,
    LimitIds,
    MoreData,
    Overrides,
    PrecisionOption,
    Preset,
    Workers,
    all_datasets,
    runtime_config,
    train_config,
)
from partreid.datasets.readers import read_datasets
from partreid.errors import ConfigError
from partreid.labels.locate import AUTO
from partreid.models.checkpoint import CHECKPOINT_FOLDER, Checkpoint, read_metrics
from partreid.reports.evaluate import Evaluation
from partreid.reports.evaluate import evaluate as evaluate_model
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import tensorboard
from partreid.training.data import check_same_config
from partreid.training.loop import Trainer
from partreid.training.state import load_run_config
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDDataset


def train(
    context: typer.Context,
    data: DataSets = None,
    more: MoreData = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder: checkpoint, logs, results.")],
    preset: Preset = "paper-occluded",
    epochs: Annotated[int | None, typer.Option(help="Short for --set optimizer.epochs.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Short for --set optimizer.learning_rate.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images in a batch: sets batch.identities_per_batch, as each has images_per_identity of it."),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Short for --set preprocess.height.")] = None,
    width: Annotated[int | None, typer.Option(help="Short for --set preprocess.width.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Short for --set model.backbone.")] = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    limit_ids: LimitIds = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out with its configuration.")] = False,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="With --resume: even if images, labels or configuration have changed."),
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

    After a stop, --resume continues from the last checkpoint, and the result is the same as without the stop. The
    configuration is the run's own: --preset, --config and --set may repeat it, and may raise optimizer.epochs.

    On several devices: `torchrun --nproc-per-node 4 -m partreid train ...`
    """
    runtime = runtime_config(device, precision, workers, cache_mib=cache_mib)
    runtime = runtime.model_copy(update={"compile": compiled, "save_minutes": minutes})
    if allow_changes and not resume:
        raise ConfigError("--allow-changes is about resuming a run: it needs --resume.")
    named = config is not None or _is_given(context, "preset")
    chosen = load_run_config(out) if resume and not named else train_config(preset, config, None)
    shortcuts = (epochs, lr, batch_size, height, width, backbone, seed)
    chosen = with_shortcuts(chosen, shortcuts, overrides or [])
    if resume and not allow_changes:
        check_same_config(out, chosen)  # before the data sets are read: another model may need other ones
    data = all_datasets(data, more)
    datasets = read_datasets(data, labels=chosen.labels, unmatched="drop", limit_ids=limit_ids)
    for dataset in datasets:
        console.print(
            f"{dataset.name}: {len(dataset.train)} training images of {len(dataset.train_identities)} identities, "
            f"{len(dataset.gallery)} in the gallery"
        )
    with told_how_to_resume(out, data):
        run_training(chosen, datasets, out, runtime=runtime, resume=resume, allow_changes=allow_changes)
    curves = f"tensorboard --logdir {out}/logs" if (out / "logs").exists() else f"{out}/checkpoint/metrics.json"
    console.print(f"Checkpoint: {out}/checkpoint    Curves: {curves}")
    tested = [dataset for dataset in datasets if dataset.queries]
    if evaluate and tested:
        evaluate_run(out, tested, runtime=runtime, labels=chosen.labels)
    elif evaluate:
        console.print("No queries, so nothing to evaluate.")
    processes.leave()


def _is_given(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


_SHORTCUTS = {
    "--epochs": "optimizer.epochs", "--lr": "optimizer.learning_rate", "--batch-size": "batch.identities_per_batch",
    "--height": "preprocess.height", "--width": "preprocess.width", "--backbone": "model.backbone", "--seed": "seed",
}  # fmt: skip


def with_shortcuts(config: TrainConfig, values: Sequence[object], overrides: Sequence[str]) -> TrainConfig:
    """A configuration with the fields replaced that ``--set`` and the everyday options name.

    Args:
        config: to start from. values: of the everyday options in their order, None where not given.
        overrides: of ``--set``.

    Raises:
        ConfigError: a field is given twice, a value does not fit, or the batch is not a whole number of identities.
    """
    given = {option: value for option, value in zip(_SHORTCUTS, values, strict=True) if value is not None}
    named = {assignment.partition("=")[0].strip() for assignment in overrides}
    for option in given:
        if _SHORTCUTS[option] in named:
            raise ConfigError(f"{option} and --set {_SHORTCUTS[option]}=... set the same field. Give one of them.")
    size = given.pop("--batch-size", None)
    config = config.override([*overrides, *(f"{_SHORTCUTS[option]}={value}" for option, value in given.items())])
    if not isinstance(size, int):
        return config
    each = config.batch.images_per_identity
    if size < each or size % each:
        raise ConfigError(f"Expected --batch-size as a multiple of batch.images_per_identity = {each}, got {size}.")
    return config.override([f"batch.identities_per_batch={size // each}"])


@contextmanager
def told_how_to_resume(out: Path, data: Sequence[str]) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, print what is there of the run, and the command that resumes it.

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
            say = f"The last checkpoint is of epoch {done.get('epoch', 0)}{steps}. Resume the training with: {command}"
        else:
            say = (
                f"There is no checkpoint in {out} yet, so there is nothing to --resume: the same command starts again. "
                "The first checkpoint is written after the first epoch, or after --save-minutes of it."
            )
        if processes.is_first():
            errors.print(say, soft_wrap=True, highlight=False)
        raise


def run_training(
    config: TrainConfig,
    datasets: Sequence[ReIDDataset],
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
    trainer = Trainer(config, datasets, out, runtime=runtime)
    console.print(trainer.loader.describe())
    if resume:
        trainer.resume(allow_changes=allow_changes)
        steps = f" and {trainer.progress.step} steps" if trainer.progress.step else ""
        console.print(f"Resumed after epoch {trainer.epoch}{steps} of {config.optimizer.epochs}.")
    with progress_bar("training", config.optimizer.epochs, done=trainer.epoch) as (progress, task):
        trainer.callbacks = (ProgressCallback(progress, task), *tensorboard(out))
        return trainer.fit()


def evaluate_run(
    out: Path, datasets: Sequence[ReIDDataset], *, runtime: RuntimeConfig, labels: str = AUTO
) -> dict[str, Evaluation]:
    """Evaluate a run on each data set, print the tables, and write the files into its folder ``evaluation``."""
    folder = out / "evaluation"
    found = evaluate_model(out, datasets, labels=labels, runtime=runtime, out=folder, progress=show_progress)
    show_evaluations(found, folder)
    return found
