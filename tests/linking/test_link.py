"""Linking: who is one person, who cannot be, and what it says of itself."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.linking import Corrections, LinkTrack, LinkTracks, TravelTime, link
from partreid.linking.clocks import Clocks
from partreid.linking.cluster import agglomerate
from partreid.linking.evidence import gather_evidence
from partreid.retrieval import LabelledPairs, MatchCalibration
from partreid.retrieval.calibration import fit_curves, usual_strangers
from partreid.types import PartEmbeddings
from tests.linking.people import CURVES, NOON, looks, seen, tracks


def persons(found: object) -> dict[str, str]:
    return {track.id: name for track, name in zip(found.tracks, found.persons, strict=True)}  # type: ignore[attr-defined]


def test_people_are_linked_across_cameras() -> None:
    found = link(tracks((seen("a/1", "a"), 0.0), (seen("a/2", "a"), 9.0), (seen("b/1", "b"), 0.1)), CURVES, prior=0.1)
    assert persons(found) == {"a/1": "p1", "a/2": "p2", "b/1": "p1"}
    assert found.links == 1
    chance = CURVES.with_prior(0.1).probability(torch.tensor([0.1]), torch.tensor([2])).item()
    assert found.probabilities == (pytest.approx(chance, abs=1e-5), None, pytest.approx(chance, abs=1e-5))
    assert found.expected_wrong == pytest.approx(1 - found.lowest, abs=1e-6)  # type: ignore[operator]
    assert [track.id for track in found.of("p1")] == ["a/1", "b/1"]
    assert found.sizes == {"p1": 2, "p2": 1}


def test_one_track_is_a_person() -> None:
    found = link(tracks((seen("a/1"), 0.0)), CURVES)
    assert (found.persons, found.links, found.expected_wrong, found.lowest) == (("p1",), 0, 0.0, None)
    assert not found.notes


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        (seen("a/1", "a", 0, 10), seen("a/2", "a", 5, 10), False),  # overlap
        (seen("a/1", "a", 0, 10), seen("a/2", "a", 10, 10), True),  # of two videos: they only touch
        (seen("a/1", "a", 0, 10), seen("b/2", "b", 5, 10), True),  # cameras may look at one place
        (seen("a/1", None, 0, 10), seen("a/2", None, 5, 10), True),
        (seen("a/1", "a", 5), seen("a/2", "a", 0, 10), False),  # an image during a track
        (
            LinkTrack("a/1", video="v", first=0, last=4),
            LinkTrack("a/2", video="v", first=4, last=9),
            False,
        ),  # one frame
        (LinkTrack("a/1", video="v", first=0, last=4), LinkTrack("a/2", video="v", first=5, last=9), True),
        (LinkTrack("a/1", video="v", first=0, last=4), LinkTrack("a/2", video="w", first=4, last=9), True),
    ],
)
def test_nobody_is_at_two_places_of_a_camera_at_once(first: LinkTrack, second: LinkTrack, one: bool) -> None:
    found = link(tracks((first, 0.0), (second, 0.0)), CURVES, prior=0.5)
    assert (len(found.sizes) == 1) is one
    assert found.impossible == (not one)


def test_whoever_overlaps_with_one_of_a_person_is_none_of_it() -> None:
    """a/1 and a/2 overlap; b/1 looks like both, and only one of them may have it."""
    found = link(
        tracks((seen("a/1", "a", 0, 10), 0.0), (seen("a/2", "a", 5, 10), 0.1), (seen("b/1", "b", 60, 5), 0.02)),
        CURVES, prior=0.5, max_wrong=1,
    )  # fmt: skip
    assert persons(found) == {"a/1": "p1", "b/1": "p1", "a/2": "p2"}


def test_travel_times() -> None:
    pair = tracks((seen("a/1", "a", 0, 10), 0.0), (seen("b/1", "b", 40, 5), 0.0))  # 30 seconds between
    for travel, one in (
        (TravelTime("a", "b", 20, 90), True),
        (TravelTime("b", "a", 20, 90), True),  # both ways
        (TravelTime("a", "b", 31), False),
        (TravelTime("a", "b", 0, 29), False),
        (TravelTime("a", "c", 31), True),
    ):
        found = link(pair, CURVES, prior=0.5, travel=[travel])
        assert (len(found.sizes) == 1) is one, travel
    assert any("'c'" in note or " c" in note for note in found.notes)
    own_way_back = [TravelTime("b", "a", 31), TravelTime("a", "b", 20)]
    assert len(link(pair, CURVES, prior=0.5, travel=own_way_back).sizes) == 1
    at_once = tracks((seen("a/1", "a", 0, 10), 0.0), (seen("b/1", "b", 5, 5), 0.0))
    assert len(link(at_once, CURVES, prior=0.5, travel=[TravelTime("a", "b", 1)]).sizes) == 2
    timeless = tracks((seen("a/1", "a"), 0.0), (seen("b/1", "b"), 0.0))
    found = link(timeless, CURVES, prior=0.5, travel=[TravelTime("a", "b", 1)])
    assert len(found.sizes) == 1
    assert "Travel times do not apply to 2 tracks without a camera or a time." in found.notes
    with pytest.raises(ConfigError, match="two travel times"):
        link(pair, CURVES, travel=[TravelTime("a", "b", 1), TravelTime("a", "b", 2)])


@pytest.mark.parametrize(
    "text", ["a,b", "a,b,x", "a,a,1", "a,b,9,1", "a,b,-1", "a,b,nan", "a,b,inf", ",b,1", "a,b,1,2,3"]
)
def test_wrong_travel_times(text: str) -> None:
    with pytest.raises(ConfigError):
        TravelTime.parse(text)


def test_tracks_that_share_no_part_speak_neither_for_nor_against() -> None:
    names = ("a/1", "b/1", "c/1")
    apart = LinkTracks(tuple(map(seen, names)), looks(0, 0, 0, unseen={0: (0, 1), 1: (0, 1), 2: (0, 1)}))
    found = link(apart, CURVES)
    assert (found.persons, found.probabilities) == (("p1", "p2", "p3"), (None,) * 3)
    assert any("3 pairs share no visible part" in note for note in found.notes)
    # a/1 shows the one slot, b/1 the other; c/1 shows both, and so brings them together.
    chained = LinkTracks(tuple(map(seen, names)), looks(0, 0, 0, unseen={0: (1,), 1: (0,)}))
    assert set(link(chained, CURVES, prior=0.5).persons) == {"p1"}


def test_the_expected_share_of_wrong_links_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(60, generator=generator).mul(4).tolist()
    some = tracks(*((seen(f"c/{i:02d}"), value) for i, value in enumerate(values)))
    before = -1
    for most in (0, 0.01, 0.05, 0.2, 1):
        found = link(some, CURVES, prior=0.2, max_wrong=most)
        assert found.expected_wrong <= most + 1e-12
        assert found.links >= before
        assert found.lowest is None or found.lowest >= 0.5
        before = found.links
    assert before > 20


def test_the_order_of_the_tracks_changes_nothing() -> None:
    values = torch.randn(40, generator=torch.Generator().manual_seed(1)).mul(5).tolist()
    some = [(seen(f"c/{i:02d}", f"{i % 3}", 10 * i, 15), value) for i, value in enumerate(values)]
    expected = link(tracks(*some), CURVES, max_wrong=0.3)
    for seed in range(3):
        random.Random(seed).shuffle(some)
        found = link(tracks(*some), CURVES, max_wrong=0.3)
        assert (found.persons, found.links) == (expected.persons, expected.links)
    assert expected.links


def naive(evidence: object, *, max_wrong: float) -> list[set[int]]:
    """Agglomeration by all pairs of groups, each time anew."""
    ratio, prior = evidence.ratio.astype(float), evidence.prior  # type: ignore[attr-defined]
    shares = evidence.comparable[evidence.pattern][:, evidence.pattern]  # type: ignore[attr-defined]
    groups, links, wrong = [{i} for i in range(len(ratio))], 0, 0.0
    while True:
        best = None
        for i, one in enumerate(groups):
            for j in range(i + 1, len(groups)):
                some = np.ix_(sorted(one), sorted(groups[j]))
                m = shares[some].sum()
                if not m or np.isneginf(ratio[some]).any():
                    continue
                odds = np.log(prior / (1 - prior)) + ratio[some].sum() / m
                if best is None or odds > best[0] + 1e-9:
                    best = (odds, i, j)
        if best is None or best[0] < 0:
            return groups
        chance, m = 1 / (1 + np.exp(-best[0])), len(groups[best[1]]) * len(groups[best[2]])
        if wrong + m * (1 - chance) > max_wrong * (links + m):
            return groups
        links, wrong = links + m, wrong + m * (1 - chance)
        groups[best[1]] |= groups.pop(best[2])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hidden", [False, True])
def test_it_is_the_plain_algorithm(seed: int, hidden: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(30, generator=generator).mul(3).tolist()
    unseen = {i: ((0,), (1,), (), (0, 1))[i % 4] for i in range(30)} if hidden else None
    some = tuple(seen(f"c/{i:02d}", f"{i % 2}", 5 * i, 7) for i in range(30))
    made = gather_evidence(looks(*values, unseen=unseen), Clocks(some), CURVES, prior=0.3)
    assert bool(made.comparable.all()) is not hidden
    expected = naive(made, max_wrong=0.2)
    label = agglomerate(made, max_wrong=0.2).label
    assert {frozenset(np.flatnonzero(label == one).tolist()) for one in set(label.tolist())} == set(
        map(frozenset, expected)
    )
    assert len(expected) < 30


def test_the_prior_is_estimated() -> None:
    """Pairs drawn as the calibration says they are: of 200 people with 3 tracks each, 1 of 300 pairs is one person."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(200, 8, generator=generator) * 3
    vectors = (centres.repeat(3, 1) + 0.2 * torch.randn(600, 8, generator=generator))[:, None]
    some = LinkTracks(
        tuple(seen(f"{i:03d}") for i in range(600)), PartEmbeddings(vectors, torch.ones(600, 1), ("foreground",))
    )
    curves = MatchCalibration(prior=0.1, offsets=(20.0,), slopes=(8.0,))
    found = link(some, curves)
    assert found.prior == pytest.approx(2 / 599, rel=0.1)
    assert found.links == pytest.approx(600, rel=0.05)


