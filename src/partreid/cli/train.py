"""``partreid train``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid import processes, training
from partreid.cli import options as opt
from partreid.cli.console import ProgressCallback, console, errors, progress_bar, show_progress
from partreid.cli.evaluate import evaluate_and_print
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid import ReIDDataset, RuntimeConfig, TrainConfig


def train(
    context: typer.Context,
    data: opt.DataSets = None,
    more: opt.MoreData = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder: checkpoint, logs, results.")],
    preset: opt.Preset = "paper-occluded",
    epochs: Annotated[int | None, typer.Option(help="Short for --set optimizer.epochs.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Short for --set optimizer.learning_rate.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images in a batch. Sets batch.identities_per_batch = this / batch.images_per_identity."),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Short for --set preprocess.height.")] = None,
    width: Annotated[int | None, typer.Option(help="Short for --set preprocess.width.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Short for --set model.backbone.")] = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed.")] = None,
    config: opt.ConfigFile = None,
    overrides: opt.Overrides = None,
    limit_ids: opt.LimitIds = None,
    make_labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="First make missing labels of training images, with a pose network (.xml, .tflite) or COCO keypoints "
            "(.json, .npz). They go into the set's masks/, or into --out if masks/ cannot be written.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out with its configuration.")] = False,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="With --resume: accept changed images, labels or configuration."),
    ] = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    workers: opt.Workers = 0,
    cache_mib: Annotated[
        int, typer.Option("--cache-mib", min=0, help="Memory for decoded training images, in MiB; 0 keeps none.")
    ] = 2048,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train through torch.compile; needs a C++ compiler.")
    ] = False,
    minutes: Annotated[
        float, typer.Option("--save-minutes", min=0, help="Minutes between checkpoints within an epoch; 0 = none.")
    ] = 10.0,
    evaluate: Annotated[bool, typer.Option(help="Evaluate on each set's queries at the end.")] = True,
) -> None:
    """Train a model, then evaluate it.

    Several data sets are trained on together. The same person id in two sets means two persons. The labels of each set
    are in its folder masks. Each set with queries is evaluated separately.

    --preset parts-on FILE trains parts, visibility and necks on a network that stays as it is. This takes minutes.
    --preset fine-tune FILE also trains the network. FILE is OpenVINO's .xml, .onnx, weights of an OSNet (.pth,
    .safetensors), or the name of a backbone.

    `partreid config list` lists the presets. `partreid config fields` lists everything that --set can change.

    After an interruption, --resume continues from the last checkpoint. The result is the same as without interruption.
    The run keeps its configuration: --preset, --config and --set may repeat it, and may raise optimizer.epochs.

    On several devices: `torchrun --nproc-per-node 4 -m partreid train ...`
    """
    from partreid.training.data import check_same_config

    runtime = opt.runtime_config(
        device, precision, workers=workers, cache_mib=cache_mib, compile=compiled, save_minutes=minutes
    )
    if allow_changes and not resume:
        raise ConfigError("--allow-changes is for resuming a run, so it needs --resume.")
    data = opt.all_datasets(data, more)
    preset, data, backbone = opt.with_network(preset, data, backbone)
    source = context.get_parameter_source("preset")
    own = resume and config is None and (source is None or source.name == "DEFAULT")
    chosen = training.load_run_config(out) if own else opt.train_config(preset, config, None)
    shortcuts = (epochs, lr, batch_size, height, width, backbone, seed)
    chosen = _with_shortcuts(chosen, shortcuts, overrides or [])
    if resume and not allow_changes:
        check_same_config(out, chosen)  # before the data sets are read: another model may need other ones
    labels = chosen.labels if make_labels is None else None
    datasets = partreid.read_datasets(data, labels=labels, unmatched="drop", limit_ids=limit_ids)
    if make_labels is not None:
        datasets = [_with_labels(dataset, make_labels, chosen, out) for dataset in datasets]
    for dataset in datasets:
        console.print(
            f"{dataset.name}: {len(dataset.train)} training images of {len(dataset.train_identities)} identities, "
            f"{len(dataset.gallery)} in the gallery"
        )
    command = [*data, *([] if make_labels is None else ["--make-labels", str(make_labels)])]
    run_training(chosen, datasets, out, command, runtime=runtime, resume=resume, allow_changes=allow_changes)
    curves = f"tensorboard --logdir {out}/logs" if (out / "logs").exists() else f"{out}/checkpoint/metrics.json"
    console.print(f"Checkpoint: {out}/checkpoint    Curves: {curves}")
    tested = [dataset for dataset in datasets if dataset.queries]
    if evaluate and tested:
        evaluate_and_print(out, tested, out / "evaluation", runtime=runtime, labels=chosen.labels)
    elif evaluate:
        console.print("No queries, so nothing to evaluate.")
    processes.leave()


def _with_labels(dataset: ReIDDataset, file: Path, config: TrainConfig, out: Path) -> ReIDDataset:
    """The set with the missing labels made. A set without training images is returned as it is."""
    from partreid.datasets import complete_labels

    if config.label_schema is None:
        raise ConfigError("--make-labels: this configuration does not use labels. Leave the option out.")
    if not dataset.train:
        return dataset
    folder = out / "labels" / dataset.name
    return complete_labels(dataset, file, out=folder, labels=config.labels, progress=show_progress)


_SHORTCUTS = {
    "--epochs": "optimizer.epochs", "--lr": "optimizer.learning_rate", "--batch-size": "batch.identities_per_batch",
    "--height": "preprocess.height", "--width": "preprocess.width", "--backbone": "model.backbone", "--seed": "seed",
}  # fmt: skip


def _with_shortcuts(config: TrainConfig, values: Sequence[object], overrides: Sequence[str]) -> TrainConfig:
    """A configuration in which ``--set`` and the everyday options have replaced fields.

    Args:
        config: to start from. values: of the everyday options in their order, None where not given.
        overrides: of ``--set``.
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


