"""A model searches the query sets of a data set: embeddings and scores, from which reports and figures are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partreid import processes
from partreid.datasets.readers import choose_labels
from partreid.errors import DataError, nearest
from partreid.evaluation.dataset import EmbeddedSplit, QuerySetScores, embed_split, score_query_set
from partreid.evaluation.evaluator import EvaluationConfig
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.objects import Guided
from partreid.progress import Progress, no_progress
from partreid.retrieval.how_compared import HowCompared
from partreid.runners.runner import TorchRunner
from partreid.types import ReIDDataset


@dataclass(frozen=True, eq=False, repr=False)
class SearchedSet(Guided):
    """A query set that a model has searched in the gallery.

    Attributes:
        extractor: the model. query, gallery: embedded. how: they were compared. scores: what came of it.
    """

    extractor: PartExtractor
    query: EmbeddedSplit
    gallery: EmbeddedSplit
    how: HowCompared
    scores: QuerySetScores


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
    """The set with its labels, where the model needs them (fixed attention, Table 2) and the set has none yet.

    Raises:
        LabelError: as ``choose_labels``.
    """
    network = extractor.runner.model if isinstance(extractor.runner, TorchRunner) else None
    if network is None or not network.config.pose_guided or any(image.label for image in dataset.gallery):
        return dataset
    return choose_labels(dataset, labels)


def embed_sets(
    extractor: PartExtractor,
    dataset: ReIDDataset,
    queries: Sequence[str],
    *,
    shared: bool = False,
    progress: Progress = no_progress,
) -> tuple[dict[str, EmbeddedSplit], EmbeddedSplit]:
    """The query sets by name, and the gallery, embedded; ``shared`` as in ``embed_split``."""
    images = {"gallery": dataset.gallery} | {name: dataset.queries[name] for name in queries}
    with progress(f"embedding {dataset.name}", sum(map(len, images.values()))) as advance:
        splits = {name: embed_split(extractor, split, advance=advance, shared=shared) for name, split in images.items()}
    gallery = splits.pop("gallery")
    return splits, gallery


def search_sets(
    extractor: PartExtractor,
    dataset: ReIDDataset,
    queries: Sequence[str],
    *,
    how: HowCompared | None = None,
    options: EvaluationConfig | None = None,
    slots: bool = True,
    shared: bool = False,
    progress: Progress = no_progress,
) -> dict[str, SearchedSet]:
    """Embed query sets and the gallery, and score each set, overall and, unless ``slots`` is False, per embedding.

    Compared as ``how`` says; as the model was made for where it is None. Processes under torchrun share the embedding
    if ``shared``; only the first one scores, and the others get nothing.
    """
    how = how or HowCompared.of(extractor)
    splits, gallery = embed_sets(extractor, dataset, queries, shared=shared, progress=progress)
    if shared and not processes.is_first():
        return {}

    def score(split: EmbeddedSplit) -> QuerySetScores:
        return score_query_set(split, gallery, matching=how.matching, options=options, slots=slots)

    return {name: SearchedSet(extractor, split, gallery, how, score(split)) for name, split in splits.items()}
