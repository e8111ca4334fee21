"""``partreid show report``: one page with everything about a run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partreid.base_config import read_config_file
from partreid.cli.console import console
from partreid.cli.figure_data import RankingStyle, attention_rows, drawn_labels, ranking_row, spread
from partreid.cli.options import (
    BatchSize,
    Data,
    Device,
    Labels,
    LimitIds,
    Model,
    PrecisionOption,
    QuerySets,
    runtime_config,
)
from partreid.cli.searched import SearchedSet, query_sets, search_sets, with_needed_labels
from partreid.cli.show_common import write_page
from partreid.datasets.readers import read_dataset
from partreid.environment import describe_environment
from partreid.evaluation.dataset import QuerySetScores
from partreid.evaluation.separation import distance_distribution
from partreid.evaluation.statistics import with_confidence
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.models.checkpoint import CONFIG_FILE, find_checkpoint, read_metrics
from partreid.training.state import CONFIG_FILE as TRAIN_FILE
from partreid.types import ReIDDataset, ReIDImage

if TYPE_CHECKING:
    from partreid.reports.run_report import QuerySetReport, RunReport

REPORT_FILE = "report.html"
_RANKED, _TOP, _EXAMPLES = 4, 8, 6  # queries at either end, results of each, attention examples


def report(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path(REPORT_FILE),
    query: QuerySets = None,
    limit_ids: LimitIds = None,
    labels: Labels = AUTO,
    device: Device = "auto",
    precision: PrecisionOption = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Write one self-contained HTML page about a run: training, scores, distances, rankings, attention, configuration.

    `partreid evaluate --out FOLDER` writes it too, beside its other results.
    """
    dataset = read_dataset(data, labels=None, limit_ids=limit_ids)
    names = query_sets(dataset, query)
    extractor = PartExtractor.from_pretrained(model, runtime=runtime_config(device, precision, 0, batch_size))
    dataset = with_needed_labels(extractor, dataset, labels)
    sets = search_sets(extractor, dataset, names)
    write_page(out, gather_report(model, dataset, sets, labels=labels).page())
    console.print(f"Written: {out}", markup=False, soft_wrap=True, highlight=False)


def gather_report(
    source: str | Path,
    dataset: ReIDDataset,
    sets: Mapping[str, tuple[SearchedSet, QuerySetScores]],
    *,
    labels: str = AUTO,
) -> RunReport:
    """Everything that the page says.

    Args:
        source: the model, as for ``PartExtractor.from_pretrained``. dataset: that it was evaluated on.
        sets: what it found, by query set. labels: label folder of the attention examples.
    """
    from partreid.reports.run_report import RunReport

    searched = next(iter(sets.values()))[0]
    extractor = searched.extractor
    checkpoint = find_checkpoint(source)
    metrics = read_metrics(checkpoint)
    config, note = _configuration(checkpoint, searched)
    environments = {"This report": describe_environment(extractor.device) | {"command": _command()}}
    if isinstance(metrics.get("environment"), dict):
        environments["Training"] = {str(name): str(value) for name, value in metrics["environment"].items()}
    return RunReport(
        title=f"{Path(source).resolve().name if Path(source).exists() else source} on {dataset.name}",
        slots=extractor.slots,
        counts=[_count(name, split) for name, split in dataset.splits.items() if split],
        query_sets=[_query_set(name, *one, dataset, labels) for name, one in sets.items()],
        history=_history(metrics),
        config=config,
        config_note=note,
        environments=environments,
        compared=str(searched.how),
    )


def _query_set(
    name: str, searched: SearchedSet, scores: QuerySetScores, dataset: ReIDDataset, labels: str
) -> QuerySetReport:
    from partreid.reports.run_report import QuerySetReport

    query, gallery, matching = searched.query, searched.gallery, searched.matching
    result = scores.result if scores.result.confidence else with_confidence(scores.result)
    order = spread(result.average_precision, len(query.images))
    best = order[:_RANKED]
    worst = [i for i in order[::-1][:_RANKED] if i not in best]
    every = query.embeddings.slots
    compared = {slot: matching.model_copy(update={"slots": (slot,)}) for slot in every} | {"": matching}
    found = {
        slot: distance_distribution(query.embeddings, gallery.embeddings, query.ids, gallery.ids, matching=rule)
        for slot, rule in compared.items()
    }
    shown = [query.images[i] for i in spread(result.average_precision, _EXAMPLES)]
    parts = len(searched.extractor.model.config.part_names)
    return QuerySetReport(
        name=name,
        result=result,
        slots=scores.slots,
        distances=found.pop(""),
        slot_distances=found,
        best=[ranking_row(searched, i, RankingStyle(_TOP)) for i in best],
        worst=[ranking_row(searched, i, RankingStyle(_TOP)) for i in worst],
        attention=attention_rows(searched.extractor, drawn_labels(dataset, shown, labels)) if parts else (),
    )


def _history(metrics: Mapping[str, Any]) -> list[dict[str, float]]:
    """The history of training, if the file holds one as this package writes it."""
    history = metrics.get("history")
    entries = history if isinstance(history, list) else []
    whole = all(
        isinstance(entry, dict)
        and isinstance(entry.get("epoch"), int)
        and all(isinstance(value, int | float) for value in entry.values())
        for entry in entries
    )
    return entries if whole else []


def _count(name: str, images: Sequence[ReIDImage]) -> tuple[str, int, int, int | None]:
    cameras = {image.camid for image in images}
    return name, len(images), len({image.pid for image in images}), None if None in cameras else len(cameras)


def _configuration(checkpoint: Path, searched: SearchedSet) -> tuple[dict[str, Any], str]:
    """The whole configuration and where it comes from; of an imported model what the model is."""
    tested = {
        "test": searched.how.to_json(),
        # Overrides of this evaluation included: what was trained may have been otherwise.
        "model": searched.extractor.model.config.model_dump(mode="json", exclude_none=True),
    }
    if (checkpoint / TRAIN_FILE).is_file():
        trained = read_config_file(checkpoint / TRAIN_FILE)
        note = f"From {TRAIN_FILE} of the run; unset fields are left out."
        replaced = _replaced(trained.get("model"), tested["model"])
    else:
        stored = read_config_file(checkpoint / CONFIG_FILE)
        trained = {name: stored[name] for name in ("preprocess",) if name in stored}
        note = f"How it was trained is not known: the model has no {TRAIN_FILE}. This is what it is ({CONFIG_FILE})."
        replaced = _replaced(stored.get("model"), tested["model"])
    if replaced:
        note += f" Replaced for this evaluation: {replaced}."
    return trained | tested, note


def _replaced(stored: object, used: Mapping[str, Any]) -> str:
    """Fields of the model that are others here than where it was stored."""
    before = stored if isinstance(stored, dict) else {}
    changed = [(name, before[name], value) for name, value in used.items() if before.get(name, value) != value]
    return ", ".join(f"model.{name} = {value} instead of {old}" for name, old, value in changed)


def _command() -> str:
    return shlex.join(["partreid", *sys.argv[1:]])
