"""Everything that the page about a run says, gathered from an evaluation and from what was kept of the training."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid.base_config import read_config_file
from partreid.environment import describe_environment
from partreid.evaluation.dataset import QuerySetScores
from partreid.evaluation.searched import SearchedSet
from partreid.evaluation.separation import distance_distribution
from partreid.evaluation.statistics import with_confidence
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import CONFIG_FILE, TRAIN_FILE, find_checkpoint, read_metrics
from partreid.reports.figures import RankingStyle, attention_rows, drawn_labels, ranking_row, spread
from partreid.reports.run_report import QuerySetReport, RunReport
from partreid.retrieval.how_compared import model_name
from partreid.types import ReIDImage

if TYPE_CHECKING:
    from partreid.reports.evaluate import Evaluation

_RANKED, _TOP, _EXAMPLES = 4, 8, 6  # queries at either end, results of each, attention examples


def gather_report(evaluation: Evaluation) -> RunReport:
    """What the page says about an evaluation, its model and the model's training."""
    extractor = next(iter(evaluation.searched.values())).extractor
    # Of an extractor it is not known where it was loaded from, so nothing is known of its training.
    checkpoint = None if isinstance(evaluation.model, PartExtractor) else find_checkpoint(evaluation.model)
    metrics = {} if checkpoint is None else read_metrics(checkpoint)
    config, note = _configuration(checkpoint, evaluation, extractor)
    environments = {"This report": describe_environment(extractor.device) | {"command": _command()}}
    if isinstance(metrics.get("environment"), dict):
        environments["Training"] = {str(name): str(value) for name, value in metrics["environment"].items()}
    dataset = evaluation.dataset
    return RunReport(
        title=f"{model_name(evaluation.model)} on {dataset.name}",
        slots=extractor.slots,
        counts=[_count(name, split) for name, split in dataset.splits.items() if split],
        query_sets=[
            _query_set(name, searched, evaluation.scores[name], evaluation)
            for name, searched in evaluation.searched.items()
        ],
        history=_history(metrics),
        config=config,
        config_note=note,
        environments=environments,
        compared=str(evaluation.how),
    )


def _query_set(name: str, searched: SearchedSet, scores: QuerySetScores, evaluation: Evaluation) -> QuerySetReport:
    query, gallery, matching = searched.query, searched.gallery, searched.how.matching
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
    if searched.extractor.model.config.part_names:
        attention = attention_rows(searched.extractor, drawn_labels(evaluation.dataset, shown, evaluation.labels))
    else:
        attention = []
    return QuerySetReport(
        name=name,
        result=result,
        slots=scores.slots,
        distances=found.pop(""),
        slot_distances=found,
        best=[ranking_row(searched, i, RankingStyle(_TOP)) for i in best],
        worst=[ranking_row(searched, i, RankingStyle(_TOP)) for i in worst],
        attention=attention,
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


def _configuration(
    checkpoint: Path | None, evaluation: Evaluation, extractor: PartExtractor
) -> tuple[dict[str, Any], str]:
    """The whole configuration and where it comes from; of a model that was not trained here, what the model is."""
    tested = {
        "test": evaluation.how.to_json(),
        # With the overrides of this evaluation: the model may have been trained with other values.
        "model": extractor.model.config.model_dump(mode="json", exclude_none=True),
    }
    if checkpoint is None:
        trained: dict[str, Any] = {"preprocess": extractor.preprocess.model_dump(mode="json")}
        return trained | tested, "How it was trained is not known: an extractor was evaluated, not a run."
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
    """What was typed to run this program."""
    program = Path(sys.argv[0]).name
    return shlex.join(["partreid" if program == "__main__.py" else program, *sys.argv[1:]])
