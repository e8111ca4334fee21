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
from partreid.reports.blocks import READING, attention_block, ranking_block, slot_legend
from partreid.reports.html import Html, Section, chart, charts, heading, page, paragraph, table
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
    "active": "active triplets (share of anchors)",
    "learning_rate": "learning rate",
    "images_per_second": "speed (images/s)",
}
"""What the values of a training's history are, by the name before the slash."""


@dataclass(frozen=True, eq=False)
class QuerySetReport:
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


@dataclass(frozen=True, eq=False)
class RunReport:
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
        sections = [
            Section("Scores", self._scores(), "scores"),
            Section("Each embedding alone (Table 3)", self._embeddings(), "embeddings"),
            Section("Distances", self._distances(), "distances"),
            *(Section(f"Queries: {one.name}", self._rankings(one), f"queries-{i}")
              for i, one in enumerate(self.query_sets)),
            *(Section(f"Attention: {one.name}", self._attention(one), f"attention-{i}")
              for i, one in enumerate(self.query_sets) if one.attention),
            Section("Training", training_blocks(self.history), "training"),
            Section("Data", self._data(), "data"),
            Section("Configuration", self._configuration(), "configuration"),
            Section("Environment", self._environment(), "environment"),
        ]  # fmt: skip
        first = self.query_sets[0]
        lead = (
            f"{first.name}: rank-1 {_percent(first.result.rank(1))} %, mAP {_percent(first.result.mean_ap)} %, "
            f"{first.result.num_queries:,} queries in {first.result.num_gallery:,} gallery images."
        )
        return page(self.title, sections, lead=lead, pinned=slot_legend(self.slots))

    def _scores(self) -> list[Html]:
        rows = []
        for one in self.query_sets:
            result = one.result
            figures = [_certain(result, "rank1", result.rank(1)), _percent(result.rank(5)), _percent(result.rank(10))]
            figures += [_certain(result, "mAP", result.mean_ap), _percent(result.mean_inp)]
            counts = [f"{n:,}" for n in (result.num_queries, result.num_skipped, result.num_gallery)]
            rows.append((one.name, *counts, *figures))
        columns = ("query set", "queries", "no match", "gallery", "rank-1", "rank-5", "rank-10", "mAP", "mINP")
        curve = draw_cmc({one.name: one.result for one in self.query_sets})
        words = "; ".join(f"{one.name}: rank-1 {_percent(one.result.rank(1))} %" for one in self.query_sets)
        protocols = dict.fromkeys(one.result.protocol for one in self.query_sets)
        return [
            table(columns, rows, caption="All slots compared (Eq. 9), %; in brackets the 95 % bootstrap interval"),
            chart(curve, alt=f"CMC curves. {words}"),
            *(paragraph(PROTOCOLS[name].text if name in PROTOCOLS else name) for name in protocols),
            *([paragraph(self.compared)] if self.compared else []),
        ]

    def _embeddings(self) -> list[Html]:
        columns = ("compared by", "rank-1", "rank-5", "mAP", "mINP", "visible")
        blocks = [
            table(
                columns,
                [(r.name, *map(_percent, (r.rank1, r.rank5, r.mean_ap, r.mean_inp, r.visible))) for r in one.slots],
                caption=f"{one.name}, %",
            )
            for one in self.query_sets
        ]
        words = "Visible = share of the queries' embeddings that the model says it sees; a query that does not show "
        words += "the one part compared still counts, its gallery in stored order."
        return [*blocks, paragraph(words), *([paragraph(self.compared)] if self.compared else [])]

    def _distances(self) -> list[Html]:
        blocks = [
            paragraph(
                "Euclidean distances (no unit) of all query-gallery pairs that count in the scores. "
                "Separation = how often a pair of one person is nearer than a pair of different persons (100 % = "
                "always, 50 % = chance). Not comparable = no slot is visible in both images: the distance is "
                "infinite and ranks last."
            )
        ]
        for one in self.query_sets:
            every = {"all slots (Eq. 9)": one.distances}
            if len(one.slot_distances) > 1:
                every |= {readable(slot): found for slot, found in one.slot_distances.items()}
            drawn = []
            for name, found in every.items():
                same, different = found.pairs
                alt = f"{one.name}, {name}: distances of {same:,} pairs of one person and {different:,} of two."
                title = name
                if not math.isnan(found.separation):
                    title += f" · separation {_percent(found.separation)} %"
                drawn.append(chart(draw_distances(found, title=title), alt=f"{alt} {title}"))
            same, different = one.distances.pairs
            caption = f"{one.name}: {same:,} pairs of one person, {different:,} pairs of different persons"
            blocks += [heading(caption), charts(drawn)]
        return blocks

    def _rankings(self, one: QuerySetReport) -> list[Html]:
        blocks = [paragraph(READING)]
        for name, rows in (("Best queries", one.best), ("Worst queries", one.worst)):
            if rows:
                blocks += [heading(f"{name} (by average precision)"), *(ranking_block(row, self.slots) for row in rows)]
        return blocks

    def _attention(self, one: QuerySetReport) -> list[Html]:
        words = " Green frame ✓ = the part counts as visible, red ✗ = not; max = what Eq. 4 compares with λ_v."
        blocks = [attention_block(row, self.slots) for row in one.attention]
        return [paragraph(attention_note(one.attention) + words), *blocks]

    def _data(self) -> list[Html]:
        rows = [
            (name, f"{images:,}", f"{people:,}", "unknown" if cameras is None else f"{cameras:,}")
            for name, images, people, cameras in self.counts
        ]
        return [table(("split", "images", "identities", "cameras"), rows)]

    def _configuration(self) -> list[Html]:
        blocks = [paragraph(self.config_note)] if self.config_note else []
        plain = {name: value for name, value in self.config.items() if not isinstance(value, Mapping)}
        nested = {name: value for name, value in self.config.items() if isinstance(value, Mapping)}
        for name, values in {"general": plain, **nested}.items():
            rows = [(key, _value(value)) for key, value in flatten(values)]
            if rows:
                blocks.append(table((name, ""), rows))
        return blocks

    def _environment(self) -> list[Html]:
        return [table((name, ""), list(values.items())) for name, values in self.environments.items()]


def training_blocks(history: Sequence[Mapping[str, float]]) -> list[Html]:
    """A chart for each kind of value over the epochs; a sentence where nothing is known."""
    if not history:
        words = "This model holds no history of its training: it was imported, or trained by an earlier version."
        return [paragraph(words)]
    epochs = [int(entry["epoch"]) for entry in history]
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = defaultdict(dict)
    for name in dict.fromkeys(name for entry in history for name in entry if name != "epoch"):
        kind, _, member = name.partition("/")
        values = [float(entry.get(name, float("nan"))) for entry in history]
        panels[kind][readable(member.rstrip("_") or kind)] = (epochs, values)
    drawn = []
    for kind, series in panels.items():
        title = _PANELS.get(kind, readable(kind))
        ends = ", ".join(f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, (_, values) in series.items())
        alt = f"{title}, epochs {epochs[0]} to {epochs[-1]}: {ends}"
        drawn.append(chart(draw_curves({title: series}), alt=alt))
    missing = f" Epochs before {epochs[0]} are not known." if epochs[0] > 1 else ""
    return [paragraph(f"Means over each epoch's steps; {epochs[-1]} epochs.{missing}"), charts(drawn)]


def _certain(result: EvaluationResult, metric: str, value: float) -> str:
    if metric not in result.confidence:
        return _percent(value)
    low, high = result.confidence[metric]
    return f"{_percent(value)} [{_percent(low)}, {_percent(high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