def run_training(
    config: TrainConfig,
    datasets: Sequence[ReIDDataset],
    out: Path,
    data: Sequence[str],
    *,
    runtime: RuntimeConfig,
    resume: bool = False,
    allow_changes: bool = False,
) -> None:
    """Train with a progress bar and TensorBoard. After Ctrl-C or SIGTERM, say how to resume.

    Args:
        config, datasets, out, runtime: as for the trainer. data: the data sets, as they were given, and what else a
            resumed training needs on its command line.
        resume, allow_changes: whether to resume the run in ``out``, and as :meth:`Trainer.resume`.

    Raises:
        PartReIDError: as the trainer.
    """
    from partreid.training.callbacks import tensorboard

    try:
        trainer = partreid.Trainer(config, datasets, out, runtime=runtime)
        console.print(trainer.loader.describe())
        if resume:
            trainer.resume(allow_changes=allow_changes)
            steps = f" and {trainer.progress.step} steps" if trainer.progress.step else ""
            console.print(f"Resumed after epoch {trainer.epoch}{steps} of {config.optimizer.epochs}.")
        trainer.prepare(say=console.print, progress=show_progress)
        with progress_bar("training", config.optimizer.epochs, done=trainer.epoch) as (progress, task):
            trainer.callbacks = (ProgressCallback(progress, task), *tensorboard(out))
            trainer.fit()
    except (KeyboardInterrupt, SystemExit):  # the latter after SIGTERM
        if processes.is_first():
            errors.print(_how_to_resume(out, data), soft_wrap=True)
        raise


def _how_to_resume(out: Path, data: Sequence[str]) -> str:
    from partreid.models.checkpoint import CHECKPOINT_FOLDER, read_metrics

    if not (out / CHECKPOINT_FOLDER).exists():
        return (
            f"There is no checkpoint in {out} yet, so there is nothing to --resume: the same command starts again. "
            "The first checkpoint is written after the first epoch, or after --save-minutes of it."
        )
    done = read_metrics(out)
    steps = f" and {done['steps_of_next_epoch']} steps" if done.get("steps_of_next_epoch") else ""
    command = shlex.join(["partreid", "train", *data, "-o", str(out), "--resume"])
    return f"The last checkpoint is of epoch {done.get('epoch', 0)}{steps}. Resume the training with: {command}"
