"""The matching rule: thresholds for all slots or for some, continuous visibilities, what counts as compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, ShapeError, WrongTypeError
from partreid.functional.distance import comparable_slots, paired_distances, part_distances
from partreid.retrieval import Gallery, MatchingConfig
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head", "legs")
GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "rank.npz")


def embeddings(n: int, seed: int) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = torch.rand(n, 3, generator=generator) * (torch.rand(n, 3, generator=generator) > 0.3)
    return PartEmbeddings(torch.randn(n, 3, 4, generator=generator), visibility, SLOTS)


QUERY, GALLERY = embeddings(7, 1), embeddings(12, 2)


def test_one_threshold_for_each_slot_named() -> None:
    got = MatchingConfig(visibility_threshold={"legs": 0.7, "head": 0.2}).prepare(QUERY).visibility
    expected = [
        [float(f), float(h > 0.2), float(legs > 0.7)] for f, h, legs in QUERY.visibility.tolist()
    ]  # the foreground is not named and stays as it is
    torch.testing.assert_close(got, torch.tensor(expected))
    same = dict.fromkeys(SLOTS, 0.5)
    for limits in (same, {slot: same[slot] for slot in reversed(SLOTS)}):
        assert torch.equal(
            MatchingConfig(visibility_threshold=limits).distances(QUERY, GALLERY),
            MatchingConfig(visibility_threshold=0.5).distances(QUERY, GALLERY),
        )
    assert torch.equal(MatchingConfig(visibility_threshold={}).prepare(QUERY).visibility, QUERY.visibility)
    assert MatchingConfig(visibility_threshold=0.5).prepare(QUERY).vectors is QUERY.vectors


def test_thresholds_may_name_slots_that_are_not_compared() -> None:
    rule = MatchingConfig(visibility_threshold={"head": 0.5, "legs": 0.1}, slots=("head",))
    prepared = rule.prepare(QUERY)
    assert prepared.slots == ("head",)
    assert torch.equal(prepared.visibility[:, 0], (QUERY.visibility[:, 1] > 0.5).float())


def test_what_was_prepared_is_compared_the_same_way() -> None:
    rule = MatchingConfig(visibility_threshold={"head": 0.5, "legs": 0.1}, slots=("head",), normalize=True)
    got = rule.prepared.distances(rule.prepare(QUERY), rule.prepare(GALLERY))
    assert torch.equal(got, rule.distances(QUERY, GALLERY))


@pytest.mark.parametrize("wrong", [float("nan"), 70.0, -0.1])
def test_a_threshold_hides_no_wrong_visibility(wrong: float) -> None:
    e = PartEmbeddings(torch.ones(1, 2, 3), torch.tensor([[1.0, wrong]]), ("foreground", "head"))
    for limit in (0.5, {"foreground": 0.5}):
        with pytest.raises(ShapeError, match="Image 0, slot 'head'"):
            MatchingConfig(visibility_threshold=limit).prepare(e)


def test_messages_and_text() -> None:
    with pytest.raises(ShapeError, match="No slot 'leg' for a threshold. Did you mean 'legs'"):
        MatchingConfig(visibility_threshold={"leg": 0.5}).prepare(QUERY)
    for wrong in (1.0, {"head": -0.1}, {"head": None}):
        with pytest.raises(ConfigError, match="visibility_threshold"):
            MatchingConfig.parse({"visibility_threshold": wrong})
    rule = MatchingConfig().override(["visibility_threshold={head: 0.3}"])
    assert rule.visibility_threshold == {"head": 0.3}
    assert MatchingConfig.parse(rule.model_dump(mode="json")) == rule


def test_a_weight_is_of_a_slot_and_above_0() -> None:
    for compared in (lambda rule: rule.prepare(QUERY), lambda rule: rule.distances(QUERY, GALLERY)):
        with pytest.raises(ShapeError, match="No slot 'leg' for a weight. Did you mean 'legs'"):
            compared(MatchingConfig(slot_weights={"leg": 2}))
    with pytest.raises(ShapeError, match="No slot 'leg' for a weight. Did you mean 'legs'"):
        part_distances(QUERY, GALLERY, weights={"leg": 2})
    for wrong in (-1, 1e-5, 1e5, float("inf"), float("nan"), True, "much", None):
        with pytest.raises(ConfigError, match="slot_weights.head"):
            MatchingConfig.parse({"slot_weights": {"head": wrong}})
        with pytest.raises(ShapeError, match="The weight of 'head' is"):
            paired_distances(QUERY, QUERY, weights={"head": wrong})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"left out of matching\.slots"):
        MatchingConfig(slot_weights={"head": 0})
    with pytest.raises(WrongTypeError, match="weights by slot"):
        part_distances(QUERY, GALLERY, weights=[1, 2, 3])  # type: ignore[arg-type]
    rule = MatchingConfig().override(["slot_weights={head: 3}"])
    assert rule.slot_weights == {"head": 3.0}
    assert MatchingConfig.parse(rule.model_dump(mode="json")) == rule
    assert MatchingConfig().resolved(QUERY).slot_weights == {}


def test_weights_leave_visibilities_and_numbers_of_slots_as_they_are() -> None:
    rule = MatchingConfig(slot_weights={"head": 100, "legs": 1e-4})
    assert torch.equal(rule.prepare(QUERY).visibility, QUERY.visibility)
    assert torch.equal(rule.comparable(QUERY, GALLERY), MatchingConfig().comparable(QUERY, GALLERY))
    gallery = Gallery()
    gallery.add(GALLERY, map(str, range(len(GALLERY))))
    found, plain = (gallery.search(QUERY, len(GALLERY), matching=one) for one in (rule, None))
    assert found.ids != plain.ids
    assert torch.equal(found.compared.sum(dim=1), plain.compared.sum(dim=1))
    for (query, items), parts in np.ndenumerate(np.array(found.ids)):
        same = plain.ids[query].index(parts)
        assert torch.equal(
            found.part_distances[query, items].nan_to_num(-1), plain.part_distances[query, same].nan_to_num(-1)
        )


def test_a_weight_may_be_of_a_slot_that_is_not_compared() -> None:
    rule = MatchingConfig(slot_weights={"foreground": 9, "head": 2}, slots=("legs", "head"))
    expected = part_distances(QUERY.select("legs", "head"), GALLERY.select("legs", "head"), weights={"head": 2})
    assert torch.equal(rule.distances(QUERY, GALLERY), expected)
    assert torch.equal(rule.prepared.distances(rule.prepare(QUERY), rule.prepare(GALLERY)), expected)


@pytest.mark.parametrize("rule", ["product", "geometric", "ignore"])
def test_comparable_are_the_slots_of_positive_weight(rule: str) -> None:
    matching = MatchingConfig.parse({"visibility": rule})
    got = matching.comparable(QUERY, GALLERY)
    for q in range(len(QUERY)):
        for g in range(len(GALLERY)):
            both = (QUERY.visibility[q] * GALLERY.visibility[g] > 0).sum()
            assert int(got[q, g]) == (3 if rule == "ignore" else int(both))
    assert torch.equal(got == 0, torch.isinf(matching.distances(QUERY, GALLERY)))
    behind = MatchingConfig.parse({"visibility": rule, "visibility_threshold": 0.6})
    assert torch.equal(behind.comparable(QUERY, GALLERY) == 0, torch.isinf(behind.distances(QUERY, GALLERY)))
    assert rule == "ignore" or int(behind.comparable(QUERY, GALLERY).sum()) < int(got.sum())


@pytest.mark.parametrize("rule", ["product", "geometric", "ignore"])
@pytest.mark.parametrize("normalize", [True, False])
def test_chosen_pairs_are_as_far_as_in_the_matrix(rule: str, normalize: bool) -> None:
    row, column = torch.tensor([0, 6, 3, 3]), torch.tensor([11, 0, 4, 4])
    options = {"visibility": rule, "normalize": normalize}
    whole = part_distances(QUERY, GALLERY, **options)  # type: ignore[arg-type]
    got = paired_distances(QUERY[row], GALLERY[column], **options)  # type: ignore[arg-type]
    torch.testing.assert_close(got, whole[row, column], rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match="as many images on both sides, got 7 and 12"):
        paired_distances(QUERY, GALLERY)


def golden(vectors: str, visibility: str) -> PartEmbeddings:
    names = tuple(f"slot{i}" for i in range(9))
    return PartEmbeddings(torch.from_numpy(GOLDEN[vectors]), torch.from_numpy(GOLDEN[visibility]), names)


def test_golden_continuous_visibility_through_matching_and_gallery() -> None:
    """Published numbers: weights sqrt(v_q·v_g) of continuous visibilities."""
    query, items = golden("qf", "qs"), golden("gf", "gs")
    rule = MatchingConfig(normalize=True, visibility="geometric")
    np.testing.assert_allclose(rule.distances(query, items).numpy(), GOLDEN["dist_cont"], rtol=1e-5)
    gallery = Gallery()
    gallery.add(items, [f"{i:03d}" for i in range(len(items))])
    found = gallery.search(query, k=len(items), matching=rule)
    expected = np.sort(GOLDEN["dist_cont"], axis=1)
    np.testing.assert_allclose(found.distances.numpy(), expected, rtol=1e-5)
    assert found.comparable.all()
    compared = comparable_slots(query, items).gather(
        1, torch.tensor([[int(name) for name in row] for row in found.ids])
    )
    assert torch.equal(found.part_distances.isfinite().sum(dim=2), compared)
