"""The page about a run: its training, its scores, and its attention."""

from __future__ import annotations

import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid.base_config import flatten, read_config_file
from partreid.environment import describe_environment
from partreid.evaluation.protocols import PROTOCOLS
from partreid.evaluation.separation import DistanceDistribution, distance_distribution
from partreid.evaluation.slots import SlotRow
from partreid.inference.extractor import PartExtractor
from partreid.models.backbones.network_files import is_network_file
from partreid.models.checkpoint import CONFIG_FILE, TRAIN_FILE, find_checkpoint, read_metrics
from partreid.objects import Guided
from partreid.reports.figures import attention_rows, ranking_row, spread
from partreid.reports.pages import READING, Chart, attention_view, ranking_view, render
from partreid.reports.tables import in_words
from partreid.retrieval.how_compared import model_name
from partreid.types import EvaluationResult, ReIDImage
from partreid.viz.attention import AttentionRow, attention_note
from partreid.viz.canvas import to_array
from partreid.viz.colors import readable
from partreid.viz.curves import draw_cmc, draw_curves, draw_distances
from partreid.viz.rankings import RankingRow

if TYPE_CHECKING:
    from partreid.reports.evaluate import Evaluation

_RANKED, _EXAMPLES = 4, 6  # queries at either end, attention examples
_PANELS = {
    "loss": "objective L (Eq. 5)",
    "identity": "identity losses (cross-entropy, nats)",
    "triplet": "triplet losses (units of distance)",
    "part_attention": "part attention loss (Eq. 2, nats)",
    "active": "active triplets (fraction of anchors)",
    "learning_rate": "learning rate",
    "images_per_second": "speed (images/s)",
}
"""Meaning of the values in a training's history, by the part of their name before the slash."""


@dataclass(frozen=True, eq=False, repr=False)
class QuerySetReport(Guided):
    """The page's content for one query set.

    Attributes:
        name: of the set. result: with confidence intervals. slots: Table 3.
        distances: of all slots together (Eq. 9). slot_distances: of each slot alone.
        best, worst: rankings of the queries with the highest and the lowest average precision.
        attention: examples.
    """

    name: str
    result: EvaluationResult
    slots: Sequence[SlotRow]
    distances: DistanceDistribution
    slot_distances: Mapping[str, DistanceDistribution]
    best: Sequence[RankingRow]
    worst: Sequence[RankingRow]
    attention: Sequence[AttentionRow]

    def slot_scores(self) -> list[tuple[str, ...]]:
        """Rows of a table: the scores of each slot alone (Table 3)."""
        return [(r.name, *map(_percent, (r.rank1, r.rank5, r.mean_ap, r.mean_inp, r.visible))) for r in self.slots]

    def distance_charts(self) -> list[Chart]:
        """Histograms of the distances of all slots together, and of each of several slots."""
        every = {"all slots (Eq. 9)": self.distances}
        if len(self.slot_distances) > 1:
            every |= {readable(slot): found for slot, found in self.slot_distances.items()}
        charts = []
        for name, found in every.items():
            same, different = found.pairs
            title = name
            if not math.isnan(found.separation):
                title += f" · separation {_percent(found.separation)} %"
            alt = f"{self.name}, {name}: distances of {same:,} pairs of one person and {different:,} of two. {title}"
            charts.append(Chart(to_array(draw_distances(found, title=title)), alt))
        return charts