def test_known_people_keep_their_names_and_get_their_tracks() -> None:
    anna, ben = (LinkTrack(f"file/{name}.jpg", person=name, known=True) for name in ("anna", "ben"))
    other = LinkTrack("file/anna_back.jpg", person="anna", known=True)
    some = tracks((anna, 0.0), (ben, 1.0), (other, 20.0), (seen("a/1"), 20.1), (seen("a/2"), 50.0), (seen("a/3"), 0.05))
    found = link(some, CURVES, prior=0.5, max_wrong=0.2)
    named = persons(found)
    assert (named["a/1"], named["a/3"], named["a/2"]) == ("anna", "anna", "p1")
    assert (named[anna.id], named[ben.id], named[other.id]) == ("anna", "ben", "anna")
    nobody = link(some, CURVES, prior=0.5, max_wrong=0.2, only_known=True)
    assert persons(nobody)["a/2"] == ""


def test_names_stay_when_linked_again() -> None:
    some = [(seen("a/1"), 0.0), (seen("a/2"), 9.0), (seen("b/1"), 0.1)]
    first = link(tracks(*some), CURVES)
    named = persons(first)
    again = [(LinkTrack(track.id, person=named[track.id]), value) for track, value in some]
    new = [(seen("0/1"), 20.0), (seen("0/2"), 9.1)]
    second = persons(link(tracks(*new, *again), CURVES))
    assert second == named | {"0/1": "p3", "0/2": "p2"}
    with_others = LinkTracks(tracks(*new).tracks, looks(20.0, 9.1), frozenset({"p8", "anna"}))
    assert set(link(with_others, CURVES).persons) == {"p9", "p10"}


