"""``calibrate(model, data)``: how probable it is that two images show one person, learned from a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partreid.datasets.readers import DataLike, read_datasets
from partreid.errors import ConfigError
from partreid.evaluation.calibration import CalibrationQuality, cross_validate, fit_calibration, labelled_pairs
from partreid.evaluation.searched import embed_sets, query_sets, with_needed_labels
from partreid.evaluation.visibility import PartVisibility, part_visibility
from partreid.objects import Guided, guided
from partreid.progress import Progress, no_progress
from partreid.retrieval.calibration import LabelledPairs, MatchCalibration
from partreid.retrieval.how_compared import HowCompared, fields_of, load_for_comparison
from partreid.retrieval.matching import MatchingConfig
from partreid.runtime import RuntimeConfig

_CONTINUOUS = "model.visibility=continuous"


@dataclass(frozen=True, eq=False, repr=False)
class FittedCalibration(Guided):
    """A calibration, and how good it is.

    Attributes:
        calibration: fitted on all pairs. quality: as :func:`~partreid.evaluation.calibration.cross_validate`.
        pairs: all pairs. parts: the threshold of each part, where thresholds were chosen. how: images were compared.
    """

    calibration: MatchCalibration
    quality: Mapping[str, CalibrationQuality]
    pairs: LabelledPairs
    parts: tuple[PartVisibility, ...]
    how: HowCompared


@guided
def calibrate(
    model: str | Path,
    data: DataLike | Sequence[DataLike],
    *,
    visibility: bool = False,
    prior: float | None = None,
    folds: int = 5,
    mirror: bool = False,
    overrides: Sequence[str] = (),
    limit_ids: int | None = None,
    runtime: RuntimeConfig | None = None,
    progress: Progress = no_progress,
) -> FittedCalibration:
    """Learn the probability that two images show one person, from distance and number of compared slots.

    Fitted on all pairs of the sets' queries and gallery that evaluation counts. Persons that the model was trained on
    must not be among the queries: their distances are too small.

    Args:
        model: as for :meth:`PartExtractor.from_pretrained`. data: data sets or their names or folders.
        visibility: also choose a threshold of visibility for each part, on labelled training images.
        prior: fraction of the pairs that show one person where it will be used; that of these pairs where None.
        folds: of the persons, for the quality. mirror, overrides: how images are embedded and compared.
        limit_ids: only so many identities of each set, as for ``read_dataset``.
        runtime: where the model runs. progress: shows how far the embedding is.

    Raises:
        ConfigError: the prior is no probability, or as ``load_for_comparison``.
        DataError: a set has no queries, or too few persons have a match. LabelError: thresholds need labels.
    """
    if prior is not None and not 0 < prior < 1:
        raise ConfigError(f"prior is a probability between 0 and 1, got {prior}.")
    datasets = read_datasets(data, labels="auto" if visibility else None, limit_ids=limit_ids)
    assignments = (*((_CONTINUOUS,) if visibility else ()), *overrides)
    extractor, how = load_for_comparison(model, runtime=runtime, mirror=mirror, overrides=assignments)
    parts: tuple[PartVisibility, ...] = ()
    if visibility:
        images = [image for dataset in datasets for image in dataset.train]
        with progress("training images", sum(image.label is not None for image in images)) as advance:
            parts = part_visibility(extractor, images, advance=advance)
        limits = {part.part: part.threshold for part in parts if part.threshold is not None}
        content = how.matching.model_dump() | {"visibility_threshold": limits}
        how = HowCompared.of(extractor, MatchingConfig.parse(content, source="thresholds"))
    found = []
    for dataset in datasets:
        labelled = with_needed_labels(extractor, dataset)
        queries, gallery = embed_sets(extractor, labelled, query_sets(dataset), progress=progress)
        found += [labelled_pairs(query, gallery, matching=how.matching) for query in queries.values()]
    pairs = LabelledPairs.cat(found)
    slots = len(how.matching.slots or extractor.slots)
    quality = cross_validate(pairs, num_slots=slots, folds=folds, prior=prior)
    calibration = fit_calibration(pairs, num_slots=slots, prior=prior).model_copy(
        update={
            "matching": how.matching,
            "overrides": fields_of("model", assignments),
            "mirror": mirror,
            "model": extractor.fingerprint,
            "fitted_on": ", ".join(f"{dataset.name} ({' + '.join(dataset.queries)})" for dataset in datasets),
        }
    )
    return FittedCalibration(calibration, quality, pairs, parts, how)