@dataclass(frozen=True, eq=False, repr=False)
class RunReport(Guided):
    """Everything about a run on one data set.

    Attributes:
        title: of the page. slots: names of what the model compares.
        counts: images, identities and cameras of each split. query_sets: the results.
        history: of training, one mapping per epoch with "epoch" and the means of its steps; empty if unknown.
        config: the whole configuration, by section. config_note: where it comes from.
        environments: versions and machine, for each step such as training and evaluation.
        compared: a sentence that says how the images were compared.
    """

    title: str
    slots: tuple[str, ...]
    counts: Sequence[tuple[str, int, int, int | None]]
    query_sets: Sequence[QuerySetReport]
    history: Sequence[Mapping[str, float]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    config_note: str = ""
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    compared: str = ""

    def page(self) -> str:
        """One self-contained HTML page."""
        first = self.query_sets[0]
        counts = f"{first.result.num_queries:,} queries in {first.result.num_gallery:,} gallery images"
        lead = f"{in_words(first.name, first.result)}, {counts}."
        return render(
            "run_report.html", title=self.title, lead=lead, slots=self.slots, report=self, sets=self.query_sets,
            training=training_charts(self.history), reading=READING, ranking_view=ranking_view,
            attention_view=attention_view, attention_note=attention_note,
        )  # fmt: skip

    def scores(self) -> list[tuple[str, ...]]:
        """Rows of a table: the scores of each query set."""
        rows = []
        for one in self.query_sets:
            result = one.result
            figures = [_certain(result, "rank1", result.rank(1)), _percent(result.rank(5)), _percent(result.rank(10))]
            figures += [_certain(result, "mAP", result.mean_ap), _percent(result.mean_inp)]
            counts = [f"{n:,}" for n in (result.num_queries, result.num_skipped, result.num_gallery)]
            rows.append((one.name, *counts, *figures))
        return rows

    def cmc(self) -> Chart:
        """The CMC curves of all query sets."""
        words = "; ".join(f"{one.name}: rank-1 {_percent(one.result.rank(1))} %" for one in self.query_sets)
        return Chart(to_array(draw_cmc({one.name: one.result for one in self.query_sets})), f"CMC curves. {words}")

    def protocols(self) -> list[str]:
        """How the scores were computed, in words."""
        names = dict.fromkeys(one.result.protocol for one in self.query_sets)
        return [PROTOCOLS.get(name, name) for name in names]

    def data(self) -> list[tuple[str, ...]]:
        """Rows of a table: the content of each split."""
        return [
            (name, f"{images:,}", f"{people:,}", "unknown" if cameras is None else f"{cameras:,}")
            for name, images, people, cameras in self.counts
        ]

    def config_tables(self) -> dict[str, list[tuple[str, str]]]:
        """Rows of a table for each section of the configuration."""
        plain = {name: value for name, value in self.config.items() if not isinstance(value, Mapping)}
        nested = {name: value for name, value in self.config.items() if isinstance(value, Mapping)}
        return {
            name: [(key, _value(value)) for key, value in flatten(values)]
            for name, values in {"general": plain, **nested}.items()
        }


def training_charts(history: Sequence[Mapping[str, float]]) -> list[Chart]:
    """A chart for each kind of value over the epochs."""
    if not history:
        return []
    epochs = [int(entry["epoch"]) for entry in history]
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = defaultdict(dict)
    for name in dict.fromkeys(name for entry in history for name in entry if name != "epoch"):
        kind, _, member = name.partition("/")
        values = [float(entry.get(name, float("nan"))) for entry in history]
        panels[kind][readable(member.rstrip("_") or kind)] = (epochs, values)
    charts = []
    for kind, series in panels.items():
        title = _PANELS.get(kind, readable(kind))
        ends = ", ".join(f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, (_, values) in series.items())
        alt = f"{title}, epochs {epochs[0]} to {epochs[-1]}: {ends}"
        charts.append(Chart(to_array(draw_curves({title: series})), alt))
    return charts


def gather_report(evaluation: Evaluation) -> RunReport:
    """The page's content about an evaluation, its model and the model's training."""
    extractor = next(iter(evaluation.searched.values())).extractor
    # The origin of an extractor is unknown, so nothing is known about its training.
    model = evaluation.model
    checkpoint = None if isinstance(model, PartExtractor) or is_network_file(model) else find_checkpoint(model)
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
        query_sets=[_query_set(name, evaluation) for name in evaluation.searched],
        history=_history(metrics),
        config=config,
        config_note=note,
        environments=environments,
        compared=str(evaluation.how),
    )


def _query_set(name: str, evaluation: Evaluation) -> QuerySetReport:
    searched, scores = evaluation.searched[name], evaluation.scores[name]
    query, gallery, matching = searched.query, searched.gallery, searched.how.matching
    order = spread(scores.result.average_precision, len(query.images))
    best = order[:_RANKED]
    worst = [i for i in order[::-1][:_RANKED] if i not in best]
    rules = {slot: matching.model_copy(update={"slots": (slot,)}) for slot in query.embeddings.slots} | {"": matching}
    found = {
        slot: distance_distribution(query.embeddings, gallery.embeddings, query.ids, gallery.ids, matching=rule)
        for slot, rule in rules.items()
    }
    shown = [query.images[i] for i in spread(scores.result.average_precision, _EXAMPLES)]
    with_maps = searched.extractor.model.config.part_names
    return QuerySetReport(
        name=name,
        result=scores.result,
        slots=scores.slots,
        distances=found.pop(""),
        slot_distances=found,
        best=[ranking_row(searched, i) for i in best],
        worst=[ranking_row(searched, i) for i in worst],
        attention=attention_rows(searched.extractor, evaluation.dataset, shown, evaluation.labels) if with_maps else [],
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
    """The whole configuration and its origin. For a model that was not trained here, only the model's configuration."""
    tested = {
        "test": evaluation.how.to_json(),
        # With the overrides of this evaluation, because the model may have been trained with other values.
        "model": extractor.model.config.model_dump(mode="json", exclude_none=True),
    }
    if checkpoint is None:
        trained: dict[str, Any] = {"preprocess": extractor.preprocess.model_dump(mode="json")}
        return trained | tested, "How it was trained is not known: an extractor was evaluated, not a run."
    file = TRAIN_FILE if (checkpoint / TRAIN_FILE).is_file() else CONFIG_FILE
    trained = read_config_file(checkpoint / file)
    stored = trained.get("model")
    before = stored if isinstance(stored, dict) else {}
    changed = [(name, before[name], now) for name, now in tested["model"].items() if before.get(name, now) != now]
    if file == TRAIN_FILE:
        note = f"From {TRAIN_FILE} of the run; unset fields are left out."
    else:
        trained = {name: trained[name] for name in ("preprocess",) if name in trained}
        note = f"How it was trained is not known: the model has no {TRAIN_FILE}. This is what it is ({CONFIG_FILE})."
    if changed:
        replaced = ", ".join(f"model.{name} = {now} instead of {old}" for name, old, now in changed)
        note += f" Replaced for this evaluation: {replaced}."
    return trained | tested, note


def _command() -> str:
    """The command line of this program."""
    program = Path(sys.argv[0]).name
    return shlex.join(["partreid" if program == "__main__.py" else program, *sys.argv[1:]])


def _certain(result: EvaluationResult, metric: str, value: float) -> str:
    if metric not in result.confidence:
        return _percent(value)
    low, high = result.confidence[metric]
    return f"{_percent(value)} [{_percent(low)}, {_percent(high)}]"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
