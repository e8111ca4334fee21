"""``partreid calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, plain_table, show_progress
from partreid.cli.models import beside
from partreid.cli.shares import share
from partreid.errors import ConfigError, DataError

if TYPE_CHECKING:
    from partreid.evaluation import FittedCalibration
    from partreid.retrieval import OpenSetRule


def calibrate(
    model: opt.Model,
    data: opt.DataSets = None,
    more: opt.MoreData = None,
    limit_ids: opt.LimitIds = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write. Default: calibration.json in the checkpoint.")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            metavar="auto|FILE",
            help='Also write a rule for the answer "nobody" (`gallery search --max-false`): a file, or auto for one '
            "beside the model. It contains embeddings of two images of each person, of at most 1000 persons.",
        ),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option(
            "--gallery",
            "-g",
            help="With --rule, instead of DATA: a gallery whose items have a person in their metadata. The calibration "
            "does not change.",
        ),
    ] = None,
    calibration: opt.Calibration = None,
    visibility: Annotated[
        bool,
        typer.Option(
            "--visibility", help="Also choose a visibility threshold for each part, on labelled training images."
        ),
    ] = False,
    prior: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            parser=share,
            help="Fraction of pairs of one person in the data that it will be used on. Default: as in DATA.",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation over identities.")] = 5,
    mirror: opt.Mirror = False,
    overrides: opt.TestOverrides = None,
    adaptation: opt.Adaptation = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Learn the probability that two images show one person, from distance and number of compared slots.

    Fitted on all pairs of the sets' queries and gallery that evaluation counts; the printed quality is
    cross-validated over identities. Written beside the checkpoint, for MatchCalibration.load and
    `partreid evaluate --calibration auto`. Persons that were trained on must not be among the queries: their distances
    are too small.
    """
    from partreid.retrieval.calibration import CALIBRATION_FILE
    from partreid.retrieval.open_set import FEWEST_PERSONS, OPEN_SET_FILE

    rule_file = beside(model, OPEN_SET_FILE) if rule == "auto" else Path(rule) if rule else None
    if gallery is not None:
        if rule_file is None or data or more:
            raise ConfigError("--gallery needs --rule FILE, and takes the place of DATA.")
        _of_gallery(gallery, model, calibration, rule_file)
        return
    if calibration is not None:
        raise ConfigError("--calibration is for --gallery only, because with DATA a new calibration is fitted.")
    file = out or beside(model, CALIBRATION_FILE)  # before the work: not every model has a place for it
    found = partreid.calibrate(
        model,
        opt.all_datasets(data, more),
        limit_ids=limit_ids,
        visibility=visibility,
        prior=prior,
        folds=folds,
        mirror=mirror,
        overrides=overrides or (),
        adaptation=adaptation,
        runtime=opt.runtime_config(device, precision, batch_size=batch_size),
        progress=show_progress,
    )
    _print(found)
    path = found.calibration.save(file)
    console.print(str(found.how), style="dim", soft_wrap=True)
    console.print(f"{path}: fitted on all of {found.calibration.fitted_on}.", soft_wrap=True)
    if rule_file is not None:
        if found.rule is None:
            raise DataError(
                f"No rule was written: it needs two images of each of at least {FEWEST_PERSONS} query persons."
            )
        _tell(found.rule, found.rule.save(rule_file))


def _of_gallery(gallery: str, model: str, calibration: str | None, file: Path) -> None:
    """Write a rule for a calibrated model, from a gallery whose items name their persons."""
    from partreid.retrieval import Gallery, rule_of_gallery
    from partreid.retrieval.how_compared import find_calibration
    from partreid.retrieval.stores.addresses import without_secrets

    curves = find_calibration(calibration or "auto", model)
    assert curves is not None
    with Gallery.open(gallery, create=False) as opened:
        rule = rule_of_gallery(opened, curves, fitted_on=without_secrets(gallery))
    _tell(rule, rule.save(file))


def _tell(rule: OpenSetRule, file: Path) -> None:
    """Print what a rule can promise."""
    from partreid.functional.tolerance import draws_needed, share_above

    least = share_above(len(rule), 1, confidence=rule.confidence)
    console.print(
        f"{file}: a rule of {len(rule)} persons. With {100 * rule.confidence:g} % confidence it can promise a "
        f"--max-false of {100 * least:.2g} % or more; 1 % needs {draws_needed(0.01, confidence=rule.confidence)} "
        "persons.",
        soft_wrap=True,
    )


def _print(found: FittedCalibration) -> None:
    """Tables of visibility, of quality, and of reliability by probability and by the number of compared slots."""
    from partreid.evaluation.calibration import BY_DISTANCE, BY_PARTS

    def percents(*fractions: float, digits: int = 1) -> list[str]:
        return [f"{100 * fraction:.{digits}f}" for fraction in fractions]

    if found.parts:
        rows = [
            [
                part.part,
                *percents(part.present),
                "none: always or never there" if part.threshold is None else f"{part.threshold:.3f}",
                *percents(part.balanced_accuracy, part.precision, part.recall),
            ]
            for part in found.parts
        ]
        columns = ("part", "there", "threshold", "balanced accuracy", "precision", "recall")
        console.print(plain_table("Visibility against labels of training images, %", columns, rows))
    same, known = found.pairs.same, found.calibration
    console.print(
        f"Cross-validated over identities on {known.fitted_on}: {int(same.sum())} pairs of one person, "
        f"{int((~same).sum())} of two, weighted so that {100 * known.prior:.2g} % of all show one person.",
        soft_wrap=True,
    )
    rows = [
        [name, f"{one.brier:.5f}", f"{one.log_loss:.5f}", f"{one.calibration_error:.5f}"]
        for name, one in found.quality.items()
    ]
    console.print(plain_table("Smaller is better", ("probability from", "Brier", "log loss", "ECE"), rows))
    by_parts, by_distance = found.quality[BY_PARTS], found.quality[BY_DISTANCE]
    rows = [[row.name, str(row.pairs), *percents(row.predicted, row.observed)] for row in by_parts.bins]
    title = f"Reliability: {BY_PARTS}, %"
    console.print(plain_table(title, ("probability", "pairs", "predicted", "observed"), rows))
    rows = [
        [row.name, str(row.pairs), *percents(row.observed, row.predicted, alone.predicted, digits=2)]
        for row, alone in zip(by_parts.slots, by_distance.slots, strict=True)
    ]
    title = "By the number of compared slots: pairs of one person, %"
    console.print(plain_table(title, ("slots", "pairs", "observed", BY_PARTS, BY_DISTANCE), rows))
