"""``partreid evaluate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, progress_bar, scores_table, slots_table
from partreid.cli.options import BatchSize, DataSets, Device, PrecisionOption, runtime_config
from partreid.cli.pictures import spread, write_attention, write_rankings
from partreid.datasets.readers import read_datasets
from partreid.errors import DataError, nearest
from partreid.evaluation.dataset import (
    EmbeddedSplit,
    QuerySetScores,
    embed_split,
    model_matching,
    score_query_set,
)
from partreid.evaluation.evaluator import EvaluationConfig
from partreid.evaluation.protocols import PROTOCOLS
from partreid.files import atomic_file
from partreid.inference.extractor import PartExtractor
from partreid.runtime import RuntimeConfig
from partreid.types import ReIDDataset

RESULTS_FILE = "results.json"


def evaluate(
    model: Annotated[str, typer.Argument(help="Run or checkpoint folder, or a Hugging Face repository org/name.")],
    data: DataSets,
    query: Annotated[
        list[str] | None, typer.Option("--query", help="Query set, e.g. query or holistic; repeatable. Default: all.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for results.json and pictures, with one folder for each of several sets."
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamplings for 95 % intervals; 0 = none.")] = 0,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Search every query in the gallery and print rank-k, mAP and mINP, overall and per embedding.

    Single query, no re-ranking; gallery pictures of the query's person *and* camera are ignored, and where cameras
    are unknown, the very same file. Several sets are evaluated each by itself.
    """
    evaluate_run(
        model,
        read_datasets(data, labels=None),
        runtime=runtime_config(device, precision, 0, batch_size),
        out=out,
        queries=query,
        options=EvaluationConfig(bootstrap=bootstrap),
    )


def evaluate_run(
    model: str | Path,
    datasets: Sequence[ReIDDataset],
    *,
    runtime: RuntimeConfig,
    out: Path | None = None,
    queries: Sequence[str] | None = None,
    options: EvaluationConfig | None = None,
) -> dict[str, dict[str, QuerySetScores]]:
    """Evaluate a model on each data set, print the tables, and write results and pictures.

    Args:
        model: as for ``PartExtractor.from_pretrained``. datasets: with different names.
        runtime: where. out: folder for the files; several sets have a folder in it, each by its name.
        queries: query sets to search, all where None. options: length of the curve, intervals, memory.

    Returns:
        The scores by data set and query set.

    Raises:
        DataError: a set has no queries or no such query set, or a picture cannot be read.
    """
    chosen = {dataset.name: _query_sets(dataset, queries) for dataset in datasets}
    extractor = PartExtractor.from_pretrained(model, runtime=runtime)
    scores = {}
    for dataset in datasets:
        folder = out / dataset.name if out is not None and len(datasets) > 1 else out
        scores[dataset.name] = _evaluate_one(extractor, dataset, chosen[dataset.name], folder, options)
    rows = {(name, query): score for name, one in scores.items() for query, score in one.items()}
    console.print(scores_table(rows))
    for name, one in scores.items():
        console.print(slots_table(one, dataset=name if len(scores) > 1 else ""))
    for protocol in dict.fromkeys(score.result.protocol for score in rows.values()):
        console.print(PROTOCOLS[protocol].text, style="dim")
    if out is not None:
        console.print(f"Results and pictures: {out}", markup=False)
    return scores


def _query_sets(dataset: ReIDDataset, queries: Sequence[str] | None) -> list[str]:
    if not dataset.queries:
        raise DataError(f"{dataset.name} ({dataset.root}) has no query pictures, so it cannot be evaluated.")
    chosen = list(queries or dataset.queries)
    for name in chosen:
        if name not in dataset.queries:
            raise DataError(f"{dataset.root} has no query set {name!r}. {nearest(name, dataset.queries)}")
    return chosen


def _evaluate_one(
    extractor: PartExtractor,
    dataset: ReIDDataset,
    queries: Sequence[str],
    out: Path | None,
    options: EvaluationConfig | None,
) -> dict[str, QuerySetScores]:
    splits = _embed(extractor, dataset, queries)
    gallery = splits.pop("gallery")
    matching = model_matching(extractor)
    scores = {
        name: score_query_set(split, gallery, matching=matching, options=options) for name, split in splits.items()
    }
    if out is not None:
        _write(out, extractor, splits, gallery, scores)
    return scores


def _embed(extractor: PartExtractor, dataset: ReIDDataset, queries: Sequence[str]) -> dict[str, EmbeddedSplit]:
    images = {"gallery": dataset.gallery} | {name: dataset.queries[name] for name in queries}
    with progress_bar(f"embedding {dataset.name}", sum(map(len, images.values()))) as (progress, task):
        return {
            name: embed_split(extractor, split, advance=lambda count: progress.advance(task, count))
            for name, split in images.items()
        }


def _write(
    out: Path,
    extractor: PartExtractor,
    splits: dict[str, EmbeddedSplit],
    gallery: EmbeddedSplit,
    scores: dict[str, QuerySetScores],
) -> None:
    results = {
        name: {**score.result.summary(), "embeddings": [asdict(row) for row in score.slots]}
        for name, score in scores.items()
    }
    with atomic_file(out / RESULTS_FILE, error=DataError) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name, split in splits.items():
        result = scores[name].result
        title = f"{name}: rank-1 {100 * result.rank(1):.1f} %, mAP {100 * result.mean_ap:.1f} %; best to worst queries"
        write_rankings(out / f"rankings_{name}.png", extractor, split, gallery, result, title=title)
        shown = [split.images[i] for i in spread(result.average_precision, 8)]
        write_attention(out / f"attention_{name}.png", extractor, shown, title=f"{name}: part attention maps")
