"""Table 3 in one pass over the vectors: the same rows as one evaluation for each, and each slot multiplied once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partreid.errors import DataError, ShapeError
from partreid.evaluation import (
    EvaluationConfig,
    MatchingConfig,
    SlotRow,
    evaluate_embeddings,
    slot_mapping,
    slot_table,
)
from partreid.evaluation.slots import rule_of
from partreid.functional.ranking import score_rows
from partreid.types import PartEmbeddings

SLOTS = ("head", "foreground", "torso", "legs")
Ids = tuple[np.ndarray, np.ndarray | None]


def images(n: int, seed: int, *, seen: str = "binary") -> tuple[PartEmbeddings, Ids]:
    """Vectors of small whole numbers, so that distances are exact and many are equal; junk, and parts nobody sees."""
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.integers(-1, 2, (n, 4, 4))).float()
    visibility = torch.from_numpy(rng.random((n, 4))).float()
    if seen == "binary":
        visibility = (visibility > 0.4).float()
    visibility[visibility < 0.4] = 0
    visibility[:, 1] = 1
    visibility[: n // 8, 2:] = 0
    return PartEmbeddings(vectors, visibility, SLOTS), (rng.integers(-1, 7, n), rng.integers(0, 3, n))


def tables(query: PartEmbeddings, gallery: PartEmbeddings) -> tuple[dict[str, PartEmbeddings], ...]:
    """With one holistic vector that is wider than the slots."""
    return tuple(slot_mapping(e, holistic={"concat": e.vectors.flatten(1)}) for e in (query, gallery))


def row_by_row(
    query: dict[str, PartEmbeddings], gallery: dict[str, PartEmbeddings], asked: Ids, stored: Ids, matching: Any
) -> list[SlotRow]:
    """Each row by an evaluation of its own."""
    rows = []
    for name in query:
        rule = rule_of(matching, query[name].slots)
        kinds = {name: rule}
        if len(query[name].slots) > 1 and rule.visibility != "ignore":
            without = rule.model_copy(update={"visibility": "ignore"})
            kinds = {f"{name}, with visibility": rule, f"{name}, without visibility": without}
        visible = float(rule.prepare(query[name]).visibility[torch.from_numpy(asked[0] != -1)].mean())
        for label, kind in kinds.items():
            r = evaluate_embeddings(query[name], gallery[name], asked, stored, matching=kind)
            rows.append(SlotRow(label, r.rank(1), r.rank(5), r.rank(10), r.mean_ap, r.mean_inp, visible))
    return rows


@pytest.fixture(params=["plain", "compiled"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.functional._blocks._LARGEST", (128, 32))
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr("partreid.functional._loops._WORTH_COMPILING", 0)


RULES: list[dict[str, Any]] = [
    {},
    {"visibility": "ignore"},
    {"visibility": "geometric", "slot_weights": {"head": 3, "legs": 0.5}},
    {"visibility_threshold": {"head": 0.7, "legs": 0.5}},
    {"visibility_threshold": 0.6, "slot_weights": {"foreground": 2}},
    {"slot_weights": {}},
    {"normalize": True},
]


@pytest.mark.usefixtures("_way")
@pytest.mark.filterwarnings("ignore:matching:UserWarning")  # of binary visibilities
@pytest.mark.parametrize("seen", ["binary", "continuous"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rows_are_those_of_one_evaluation_each(rule: dict[str, Any], seen: str) -> None:
    (query, asked), (gallery, stored) = images(50, 1, seen=seen), images(90, 2, seen=seen)
    pair = tables(*(replace(e, compare_weights={"torso": 2.0, "head": 4.0}) for e in (query, gallery)))
    matching = MatchingConfig.parse(rule)
    for cameras in (True, False):
        ids = (asked, stored) if cameras else ((asked[0], None), (stored[0], None))
        assert slot_table(*pair, *ids, matching=matching) == row_by_row(*pair, *ids, matching)


def test_each_slot_is_multiplied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (query, asked), (gallery, stored) = images(50, 1), images(90, 2)
    multiplied: Counter[int] = Counter()
    multiply = torch.addmm

    def noting(into: Tensor, a: Tensor, b: Tensor, **options: Any) -> Tensor:
        multiplied[a.shape[1]] += len(a) * b.shape[1]
        return multiply(into, a, b, **options)

    monkeypatch.setattr("partreid.functional._blocks.torch.addmm", noting)
    rows = slot_table(*tables(query, gallery), asked, stored)
    assert [row.name for row in rows] == [
        "concat", *SLOTS, "parts, with visibility", "parts, without visibility",
        "foreground + parts, with visibility", "foreground + parts, without visibility",
    ]  # fmt: skip
    pairs = int((asked[0] != -1).sum() * (stored[0] != -1).sum())
    assert multiplied == {4: len(SLOTS) * pairs, 16: pairs}


def test_a_large_gallery_takes_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    (query, asked), (gallery, stored) = images(50, 1), images(90, 2)
    pair = tables(query, gallery)
    once = slot_table(*pair, asked, stored)
    room_for_three = 2**20 // (3 * 5 * int((stored[0] != -1).sum()))
    monkeypatch.setattr("partreid.evaluation.evaluator._FEWEST", room_for_three)
    sizes: list[int] = []

    def noting(distances: Tensor, *ids: Any) -> Any:
        sizes.append(len(distances))
        return score_rows(distances, *ids)

    monkeypatch.setattr("partreid.evaluation.evaluator.score_rows", noting)
    assert slot_table(*pair, asked, stored, options=EvaluationConfig(memory_budget_mib=1)) == once
    queries = int((asked[0] != -1).sum())
    assert max(sizes) == 3 * queries
    assert sum(sizes) == len(once) * queries


def test_like_names_of_other_vectors_share_nothing() -> None:
    (query, asked), (gallery, stored) = images(50, 1), images(90, 2)
    (other, _), (others, _) = images(50, 3), images(90, 4)
    for change in (
        lambda e, o: o.select("head"),  # other vectors
        lambda e, o: replace(e.select("head"), visibility=o.select("head").visibility),
        lambda e, o: replace(e.select("head"), compare_normalized=True),
        lambda e, o: e.select("head").to(dtype=torch.float64),
    ):
        pair = ({"all": query, "one": change(query, other)}, {"all": gallery, "one": change(gallery, others)})
        assert slot_table(*pair, asked, stored) == row_by_row(*pair, asked, stored, MatchingConfig())


def test_errors_are_those_of_an_evaluation() -> None:
    (query, asked), (gallery, stored) = images(50, 1), images(90, 2)
    pair = tables(query, gallery)
    with pytest.raises(DataError, match="None of the 50 queries has a positive"):
        slot_table(*pair, (np.full(50, 77), None), (stored[0], None))
    with pytest.raises(DataError, match="among the 0 gallery images"):
        slot_table(pair[0], {name: e[:0] for name, e in pair[1].items()}, asked, (stored[0][:0], stored[0][:0]))
    with pytest.raises(DataError, match="None of the 0 queries"):
        slot_table({name: e[:0] for name, e in pair[0].items()}, pair[1], ([], []), stored)
    with pytest.raises(ShapeError, match="The gallery has 90 embeddings but 50 person ids"):
        slot_table(*pair, asked, asked)
    broken = gallery.vectors.clone()
    broken[3, 2, 1] = torch.nan
    with pytest.raises(ShapeError, match="'torso'.* holds NaN or infinity"):
        slot_table(*tables(query, replace(gallery, vectors=broken)), asked, stored)
    other = {name: replace(e, model="other") for name, e in pair[1].items()}
    with pytest.raises(ShapeError, match="come from different models"):
        slot_table({name: replace(e, model="one") for name, e in pair[0].items()}, other, asked, stored)
    assert slot_table({}, {}, asked, stored) == []
