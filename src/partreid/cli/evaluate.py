"""``partreid evaluate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from partreid import processes
from partreid.cli.console import console, scores_table, slots_table
from partreid.cli.figure_data import RankingStyle, attention_rows, drawn_labels, ranking_row, spread
from partreid.cli.options import (
    BatchSize,
    Calibration,
    DataSets,
    Device,
    Labels,
    LimitIds,
    MatchingOptions,
    Mirror,
    Model,
    MoreData,
    PrecisionOption,
    QuerySets,
    TestOverrides,
    all_datasets,
    runtime_config,
)
from partreid.cli.searched import SearchedSet, query_sets, search_sets, with_needed_labels
from partreid.cli.show_common import write_page
from partreid.cli.show_report import REPORT_FILE, gather_report
from partreid.datasets.readers import read_datasets
from partreid.errors import DataError
from partreid.evaluation.dataset import QuerySetScores
from partreid.evaluation.evaluator import EvaluationConfig
from partreid.evaluation.protocols import PROTOCOLS
from partreid.evaluation.reranking import RerankingConfig
from partreid.evaluation.statistics import with_confidence
from partreid.files import atomic_file
from partreid.labels.locate import AUTO
from partreid.types import ReIDDataset

RESULTS_FILE = "results.json"


def evaluate(
    model: Model,
    data: DataSets = None,
    more: MoreData = None,
    limit_ids: LimitIds = None,
    query: QuerySets = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for results.json and images, with one folder for each of several sets."
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamplings for 95 % intervals in the table; 0 = none. Files always have them.")
    ] = 0,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Show scores with k-reciprocal re-ranking beside those without.")
    ] = False,
    mirror: Mirror = False,
    overrides: TestOverrides = None,
    calibration: Calibration = "",
    labels: Labels = AUTO,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Search every query in the gallery and print rank-k, mAP and mINP, overall and per embedding.

    Single query, no re-ranking unless asked for; gallery images of the query's person *and* camera are ignored, and
    where cameras are unknown, the very same file. Several sets are evaluated each by itself.

    On several devices: `torchrun --nproc-per-node 4 -m partreid evaluate ...` lets each embed a part.
    """
    runtime = runtime_config(device, precision, 0, batch_size)
    evaluate_run(
        model,
        read_datasets(all_datasets(data, more), labels=None, limit_ids=limit_ids),
        how=MatchingOptions(runtime, labels, overrides or (), mirror, calibration),
        out=out,
        queries=query,
        options=EvaluationConfig(bootstrap=bootstrap, reranking=RerankingConfig() if rerank else None),
    )
    processes.leave()


def evaluate_run(
    model: str | Path,
    datasets: Sequence[ReIDDataset],
    *,
    how: MatchingOptions,
    out: Path | None = None,
    queries: Sequence[str] | None = None,
    options: EvaluationConfig | None = None,
) -> dict[str, dict[str, QuerySetScores]]:
    """Evaluate a model on each data set, print the tables, and write results and images.

    Args:
        model: as for ``PartExtractor.from_pretrained``. datasets: with different names.
        how: where, and how images are embedded and compared.
        out: folder for the files; several sets have a folder in it, each by its name.
        queries: query sets to search, all where None. options: length of the curve, intervals, memory, re-ranking.

    Returns:
        The scores by data set and query set. Under torchrun all processes embed, and the first one has the scores.

    Raises:
        DataError: a set has no queries or no such query set, or an image cannot be read.
    """
    chosen = {dataset.name: query_sets(dataset, queries) for dataset in datasets}
    extractor, compared = how.load(model)
    scores = {}
    for dataset in datasets:
        dataset = with_needed_labels(extractor, dataset, how.labels)
        found = search_sets(extractor, dataset, chosen[dataset.name], how=compared, options=options, shared=True)
        if not processes.is_first():
            continue
        scores[dataset.name] = {name: one for name, (_, one) in found.items()}
        if out is not None:
            _write(out / dataset.name if len(datasets) > 1 else out, model, dataset, found, how.labels)
    if not processes.is_first():
        return {}
    rows = {(name, query): score for name, one in scores.items() for query, score in one.items()}
    console.print(scores_table(rows))
    for name, one in scores.items():
        console.print(slots_table(one, dataset=name if len(scores) > 1 else ""))
    results = [result for score in rows.values() for result in (score.result, score.reranked) if result is not None]
    for protocol in dict.fromkeys(result.protocol for result in results):
        console.print(PROTOCOLS[protocol].text, style="dim")
    console.print(str(compared), style="dim", markup=False, highlight=False)
    if out is not None:
        console.print(f"Results, images and {REPORT_FILE}: {out}", markup=False)
    return scores


def _write(
    out: Path,
    model: str | Path,
    dataset: ReIDDataset,
    found: dict[str, tuple[SearchedSet, QuerySetScores]],
    labels: str,
) -> None:
    """Results with intervals, an image of rankings and of attention for each query set, and the report."""
    from partreid.viz.attention import draw_attention
    from partreid.viz.canvas import save_png
    from partreid.viz.rankings import draw_rankings

    found = {name: (searched, _certain(scores)) for name, (searched, scores) in found.items()}
    results = {
        name: {
            **scores.result.summary(),
            "embeddings": [asdict(row) for row in scores.slots],
            **({} if scores.reranked is None else {"reranked": scores.reranked.summary()}),
            **searched.how.to_json(),
        }
        for name, (searched, scores) in found.items()
    }
    with atomic_file(out / RESULTS_FILE, error=DataError) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name, (searched, scores) in found.items():
        result, slots = scores.result, searched.query.embeddings.slots
        title = f"{name}: rank-1 {100 * result.rank(1):.1f} %, mAP {100 * result.mean_ap:.1f} %; best to worst queries"
        rows = [ranking_row(searched, i, RankingStyle()) for i in spread(result.average_precision, 6)]
        save_png(draw_rankings(rows, slots, title=title), out / f"rankings_{name}.png")
        if searched.extractor.model.config.part_names:
            shown = [searched.query.images[i] for i in spread(result.average_precision, 8)]
            maps = attention_rows(searched.extractor, drawn_labels(dataset, shown, labels))
            drawn = draw_attention(maps, slots, title=f"{name}: part attention maps")
            save_png(drawn, out / f"attention_{name}.png")
    write_page(out / REPORT_FILE, gather_report(model, dataset, found, labels=labels).page())


def _certain(scores: QuerySetScores) -> QuerySetScores:
    """The scores with intervals."""
    return scores if scores.result.confidence else replace(scores, result=with_confidence(scores.result))
