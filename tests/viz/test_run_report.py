"""The page about a run: every section, honest words, nothing that leaves the page, no name that becomes markup."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_people import PARTS, person

from partreid.evaluation.separation import DistanceDistribution
from partreid.evaluation.slots import SlotRow
from partreid.evaluation.statistics import with_confidence
from partreid.functional.ranking import evaluate_ranking
from partreid.labels.grouping import one_hot
from partreid.reports.pages import rankings_page
from partreid.reports.run_report import QuerySetReport, RunReport, training_charts
from partreid.viz.attention import AttentionRow
from partreid.viz.rankings import RankedImage, RankingRow
from tests.pages import read_page

SLOTS = ("foreground", *PARTS)
EVIL = "<script>alert(1)</script>\"'&.jpg"


def row(pid: int, **fields: object) -> RankingRow:
    image, attention, _ = person(pid, pid=pid)
    query = RankedImage(image, f"id {pid}", attention, np.array([1, 1, 0, 1, 1, 1]), note="AP 50 %", name=EVIL)
    distances = np.array([1.0, 2, np.nan, 4, 5, 6])
    right = replace(query, distance=3.5, slot_distances=distances, verdict="right")
    junk = replace(right, verdict="junk", distance=4.0)
    apart = replace(right, verdict="wrong", distance=np.inf, slot_distances=np.full(6, np.nan))
    return RankingRow(query, [right, junk, apart], **fields)  # type: ignore[arg-type]


def distribution(same: int = 5, different: int = 50) -> DistanceDistribution:
    counts = np.zeros(20, int)
    counts[3:5] = same, different
    return DistanceDistribution(
        np.linspace(0, 10, 21), counts * (np.arange(20) < 4), counts * (np.arange(20) > 3), (1, 2)
    )


def query_set(name: str = "query", *, distances: DistanceDistribution | None = None) -> QuerySetReport:
    result = evaluate_ranking(np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2]]), [1, 1], [1, 2, 2])
    image, attention, labels = person(0, pid=0)
    return QuerySetReport(
        name=name,
        result=with_confidence(result, samples=20),
        slots=(SlotRow("head", 0.25, 0.5, 0.75, 0.125, 0.1, 0.875),),
        distances=distances or distribution(),
        slot_distances={slot: distribution(same=i + 1) for i, slot in enumerate(SLOTS[:2])},
        best=[row(1)],
        worst=[row(2)],
        attention=[AttentionRow(image, attention, np.ones(5), one_hot(labels, 5), "id 0", EVIL)],
    )


def report(**fields: object) -> RunReport:
    history = [{"epoch": e, "loss": 5.0 - e, "identity/global_": 3.0 / e, "learning_rate": 1e-3 * e} for e in (1, 2, 3)]
    base = RunReport(
        title="demo on pedestrians",
        slots=SLOTS,
        counts=[("train", 768, 64, 6), ("query", 2, 1, None)],
        query_sets=[query_set(), query_set("holistic")],
        history=history,
        config={"seed": 3, "model": {"parts": "five", "sizes": [1, 2]}, "objective": {"gilt": {"margin": 0.3}}},
        config_note="From train.toml.",
        environments={"This report": {"Python": "3.11", "command": "partreid show report"}},
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def test_everything_is_there() -> None:
    found = read_page(report().page())
    for words in (
        "Scores", "Each embedding alone", "Distances", "Queries: query", "Queries: holistic", "Attention: query",
        "Training", "Data", "Configuration", "Environment", "50.0 [0.0, 100.0]", "12.5", "87.5",
        "768", "unknown", "gilt.margin", "0.3", "1, 2", "partreid show report", "Best queries", "Worst queries",
        "id 1", "1 ✓ 3.50", "– 4.00", "2 ✗ ∞", "full bar = 6.00", "label map Y", "λ_r = 0.5",
        "Cameras are unknown, so nothing is dropped", "6 pairs of one person, 52 pairs of different persons",
    ):  # fmt: skip
        assert words in found.text, words
    alts = [image["alt"] for image in found.all("img")]
    assert sum("learning rate, epochs 1 to 3: learning rate 0.001 to 0.003" in alt for alt in alts) == 1
    assert sum(alt.startswith("CMC curves. query: rank-1 50.0 %") for alt in alts) == 1
    assert sum("pairs of one person" in alt for alt in alts) == 2 * (1 + 2)
    assert any(alt.startswith("Rank 1, right person, distance 3.50, id 1") for alt in alts)


def test_names_cannot_become_markup() -> None:
    hostile = report(
        title=EVIL,
        counts=[(EVIL, 1, 1, 1)],
        query_sets=[query_set(EVIL)],
        config={EVIL: {EVIL: EVIL}},
        config_note=EVIL,
        environments={EVIL: {EVIL: EVIL}},
        history=[{"epoch": 1, EVIL: 1.0}],
    )
    found = read_page(hostile.page())
    assert found.text.count("<script>alert(1)</script>") > 10


@pytest.mark.parametrize("history", [(), [{"epoch": 7, "loss": 1.0}, {"epoch": 8, "loss": 0.5}]])
def test_what_is_not_known_of_the_training_is_said(history: list[dict[str, float]]) -> None:
    words = read_page(report(history=history).page()).text
    assert ("holds no history" in words) == (not history)
    assert ("Epochs before 7 are not known" in words) == bool(history)


def test_terms_of_one_kind_share_a_chart() -> None:
    charts = training_charts(
        [{"epoch": 1, "identity/a": 1.0, "identity/b": 2.0, "loss": 3.0}, {"epoch": 2, "loss": 1.0}]
    )
    assert len(charts) == 2


def test_one_query_without_any_comparable_pair_and_one_slot() -> None:
    empty = DistanceDistribution(np.linspace(0, 1, 5), np.zeros(4, int), np.zeros(4, int), (0, 3))
    alone = replace(query_set(), distances=empty, slot_distances={"global": empty}, best=[], worst=[], attention=())
    found = read_page(report(query_sets=[alone], slots=("global",)).page())
    assert not [image for image in found.all("img") if "nan" in image["alt"]]
    assert "Best queries" not in found.text
    assert "Attention:" not in found.text
    assert sum("pairs of one person" in image["alt"] for image in found.all("img")) == 1


def test_an_empty_page_is_a_page() -> None:
    assert read_page(rankings_page([], SLOTS, title="nothing")).text.count("nothing") == 2
