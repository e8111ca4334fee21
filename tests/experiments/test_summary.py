"""Means, intervals and verdicts against plain arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from partreid.datasets.readers import read_dataset
from partreid.errors import DataError
from partreid.experiments.execute import Plan
from partreid.experiments.rows import Claim, Experiment, PaperScore, Row
from partreid.experiments.runs import Scores
from partreid.experiments.summary import COLUMNS, as_json, as_markdown, cells, summarize
from partreid.training.train_config import TrainConfig

QUERIES = 200


def scores(mean: float, seed: int) -> Scores:
    rng = np.random.default_rng(seed)
    ap = np.clip(rng.normal(mean, 0.02, QUERIES), 0, 1)
    ap[0] = np.nan
    first = np.where(rng.random(QUERIES) < mean, 1, 5)
    first[0] = 0
    return Scores("a rule", ap, first)


TABLE = Experiment(
    "tablet",
    "A | title",
    (
        Row("best", "best", paper=PaperScore(60, 50)),
        Row("middle", "middle", paper=PaperScore(50, 40)),
        Row("twin", "twin", paper=PaperScore(50, 39)),
        Row("worst", "worst", paper=PaperScore(20, 10)),
        Row("ours", "ours"),
    ),
    (Claim("best", "middle"), Claim("middle", "twin"), Claim("worst", "best"), Claim("best", "ours")),
    notes=("A note.",),
)


@pytest.fixture
def found() -> dict[str, dict[int, Scores]]:
    means = {"best": 0.6, "middle": 0.5, "twin": 0.5, "worst": 0.2}
    return {
        name: {seed: scores(mean, 10 * i + seed) for seed in range(3)} for i, (name, mean) in enumerate(means.items())
    }


def test_a_row_is_mean_deviation_and_interval(found: dict[str, dict[int, Scores]]) -> None:
    row = summarize(TABLE, found).rows[0]
    per_seed = [100 * np.nanmean(s.average_precision) for s in found["best"].values()]
    assert row.mean_ap is not None
    assert row.mean_ap.mean == pytest.approx(np.mean(per_seed))
    assert row.mean_ap.std == pytest.approx(np.std(per_seed, ddof=1))
    assert row.mean_ap.interval.low < row.mean_ap.mean < row.mean_ap.interval.high
    assert row.rank1 is not None
    firsts = [100 * np.mean(s.first_match[1:] == 1) for s in found["best"].values()]
    assert row.rank1.mean == pytest.approx(np.mean(firsts))
    assert row.seeds == (0, 1, 2)


def test_claims_hold_are_reversed_or_undecided(found: dict[str, dict[int, Scores]]) -> None:
    summary = summarize(TABLE, found)
    assert [c.verdict for c in summary.claims] == ["holds", "undecided", "reversed"]  # the last one's row is not done
    assert [c.seeds_for for c in summary.claims][::2] == [3, 0]
    assert summary.claims[0].difference == pytest.approx(10, abs=0.5)
    assert summary.order is not None
    assert summary.order > 0.75


def test_the_order_is_spearmans(found: dict[str, dict[int, Scores]]) -> None:
    turned = {"best": found["worst"], "middle": found["middle"], "worst": found["best"]}
    assert summarize(TABLE, turned).order == pytest.approx(-1)
    assert summarize(TABLE, {"best": found["best"]}).order is None


def test_one_seed_has_no_deviation(found: dict[str, dict[int, Scores]]) -> None:
    summary = summarize(TABLE, {"best": {1: found["best"][1]}})
    assert "±" not in cells(summary.rows[0])[2]
    assert json.loads(json.dumps(as_json(summary), allow_nan=False))["rows"][0]["mAP"]["std"] is None


def test_rows_of_other_queries_are_refused(found: dict[str, dict[int, Scores]]) -> None:
    short = scores(0.5, 1)
    short = Scores(short.protocol, short.average_precision[:50], short.first_match[:50])
    with pytest.raises(DataError, match=r"best and middle were scored on 199 and 49 queries"):
        summarize(TABLE, {"best": found["best"], "middle": {0: short}})
    with pytest.raises(DataError, match="The seeds of best"):
        summarize(TABLE, {"best": {0: found["best"][0], 1: short}})


def test_the_page_holds_every_row_and_claim(found: dict[str, dict[int, Scores]], blocks: Path, tmp_path: Path) -> None:
    dataset = read_dataset(blocks)
    page = as_markdown(summarize(TABLE, found), Plan(tmp_path, TrainConfig(), {dataset.name: dataset}))
    lines = page.splitlines()
    head = lines.index("| " + " | ".join(COLUMNS) + " |")
    assert [line.split(" | ")[0] for line in lines[head + 2 : head + 7]] == [
        "| best", "| middle", "| twin", "| worst", "| ours",
    ]  # fmt: skip
    assert "| ours | – | – | – | – | 0 |" in lines
    (last,) = (line.split(" | ") for line in lines if line.startswith("| worst before best | "))
    assert float(last[1]) == pytest.approx(-40, abs=0.5)
    assert last[3:] == ["0 of 3", "reversed |"]
    assert "* A note." in lines
    assert "24 training images of 6 identities, 4 queries of the query set 'query', 12 in the gallery" in page
