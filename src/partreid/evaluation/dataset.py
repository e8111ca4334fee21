"""From a model and a data set to scores: each split is embedded once, and every query set is ranked in one gallery."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partreid import processes
from partreid.datasets.readers import choose_labels
from partreid.errors import DataError, nearest
from partreid.evaluation.evaluator import EvaluationConfig, Identities, evaluate_embeddings
from partreid.evaluation.slots import SlotRow, slot_mapping, slot_table
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.objects import Guided
from partreid.parts import GLOBAL
from partreid.progress import Advance, Progress, no_progress
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.runners.runner import TorchRunner
from partreid.types import EvaluationResult, PartEmbeddings, ReIDDataset, ReIDImage


@dataclass(frozen=True, eq=False, repr=False)
class EmbeddedSplit(Guided):
    """Images with all vectors that are compared.

    Attributes:
        images: N images. embeddings: [N, S, D].
        holistic: "global" and "concat" vectors, [N, *] each (paper Table 3, f_g and f_c), if the model has them.
    """

    images: tuple[ReIDImage, ...]
    embeddings: PartEmbeddings
    holistic: dict[str, Tensor]

    @property
    def ids(self) -> Identities:
        """Persons, cameras (if known), and files of the images."""
        return Identities(
            [image.pid for image in self.images],
            [image.camid for image in self.images],
            [image.path for image in self.images],
        )

    def table(self) -> dict[str, PartEmbeddings]:
        """Each embedding by name, for :func:`slot_table`."""
        return slot_mapping(self.embeddings, holistic=self.holistic)


@dataclass(frozen=True, eq=False, repr=False)
class QuerySetScores(Guided):
    """Scores of one query set.

    Attributes:
        result: all slots compared, without re-ranking.
        slots: a row for each single embedding, and for all together (Table 3); empty if that table was not requested.
        reranked: the same as ``result`` with re-ranking, if it was requested.
    """

    result: EvaluationResult
    slots: tuple[SlotRow, ...] = ()
    reranked: EvaluationResult | None = None

    def summary(self) -> dict[str, Any]:
        """All scores as plain values, for JSON: those of ``result``, "embeddings", and "reranked" if there are any."""
        reranked = {} if self.reranked is None else {"reranked": self.reranked.summary()}
        return {**self.result.summary(), "embeddings": [row.summary() for row in self.slots], **reranked}


def embed_split(
    extractor: PartExtractor,
    images: Sequence[ReIDImage],
    *,
    advance: Advance = lambda count: None,
    shared: bool = False,
) -> EmbeddedSplit:
    """Embed images of a data set.

    Args:
        extractor: the model. images: at least one.
        advance: called with the number of images after each batch.
        shared: under torchrun, let each process embed a part. The first process returns all embeddings, in the same
            order as a single process would; the others return their part. Every process must call this function.

    Raises:
        DataError: an image cannot be read; the message names it.
    """
    count = processes.count() if shared else 1
    count = count if len(images) >= count else 1
    if count > 1:
        processes.join(extractor.device)
    rank = processes.rank() if count > 1 else 0
    first, end = (len(images) * one // count for one in (rank, rank + 1))
    embeddings: list[PartEmbeddings] = []
    holistic: dict[str, list[Tensor]] = defaultdict(list)
    for output in extractor.outputs(list(images[first:end])):
        embeddings.append(output.embeddings)
        for name, vectors in ((GLOBAL, output.features.global_), ("concat", output.features.concat)):
            if vectors is not None and name not in output.embeddings.slots:
                holistic[name].append(vectors)
        advance(count * len(output.embeddings))
    mine = PartEmbeddings.cat(embeddings), {name: torch.cat(vectors) for name, vectors in holistic.items()}
    if count == 1:
        return EmbeddedSplit(tuple(images), *mine)
    parts = processes.gather_to_first(mine)
    if not processes.is_first():
        return EmbeddedSplit(tuple(images[first:end]), *mine)
    whole = {name: torch.cat([part[name] for _, part in parts]) for name in mine[1]}
    return EmbeddedSplit(tuple(images), PartEmbeddings.cat(part for part, _ in parts), whole)


def score_query_set(
    query: EmbeddedSplit,
    gallery: EmbeddedSplit,
    *,
    matching: MatchingConfig | None = None,
    options: EvaluationConfig | None = None,
    slots: bool = True,
) -> QuerySetScores:
    """Scores of one query set in the gallery, overall and, unless ``slots`` is False, for each embedding.

    Raises:
        DataError: no query has a positive in the gallery.
    """
    options = options or EvaluationConfig()

    def score(how: EvaluationConfig) -> EvaluationResult:
        return evaluate_embeddings(
            query.embeddings, gallery.embeddings, query.ids, gallery.ids, matching=matching, options=how
        )

    result = score(options.model_copy(update={"reranking": None}))
    reranked = None if options.reranking is None else score(options)
    if not slots:
        return QuerySetScores(result, reranked=reranked)
    rows = slot_table(query.table(), gallery.table(), query.ids, gallery.ids, matching=matching, options=options)
    return QuerySetScores(result, tuple(rows), reranked)


def chance_rank1(dataset: ReIDDataset) -> float:
    """The expected rank-1 of a random ranking for the first query set: the mean fraction of positives among the gallery
    images that count.

    Raises:
        DataError: there are no queries, or none has a positive.
    """
    people = Counter(image.pid for image in dataset.gallery)
    junk = Counter((image.pid, image.view) for image in dataset.gallery)
    fractions = []
    for image in dataset.query:
        ignored = junk[image.pid, image.view]
        if positives := people[image.pid] - ignored:
            fractions.append(positives / (len(dataset.gallery) - ignored))
    if not fractions:
        raise DataError(f"No query of {dataset.name} has a match in the gallery.")
    return sum(fractions) / len(fractions)


@dataclass(frozen=True, eq=False, repr=False)
class SearchedSet(Guided):
    """A query set with the results of its search in the gallery.

    Attributes:
        extractor: the model. query, gallery: embedded. how: how they were compared. scores: the result.
    """

    extractor: PartExtractor
    query: EmbeddedSplit
    gallery: EmbeddedSplit
    how: HowCompared
    scores: QuerySetScores


def query_sets(dataset: ReIDDataset, wanted: Sequence[str] | None = None) -> list[str]:
    """The query sets to search; None = all.

    Raises:
        DataError: there are none, or none of that name.
    """
    if not dataset.queries:
        raise DataError(f"{dataset.name} ({dataset.root}) has no query images, so it cannot be evaluated.")
    chosen = list(wanted or dataset.queries)
    for name in chosen:
        if name not in dataset.queries:
            raise DataError(f"{dataset.root} has no query set {name!r}. {nearest(name, dataset.queries)}")
    return chosen


def with_needed_labels(extractor: PartExtractor, dataset: ReIDDataset, labels: str = AUTO) -> ReIDDataset:
    """The set with its labels, if the model needs them (fixed attention, Table 2) and the set has none yet."""
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

    ``how`` gives the way of comparison; None = as the model was made for. Processes under torchrun share the embedding
    if ``shared``; only the first one scores, and the others get nothing.
    """
    how = how or HowCompared.of(extractor)
    splits, gallery = embed_sets(extractor, dataset, queries, shared=shared, progress=progress)
    if shared and not processes.is_first():
        return {}
    found = {}
    for name, query in splits.items():
        scores = score_query_set(query, gallery, matching=how.matching, options=options, slots=slots)
        found[name] = SearchedSet(extractor, query, gallery, how, scores)
    return found
