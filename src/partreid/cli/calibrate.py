"""``partreid calibrate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, plain_table, progress_bar
from partreid.cli.options import (
    BatchSize,
    DataSets,
    Device,
    LimitIds,
    MatchingOptions,
    Mirror,
    Model,
    MoreData,
    PrecisionOption,
    TestOverrides,
    all_datasets,
    runtime_config,
)
from partreid.cli.searched import embed_sets, query_sets, with_needed_labels
from partreid.datasets.readers import read_datasets
from partreid.errors import ConfigError
from partreid.evaluation.calibration import (
    BY_DISTANCE,
    BY_PARTS,
    CalibrationQuality,
    cross_validate,
    fit_calibration,
    labelled_pairs,
)
from partreid.evaluation.visibility import PartVisibility, part_visibility
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import find_checkpoint
from partreid.retrieval.calibration import CALIBRATION_FILE, LabelledPairs
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.types import ReIDDataset, ReIDImage

_CONTINUOUS = "model.visibility=continuous"


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
        float | None, typer.Option(help="Share of pairs that show one person where it will be used. Default: as here.")
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
    if prior is not None and not 0 < prior < 1:
        raise ConfigError(f"--prior is a probability between 0 and 1, got {prior}.")
    datasets = read_datasets(all_datasets(data, more), labels="auto" if visibility else None, limit_ids=limit_ids)
    assignments = (*((_CONTINUOUS,) if visibility else ()), *(overrides or ()))
    how = MatchingOptions(runtime_config(device, precision, 0, batch_size), overrides=assignments, mirror=mirror)
    extractor, compared = how.load(model)
    if visibility:
        compared = HowCompared.of(extractor, _with_thresholds(extractor, compared.matching, datasets))
    matching = compared.matching
    pairs = LabelledPairs.cat([_pairs(extractor, matching, dataset) for dataset in datasets])
    slots = len(matching.slots or extractor.slots)
    where = ", ".join(f"{dataset.name} ({' + '.join(dataset.queries)})" for dataset in datasets)
    quality = cross_validate(pairs, num_slots=slots, folds=folds, prior=prior)
    _show(quality, pairs, where, prior or pairs.base_rate)
    calibration = fit_calibration(pairs, num_slots=slots, prior=prior).model_copy(
        update={
            "matching": matching,
            "overrides": how.section("model"),
            "mirror": mirror,
            "model": extractor.fingerprint,
            "fitted_on": where,
        }
    )
    path = calibration.save(out or find_checkpoint(model) / CALIBRATION_FILE)
    console.print(str(compared), style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{path}: fitted on all of {where}.", markup=False, soft_wrap=True)


def _pairs(extractor: PartExtractor, matching: MatchingConfig, dataset: ReIDDataset) -> LabelledPairs:
    """Pairs of every query set of one data set with its gallery."""
    queries, gallery = embed_sets(extractor, with_needed_labels(extractor, dataset), query_sets(dataset))
    return LabelledPairs.cat([labelled_pairs(query, gallery, matching=matching) for query in queries.values()])


def _with_thresholds(
    extractor: PartExtractor, matching: MatchingConfig, datasets: Sequence[ReIDDataset]
) -> MatchingConfig:
    """The matching rule with a threshold for every part that labels let choose one for."""
    images: list[ReIDImage] = [image for dataset in datasets for image in dataset.train]
    with progress_bar("training images", sum(image.label is not None for image in images)) as (progress, task):
        parts = part_visibility(extractor, images, advance=lambda count: progress.advance(task, count))
    rows = [_visibility_row(part) for part in parts]
    columns = ("part", "there", "threshold", "balanced accuracy", "precision", "recall")
    console.print(plain_table("Visibility against labels of training images, %", columns, rows))
    limits = {part.part: part.threshold for part in parts if part.threshold is not None}
    return MatchingConfig.parse(matching.model_dump() | {"visibility_threshold": limits}, source="thresholds")


def _visibility_row(part: PartVisibility) -> list[str]:
    threshold = "none: always or never there" if part.threshold is None else f"{part.threshold:.3f}"
    shares = [f"{100 * share:.1f}" for share in (part.balanced_accuracy, part.precision, part.recall)]
    return [part.part, f"{100 * part.present:.1f}", threshold, *shares]


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
