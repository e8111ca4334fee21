"""From a data set and a model to what scores and figures are made of: embedded query sets and gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partreid import processes
from partreid.cli.console import progress_bar
from partreid.datasets.readers import choose_labels
from partreid.errors import DataError, nearest
from partreid.evaluation.dataset import EmbeddedSplit, QuerySetScores, embed_split, model_matching, score_query_set
from partreid.evaluation.evaluator import EvaluationConfig, evaluate_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.retrieval.matching import MatchingConfig
from partreid.types import EvaluationResult, ReIDDataset


@dataclass(frozen=True, eq=False)
class SearchedSet:
    """A query set that a model has searched in the gallery.

    Attributes:
        extractor: the model. query, gallery: embedded. matching: how they were compared.
        result: the scores of all slots together.
    """

    extractor: PartExtractor
    query: EmbeddedSplit
    gallery: EmbeddedSplit
    matching: MatchingConfig
    result: EvaluationResult

    def choices(self) -> dict[str, object]:
        """What figures depend on beside weights and data: the visibility, the mirror image, the matching."""
        return {
            "visibility": self.extractor.model.config.visibility,
            "mirror": self.extractor.mirror,
            "matching": self.matching.model_dump(mode="json"),
        }


def query_sets(dataset: ReIDDataset, wanted: Sequence[str] | None = None) -> list[str]:
    """The query sets to search, all where None is wanted.

    Raises:
        DataError: there is none, or none of that name.
    """
    if not dataset.queries:
        raise DataError(f"{dataset.name} ({dataset.root}) has no query pictures, so it cannot be evaluated.")
    chosen = list(wanted or dataset.queries)
    for name in chosen:
        if name not in dataset.queries:
            raise DataError(f"{dataset.root} has no query set {name!r}. {nearest(name, dataset.queries)}")
    return chosen


def with_needed_labels(extractor: PartExtractor, dataset: ReIDDataset, labels: str = AUTO) -> ReIDDataset:
    """The set with its labels, where the model cannot do without (fixed attention, Table 2) and it has none yet.

    Raises:
        LabelError: as ``choose_labels``.
    """
    if not extractor.model.config.pose_guided or any(image.label for image in dataset.gallery):
        return dataset
    return choose_labels(dataset, labels)


def embed_sets(
    extractor: PartExtractor, dataset: ReIDDataset, queries: Sequence[str], *, shared: bool = False
) -> tuple[dict[str, EmbeddedSplit], EmbeddedSplit]:
    """The query sets by name, and the gallery, embedded under a progress bar; ``shared`` as in ``embed_split``."""
    images = {"gallery": dataset.gallery} | {name: dataset.queries[name] for name in queries}
    with progress_bar(f"embedding {dataset.name}", sum(map(len, images.values()))) as (progress, task):
        splits = {
            name: embed_split(extractor, split, advance=lambda count: progress.advance(task, count), shared=shared)
            for name, split in images.items()
        }
    gallery = splits.pop("gallery")
    return splits, gallery


def search_set(extractor: PartExtractor, dataset: ReIDDataset, name: str, labels: str = AUTO) -> SearchedSet:
    """Embed a query set and the gallery, and rank."""
    splits, gallery = embed_sets(extractor, with_needed_labels(extractor, dataset, labels), [name])
    split, matching = splits[name], model_matching(extractor)
    result = evaluate_embeddings(split.embeddings, gallery.embeddings, split.ids, gallery.ids, matching=matching)
    return SearchedSet(extractor, split, gallery, matching, result)


def search_sets(
    extractor: PartExtractor,
    dataset: ReIDDataset,
    queries: Sequence[str],
    *,
    matching: MatchingConfig | None = None,
    options: EvaluationConfig | None = None,
    shared: bool = False,
) -> dict[str, tuple[SearchedSet, QuerySetScores]]:
    """Embed query sets and the gallery, and score each set, overall and per embedding.

    ``matching`` is what the model was made for where it is None. Processes under torchrun share the embedding if
    ``shared``; the first one alone scores, and the others get nothing.
    """
    matching = matching or model_matching(extractor)
    splits, gallery = embed_sets(extractor, dataset, queries, shared=shared)
    if shared and not processes.is_first():
        return {}
    found = {}
    for name, split in splits.items():
        scores = score_query_set(split, gallery, matching=matching, options=options)
        found[name] = SearchedSet(extractor, split, gallery, matching, scores.result), scores
    return found
