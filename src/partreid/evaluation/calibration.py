"""Learning the probability that two images show one person from data sets, and measuring its quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from partreid.datasets.readers import DataLike, read_datasets
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.evaluation._persons import dealer, person_number
from partreid.evaluation.dataset import EmbeddedSplit, embed_sets, query_sets, with_needed_labels
from partreid.evaluation.evaluator import MatchedIdentities
from partreid.evaluation.visibility import PartVisibility, part_visibility
from partreid.functional.distance import MEMORY_BUDGET
from partreid.inference.extractor import PartExtractor
from partreid.objects import Guided, guided
from partreid.progress import Progress, no_progress
from partreid.retrieval.calibration import LabelledPairs, MatchCalibration, fit_curves, usual_strangers
from partreid.retrieval.how_compared import HowCompared, fields_of, load_for_comparison
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.open_set import FEWEST_PERSONS, OpenSetRule
from partreid.retrieval.sightings import promising, two_sightings
from partreid.runners.adaptation import Adaptation
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings, ReIDDataset
from partreid.types.numbers import require_whole

MAX_NEGATIVES = 1_000_000
"""Pairs of different persons that are kept of one query set."""

BY_PARTS, BY_DISTANCE, BASE_RATE = "distance and number of slots", "distance alone", "base rate"
"""The probabilities that are compared with each other."""


@dataclass(frozen=True)
class ReliabilityRow:
    """A group of pairs with a common property.

    Attributes:
        name: the property. pairs: their number. fraction: of all pairs, by weight.
        predicted, observed: the mean probability, and the fraction of pairs that show one person.
    """

    name: str
    pairs: int
    fraction: float
    predicted: float
    observed: float


@dataclass(frozen=True, repr=False)
class CalibrationQuality(Guided):
    """How well probabilities fit the observed pairs. Smaller is better everywhere.

    Attributes:
        brier: mean squared error. log_loss: mean of -ln of the probability of the true outcome.
        calibration_error: expected calibration error, the mean distance between predicted and observed fraction
            over ten equally wide bins.
        bins, slots: rows by predicted probability, and by the number of compared slots, without empty rows.
    """

    brier: float
    log_loss: float
    calibration_error: float
    bins: tuple[ReliabilityRow, ...]
    slots: tuple[ReliabilityRow, ...]


@dataclass(frozen=True, eq=False, repr=False)
class FittedCalibration(Guided):
    """A calibration with its quality.

    Attributes:
        calibration: fitted on all pairs. quality: as :func:`cross_validate`.
        pairs: all pairs. parts: the threshold of each part, if thresholds were chosen. how: how images were compared.
        rule: a rule for the answer "nobody", from two images of each query person; None if fewer than 50 have two.
    """

    calibration: MatchCalibration
    quality: Mapping[str, CalibrationQuality]
    pairs: LabelledPairs
    parts: tuple[PartVisibility, ...]
    how: HowCompared
    rule: OpenSetRule | None = None


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
    adaptation: str | Path | Adaptation | None = None,
    runtime: RuntimeConfig | None = None,
    progress: Progress = no_progress,
) -> FittedCalibration:
    """Learn the probability that two images show one person, from distance and number of compared slots.

    The calibration is fitted on all pairs of the sets' queries and gallery that evaluation counts. The queries must not
    show persons of the training, because their distances are too small.

    Args:
        model: as for :meth:`PartExtractor.from_pretrained`. data: data sets or their names or folders.
        visibility: also choose a visibility threshold for each part, on labelled training images.
        prior: fraction of pairs of one person in the data of later use; None = that of these pairs.
        folds: of the persons, to measure the quality. mirror, overrides: how images are embedded and compared.
        limit_ids: use only this many identities of each set, as for ``read_dataset``.
        adaptation: as for :meth:`PartExtractor.from_pretrained`; the calibration is then only for this adaptation.
        runtime: where the model runs. progress: shows the progress of embedding.

    Raises:
        ConfigError: the prior is not a probability, or as ``load_for_comparison``.
        DataError: a set has no queries, or too few persons have a match. LabelError: thresholds need labels.
    """
    if prior is not None and not 0 < prior < 1:
        raise ConfigError(f"prior is a probability between 0 and 1, got {prior}.")
    datasets = read_datasets(data, labels="auto" if visibility else None, limit_ids=limit_ids)
    assignments = (*(("model.visibility=continuous",) if visibility else ()), *overrides)
    extractor, how = load_for_comparison(
        model, runtime=runtime, mirror=mirror, overrides=assignments, adaptation=adaptation
    )
    parts: tuple[PartVisibility, ...] = ()
    if visibility:
        parts = _visibility(extractor, datasets, progress)
        limits = {part.part: part.threshold for part in parts if part.threshold is not None}
        content = how.matching.model_dump() | {"visibility_threshold": limits}
        how = HowCompared.of(extractor, MatchingConfig.parse(content, source="thresholds"))
    found, sightings = [], []
    for dataset in datasets:
        labelled = with_needed_labels(extractor, dataset)
        queries, gallery = embed_sets(extractor, labelled, query_sets(dataset), progress=progress)
        found += [labelled_pairs(query, gallery, matching=how.matching) for query in queries.values()]
        sightings.append(_two_of_each([*queries.values(), gallery]))
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
    strangers, mates = (PartEmbeddings.cat(side) for side in zip(*sightings, strict=True))
    rule = None
    if len(strangers) >= FEWEST_PERSONS:
        rule = promising(strangers, mates, calibration, ", ".join(dataset.name for dataset in datasets))
    return FittedCalibration(calibration, quality, pairs, parts, how, rule)


def _two_of_each(splits: Sequence[EmbeddedSplit]) -> tuple[PartEmbeddings, PartEmbeddings]:
    """Two images of each person of the query sets; the gallery, which comes last, has others and junk."""
    asked = {image.identity for split in splits[:-1] for image in split.images if image.pid >= 0}
    images = [image for split in splits for image in split.images]
    persons = [image.identity if image.identity in asked else None for image in images]
    every = PartEmbeddings.cat(split.embeddings for split in splits)
    first, second = two_sightings(persons, [image.view for image in images])
    return every[first], every[second]


def _visibility(
    extractor: PartExtractor, datasets: Sequence[ReIDDataset], progress: Progress
) -> tuple[PartVisibility, ...]:
    images = [image for dataset in datasets for image in dataset.train]
    with progress("training images", sum(image.label is not None for image in images)) as advance:
        return part_visibility(extractor, images, advance=advance)


def labelled_pairs(
    query: EmbeddedSplit,
    gallery: EmbeddedSplit,
    *,
    matching: MatchingConfig,
    max_negatives: int = MAX_NEGATIVES,
    seed: int = 0,
    memory_budget: int = MEMORY_BUDGET,
) -> LabelledPairs:
    """All pairs of a query and a gallery image that evaluation would count, without both kinds of junk.

    At most about ``max_negatives`` pairs of different persons are drawn, with weights that represent all of them.
    ``memory_budget``: bytes for the work, in addition to the pairs.

    Raises:
        ShapeError: an option is not a whole number, or below 1 (the seed: below 0); or as ``MatchingConfig.distances``.
    """
    require_whole("seed", seed)
    require_whole("max_negatives", max_negatives, least=1)
    require_whole("memory_budget", memory_budget, least=1)
    matched = MatchedIdentities.of(query.ids, gallery.ids, sizes=(len(query.images), len(gallery.images)))
    asked, stored, ids = matched.without_junk(query.embeddings, gallery.embeddings)
    query_pids, gallery_pids = (
        torch.tensor([person_number(image.identity) for image in split.images], dtype=torch.int64)[
            torch.from_numpy(counted)
        ]
        for split, counted in zip((query, gallery), matched.counted, strict=True)
    )
    views = None if ids.views is None else [torch.from_numpy(side) for side in ids.views]
    shared = Counter(gallery_pids.tolist())
    negatives = len(query_pids) * len(gallery_pids) - sum(shared[pid] for pid in query_pids.tolist())
    drawn = min(1.0, max_negatives / max(1, negatives))
    generator = torch.Generator().manual_seed(seed)
    step = max(1, memory_budget // (80 * max(1, len(gallery_pids))))
    blocks = []
    for start in range(0, len(query_pids), step):
        some = slice(start, start + step)
        same = query_pids[some, None] == gallery_pids
        kept = same | (torch.rand(same.shape, generator=generator) < drawn)
        if views is not None:
            kept &= ~(same & (views[0][some, None] == views[1]))
        row, column = kept.nonzero(as_tuple=True)
        now, is_same = asked[some], same[row, column]
        distances = matching.distances(now, stored, memory_budget=max(1, memory_budget // 2))
        blocks.append(
            LabelledPairs(
                distances=distances[row, column].double(),
                comparable=matching.comparable(now, stored)[row, column],
                same=is_same,
                weights=1 + (~is_same).double() * (1 / drawn - 1),
                query_person=query_pids[some][row],
                gallery_person=gallery_pids[column],
            )
        )
    return LabelledPairs.cat(blocks)


def fit_calibration(pairs: LabelledPairs, *, num_slots: int, prior: float | None = None) -> MatchCalibration:
    """The calibration of these pairs. It does not contain its model yet.

    Args:
        pairs: all pairs. num_slots: the largest number of compared slots. prior: fraction of matches in the data of
        later use; None = that of the pairs.

    Raises:
        DataError: no comparable pair shows one person, or all do.
    """
    offsets, slopes = fit_curves(pairs, num_slots=num_slots)
    return MatchCalibration(
        prior=pairs.base_rate if prior is None else prior,
        offsets=offsets,
        slopes=slopes,
        strangers=usual_strangers(pairs, num_slots=num_slots),
    )


def cross_validate(
    pairs: LabelledPairs, *, num_slots: int, folds: int = 5, prior: float | None = None, seed: int = 0
) -> dict[str, CalibrationQuality]:
    """Quality of the calibration on persons that it was not fitted on.

    Persons are distributed over folds. Pairs with both persons in a fold are judged by a calibration that is fitted on
    pairs with no person in that fold. Pairs across folds are left out. This keeps every pair of one person, but only
    one in ``folds`` pairs of two persons, so those get a correspondingly larger weight.

    Args:
        pairs: all pairs. num_slots: the largest number of compared slots. folds: their number; fewer if there are fewer
        persons. prior: fraction of matches at which quality is measured; None = that of the pairs. seed: of the
        distribution.

    Returns:
        Quality by :data:`BY_PARTS`, :data:`BY_DISTANCE` and :data:`BASE_RATE`.

    Raises:
        DataError: fewer than four persons have a match.
    """
    prior = pairs.base_rate if prior is None else prior
    persons = torch.unique(pairs.query_person[pairs.same])
    require_whole("folds", folds, least=2)
    require_whole("seed", seed)
    if len(persons) < 4:
        raise DataError(
            f"Cross-validation needs 4 persons with a match, 2 in each of at least 2 folds, got {len(persons)} persons."
        )
    folds = min(folds, len(persons) // 2)
    deal = dealer(persons, pairs, folds, seed)
    query_fold, gallery_fold = deal(pairs.query_person), deal(pairs.gallery_person)
    judged: dict[str, list[Tensor]] = {BY_PARTS: [], BY_DISTANCE: [], BASE_RATE: []}
    kept = []
    for fold in range(folds):
        rest = pairs[(query_fold != fold) & (gallery_fold != fold)]
        test = pairs[(query_fold == fold) & (gallery_fold == fold)].at_base_rate(prior)
        alone = LabelledPairs(**(vars(rest) | {"comparable": rest.comparable.clamp(max=1)}))
        by_parts = fit_calibration(rest, num_slots=num_slots, prior=prior)
        by_distance = fit_calibration(alone, num_slots=1, prior=prior)
        judged[BY_PARTS].append(by_parts.probability(test.distances, test.comparable))
        judged[BY_DISTANCE].append(by_distance.probability(test.distances, test.comparable.clamp(max=1)))
        judged[BASE_RATE].append(torch.full_like(test.distances, prior))
        kept.append(test)
    tested = LabelledPairs.cat(kept)
    return {name: measure(torch.cat(probabilities), tested) for name, probabilities in judged.items()}


def measure(probabilities: Tensor, pairs: LabelledPairs) -> CalibrationQuality:
    """Quality of probabilities [N] of pairs, by the pairs' weights.

    Raises:
        ShapeError: the numbers of probabilities and pairs differ, or a probability is outside [0, 1].

    Example:
        >>> ones = torch.ones(2)
        >>> pairs = LabelledPairs(ones, ones.long(), torch.tensor([True, False]), ones, ones, ones)
        >>> quality = measure(torch.tensor([0.75, 0.25]), pairs)
        >>> quality.brier, quality.calibration_error
        (0.0625, 0.25)
    """
    if probabilities.shape != pairs.same.shape or not probabilities.is_floating_point():
        got = f"{probabilities.dtype} {tuple(probabilities.shape)}"
        raise ShapeError(f"Expected {len(pairs)} probabilities, one per pair, got {got}.")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ShapeError("Expected probabilities in [0, 1], got others or NaN.")
    p, truth = probabilities.double(), pairs.same.double()
    weights = pairs.weights.double() / pairs.weights.sum()
    likelihood = torch.where(pairs.same, p, 1 - p).clamp(min=1e-15)
    edges = (10 * p).long().clamp(max=9)
    bins = _rows(edges, lambda b: f"{b / 10:.1f}-{(b + 1) / 10:.1f}", p, pairs)
    return CalibrationQuality(
        brier=float((weights * (p - truth).square()).sum()),
        log_loss=float(-(weights * likelihood.log()).sum()),
        calibration_error=sum(row.fraction * abs(row.predicted - row.observed) for row in bins),
        bins=bins,
        slots=_rows(pairs.comparable, str, p, pairs),
    )


def _rows(
    group: Tensor, name: Callable[[int], str], probabilities: Tensor, pairs: LabelledPairs
) -> tuple[ReliabilityRow, ...]:
    rows = []
    for value in torch.unique(group).tolist():
        chosen = group == value
        weights = pairs.weights[chosen]
        total = float(weights.sum())
        predicted = float((weights * probabilities[chosen]).sum()) / total
        observed = float(weights[pairs.same[chosen]].sum()) / total
        fraction = total / float(pairs.weights.sum())
        rows.append(ReliabilityRow(name(value), int(chosen.sum()), fraction, predicted, observed))
    return tuple(rows)