def test_a_name_goes_to_whoever_has_most_of_its_tracks() -> None:
    former = [(LinkTrack(f"a/{i}", person="p5"), value) for i, value in enumerate((0.0, 0.1, 9.0))]
    found = persons(link(tracks(*former), CURVES, prior=0.3))
    assert found == {"a/0": "p5", "a/1": "p5", "a/2": "p6"}


def test_corrections_are_obeyed() -> None:
    some = tracks((seen("a/1"), 0.0), (seen("a/2"), 9.0), (seen("b/1"), 0.1), (seen("b/2"), 9.1))
    assert persons(link(some, CURVES)) == {"a/1": "p1", "a/2": "p2", "b/1": "p1", "b/2": "p2"}
    said = Corrections().with_said(same=[("a/2", "a/1")])
    found = link(some, CURVES, corrections=said)
    assert set(found.persons) == {"p1"}  # each keeps its looks, so the others follow
    said = Corrections().with_said(different=[("a/1", "b/1")])
    assert persons(link(some, CURVES, corrections=said)) == {"a/1": "p1", "a/2": "p2", "b/1": "p3", "b/2": "p2"}
    both = Corrections().with_said(same=[("a/1", "a/2")], different=[("b/1", "b/2")])
    found = link(some, CURVES, corrections=both)
    assert persons(found)["b/1"] != persons(found)["b/2"]
    gone = Corrections().with_said(same=[("a/1", "x/9")], different=[("a/1", "x/8")])  # tracks that are not there now
    assert len(link(some, CURVES, corrections=gone).sizes) == 2


