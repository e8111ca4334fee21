"""The page about a run: how it was trained, how well it finds people, and what it looked at."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partreid.base_config import flatten
from partreid.evaluation.protocols import PROTOCOLS
from partreid.evaluation.separation import DistanceDistribution
from partreid.evaluation.slots import SlotRow
from partreid.objects import Guided
from partreid.reports.pages import READING, Chart, attention_view, ranking_view, render
from partreid.types import EvaluationResult
from partreid.viz.attention import AttentionRow, attention_note
from partreid.viz.colors import readable
from partreid.viz.curves import draw_cmc, draw_curves
from partreid.viz.distances import draw_distances
from partreid.viz.rankings import RankingRow

_PANELS = {
    "loss": "objective L (Eq. 5)",
    "identity": "identity losses (cross-entropy, nats)",
    "triplet": "triplet losses (units of distance)",
    "part_attention": "part attention loss (Eq. 2, nats)",
    "active": "active triplets (fraction of anchors)",
    "learning_rate": "learning rate",
    "images_per_second": "speed (images/s)",
}
"""What the values of a training's history are, by the name before the slash."""


@dataclass(frozen=True, eq=False, repr=False)
class QuerySetReport(Guided):
    """What is said of one query set.

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
            charts.append(Chart.of(draw_distances(found, title=title), alt))
        return charts


@dataclass(frozen=True, eq=False, repr=False)
class RunReport(Guided):
    """Everything about a run on one data set.

    Attributes:
        title: of the page. slots: names of what the model compares.
        counts: images, identities and cameras of each split. query_sets: the results.
        history: of training, one mapping per epoch with "epoch" and the means of its steps; empty where unknown.
        config: the whole configuration, by section. config_note: where it comes from.
        environments: versions and machine, by what was done with them.
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
        lead = (
            f"{first.name}: rank-1 {_percent(first.result.rank(1))} %, mAP {_percent(first.result.mean_ap)} %, "
            f"{first.result.num_queries:,} queries in {first.result.num_gallery:,} gallery images."
        )
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
        return Chart.of(draw_cmc({one.name: one.result for one in self.query_sets}), f"CMC curves. {words}")

    def protocols(self) -> list[str]:
        """How the scores were computed, in words."""
        names = dict.fromkeys(one.result.protocol for one in self.query_sets)
        return [PROTOCOLS[name].text if name in PROTOCOLS else name for name in names]

    def data(self) -> list[tuple[str, ...]]:
        """Rows of a table: what each split holds."""
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
        charts.append(Chart.of(draw_curves({title: series}), alt))
    return charts


def _certain(result: EvaluationResult, metric: str, value: float) -> str:
    if metric not in result.confidence:
        return _percent(value)
    low, high = result.confidence[metric]
    return f"{_percent(value)} [{_percent(low)}, {_percent(high)}]"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
