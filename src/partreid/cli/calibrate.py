"""``partreid calibrate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, plain_table, show_progress
from partreid.cli.options import (
    BatchSize,
    DataSets,
    Device,
    LimitIds,
    Mirror,
    Model,
    MoreData,
    PrecisionOption,
    TestOverrides,
    all_datasets,
    runtime_config,
)
from partreid.evaluation.calibration import BY_DISTANCE, BY_PARTS, CalibrationQuality
from partreid.evaluation.calibration import calibrate as fit
from partreid.evaluation.visibility import PartVisibility
from partreid.models.checkpoint import find_checkpoint
from partreid.retrieval.calibration import CALIBRATION_FILE, LabelledPairs


def calibrate(
    model: Model,
    data: DataSets = None,
    more: MoreData = None,
    limit_ids: LimitIds = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"File to write. Default: {CALIBRATION_FILE} in the checkpoint.")
    ] = None,
    visibility: Annotated[
        bool,
        typer.Option(
            "--visibility", help="Also choose a threshold of visibility per part, on labelled training images."
        ),
    ] = False,
    prior: Annotated[
        float | None,
        typer.Option(help="Fraction of pairs of one person where it will be used. Default: as here."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of identities for the printed quality.")] = 5,
    mirror: Mirror = False,
    overrides: TestOverrides = None,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Learn the probability that two images show one person, from distance and number of compared slots.

    Fitted on all pairs of the sets' queries and gallery that evaluation counts; the printed quality is
    cross-validated over identities. Written beside the checkpoint, for MatchCalibration.load and
    `partreid evaluate --calibration auto`. Persons that were trained on must not be among the queries: their distances
    are too small.
    """
    found = fit(
        model,
        all_datasets(data, more),
        limit_ids=limit_ids,
        visibility=visibility,
        prior=prior,
        folds=folds,
        mirror=mirror,
        overrides=overrides or (),
        runtime=runtime_config(device, precision, 0, batch_size),
        progress=show_progress,
    )
    if found.parts:
        columns = ("part", "there", "threshold", "balanced accuracy", "precision", "recall")
        rows = map(_visibility_row, found.parts)
        console.print(plain_table("Visibility against labels of training images, %", columns, rows))
    where = found.calibration.fitted_on
    _show(found.quality, found.pairs, where, found.calibration.prior)
    path = found.calibration.save(out or find_checkpoint(model) / CALIBRATION_FILE)
    console.print(str(found.how), style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{path}: fitted on all of {where}.", markup=False, soft_wrap=True)


def _visibility_row(part: PartVisibility) -> list[str]:
    threshold = "none: always or never there" if part.threshold is None else f"{part.threshold:.3f}"
    percents = [f"{100 * value:.1f}" for value in (part.balanced_accuracy, part.precision, part.recall)]
    return [part.part, f"{100 * part.present:.1f}", threshold, *percents]


def _show(quality: Mapping[str, CalibrationQuality], pairs: LabelledPairs, where: str, prior: float) -> None:
    """Tables of quality, and of reliability by probability and by the number of compared slots."""
    console.print(
        f"Cross-validated over identities on {where}: {int(pairs.same.sum())} pairs of one person, "
        f"{int((~pairs.same).sum())} of two, weighted so that {100 * prior:.2g} % of all show one person.",
        soft_wrap=True,
        markup=False,
    )
    rows = [
        [name, f"{one.brier:.5f}", f"{one.log_loss:.5f}", f"{one.calibration_error:.5f}"]
        for name, one in quality.items()
    ]
    console.print(plain_table("Smaller is better", ("probability from", "Brier", "log loss", "ECE"), rows))
    by_parts, by_distance = quality[BY_PARTS], quality[BY_DISTANCE]
    rows = [
        [row.name, str(row.pairs), f"{100 * row.predicted:.1f}", f"{100 * row.observed:.1f}"] for row in by_parts.bins
    ]
    title = f"Reliability: {BY_PARTS}, %"
    console.print(plain_table(title, ("probability", "pairs", "predicted", "observed"), rows))
    rows = [
        [
            row.name,
            str(row.pairs),
            f"{100 * row.observed:.2f}",
            f"{100 * row.predicted:.2f}",
            f"{100 * alone.predicted:.2f}",
        ]
        for row, alone in zip(by_parts.slots, by_distance.slots, strict=True)
    ]
    title = "By the number of compared slots: pairs of one person, %"
    console.print(plain_table(title, ("slots", "pairs", "observed", BY_PARTS, BY_DISTANCE), rows))