def test_what_cannot_be_obeyed_is_refused() -> None:
    some = tracks((seen("a/1", "a", 0, 10), 0.0), (seen("a/2", "a", 5, 10), 9.0), (seen("b/1", "b", 60, 1), 0.1))
    with pytest.raises(DataError, match="a/1 = a/2 cannot be: .*same time by one camera"):
        link(some, CURVES, corrections=Corrections().with_said(same=[("a/1", "a/2")]))
    chain = Corrections().with_said(same=[("a/1", "b/1"), ("b/1", "a/2")])
    with pytest.raises(DataError, match="a/1 = b/1 and a/2 = b/1 cannot be"):
        link(some, CURVES, corrections=chain)
    named = [(LinkTrack(f"x/{i}", person=name, known=True), 0.0) for i, name in enumerate(("anna", "ben"))]
    with pytest.raises(DataError, match="'anna'.*'ben'"):
        link(tracks(*named), CURVES, corrections=Corrections().with_said(same=[("x/0", "x/1")]))
    twice = [(seen(f"a/{i}", "a", i, 10, person="anna", known=True), 0.0) for i in range(2)]
    with pytest.raises(DataError, match="both are named 'anna'"):
        link(tracks(*twice), CURVES)
    with pytest.raises(DataError, match="a correction says so"):
        link(tracks((seen("a/1", "a", 0), 0.0), (seen("b/1", "b", 1), 0.0)), CURVES, travel=[TravelTime("a", "b", 60)],
             corrections=Corrections().with_said(same=[("a/1", "b/1")]))  # fmt: skip


