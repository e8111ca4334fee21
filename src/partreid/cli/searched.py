"""From a data set and a model to what scores and figures are made of: embedded query sets and gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partreid import processes
from partreid.cli.console import progress_bar
from partreid.datasets.readers import choose_labels
from partreid.errors import DataError, nearest
from partreid.evaluation.dataset import EmbeddedSplit, QuerySetScores, embed_split, score_query_set
from partreid.evaluation.evaluator import EvaluationConfig, evaluate_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.types import EvaluationResult, ReIDDataset


@dataclass(frozen=True, eq=False)
class SearchedSet:
    """A query set that a model has searched in the gallery.

    Attributes:
        extractor: the model. query, gallery: embedded. how: they were compared.
        result: the scores of all slots together.
    """

    extractor: PartExtractor
    query: EmbeddedSplit
    gallery: EmbeddedSplit
    how: HowCompared
    result: EvaluationResult

    @property
    def matching(self) -> MatchingConfig:
        """The rule of matching."""
        return self.how.matching


def query_sets(dataset: ReIDDataset, wanted: Sequence[str] | None = None) -> list[str]:
    """The query sets to search, all where None is wanted.

    Raises:
        DataError: there is none, or none of that name.
    """
    if not dataset.queries:
        raise DataError(f"{dataset.name} ({dataset.root}) has no query images, so it cannot be evaluated.")
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
    split, how = splits[name], HowCompared.of(extractor)
    result = evaluate_embeddings(split.embeddings, gallery.embeddings, split.ids, gallery.ids, matching=how.matching)
    return SearchedSet(extractor, split, gallery, how, result)


def search_sets(
    extractor: PartExtractor,
    dataset: ReIDDataset,
    queries: Sequence[str],
    *,
    how: HowCompared | None = None,
    options: EvaluationConfig | None = None,
    shared: bool = False,
) -> dict[str, tuple[SearchedSet, QuerySetScores]]:
    """Embed query sets and the gallery, and score each set, overall and per embedding.

    Compared ``how`` it says, by the model's own way where it is None. Processes under torchrun share the embedding if
    ``shared``; the first one alone scores, and the others get nothing.
    """
    how = how or HowCompared.of(extractor)
    splits, gallery = embed_sets(extractor, dataset, queries, shared=shared)
    if shared and not processes.is_first():
        return {}
    found = {}
    for name, split in splits.items():
        scores = score_query_set(split, gallery, matching=how.matching, options=options)
        found[name] = SearchedSet(extractor, split, gallery, how, scores.result), scores
    return found