def test_what_is_wrong_is_said() -> None:
    one = tracks((seen("a/1"), 0.0), (seen("a/2"), 1.0))
    for most in (-0.1, 1.1, float("nan"), True, "all"):
        with pytest.raises((ConfigError, TypeError)):
            link(one, CURVES, max_wrong=most)
    with pytest.raises(ConfigError, match="prior"):
        link(one, CURVES, prior=0)
    with pytest.raises(DataError, match="at most 1 tracks fit"):
        link(one, CURVES, memory=15)
    other = replace(one.embeddings, model="y")
    with pytest.raises(DataError, match="belongs to model x"):
        link(LinkTracks(one.tracks, other), CURVES.model_copy(update={"model": "x"}))
    with pytest.raises(DataError, match="Two tracks are called 'a/1'"):
        tracks((seen("a/1"), 0.0), (seen("a/1"), 1.0))
    with pytest.raises(ShapeError):
        tracks((seen("a/1"), float("nan")))
    with pytest.raises(ShapeError):
        LinkTracks(one.tracks, looks(1.0))
    for wrong in (
        {"start": NOON, "end": NOON - timedelta(seconds=1)}, {"start": NOON}, {"first": 2.0, "last": 1.0},
        {"last": 1.0}, {"first": float("nan"), "last": 1.0}, {"first": 0.0, "last": float("inf")},
    ):  # fmt: skip
        with pytest.raises(DataError):
            LinkTrack("a/1", **wrong)  # type: ignore[arg-type]


def test_what_was_not_known_is_said() -> None:
    few, note = link(tracks((seen("a/1", "a"), 0.0), (seen("b/1", "b", 3), 9.0)), CURVES).notes
    assert few.startswith("Distances are taken as they are, because 1 pairs are too few")
    assert note.startswith("The place or time of 1 of 2 tracks is unknown")
    several = [(LinkTrack(f"{v}/1", "a", v, first=0.0, last=1.0), 0.0) for v in ("v", "w")]
    _, note = link(tracks(*several), CURVES).notes
    assert note.startswith("Camera a has several videos without times")


def test_merged_tracks_are_judged_by_where_their_strangers_lie() -> None:
    """Distances of merged tracks shrink; a calibration of images, taken as it is, would make all of them one person."""
    generator = torch.Generator().manual_seed(5)
    person = torch.arange(120) % 40

    def made(noise: float) -> LinkTracks:
        vectors = 2 * torch.randn(40, 80, generator=generator)[person] / 80**0.5
        vectors = vectors + noise * torch.randn(120, 80, generator=generator) / 80**0.5
        names = tuple(seen(f"{i:03d}", str(i // 40)) for i in range(120))
        return LinkTracks(names, PartEmbeddings(vectors[:, None], torch.ones(120, 1), ("foreground",)))

    def wrong(found: object) -> float:
        label = np.array(found.persons)  # type: ignore[attr-defined]
        linked = np.triu(label[:, None] == label[None], 1)
        return float((linked & (person[:, None] != person[None]).numpy()).sum() / max(1, linked.sum()))

    images, merged = made(1.4), made(0.7)
    first, second = torch.triu_indices(120, 120, 1)
    distances = CURVES.matching.distances(images.embeddings, images.embeddings)[first, second].double()
    one, other = person[first], person[second]
    pairs = LabelledPairs(distances, torch.ones(7140).long(), one == other, torch.ones(7140).double(), one, other)
    (offset,), (slope,) = fit_curves(pairs, num_slots=1)
    plain = MatchCalibration(prior=pairs.base_rate, offsets=(offset,), slopes=(slope,))
    fitted = plain.model_copy(update={"strangers": usual_strangers(pairs, num_slots=1)})
    taken_as_they_are, found = link(merged, plain), link(merged, fitted)
    assert wrong(taken_as_they_are) > 3 * taken_as_they_are.expected_wrong
    assert any("partreid calibrate" in note for note in taken_as_they_are.notes)
    assert not any("taken as they are" in note for note in found.notes)
    assert wrong(found) <= found.expected_wrong <= 0.1
    assert found.links > 60  # of 120
    assert found.prior == pytest.approx(2 / 119, rel=0.5)
