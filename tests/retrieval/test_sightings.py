"""Two images of each person: one draw a person, other cameras, and rules from labelled galleries."""

from __future__ import annotations

import pytest
import torch

from partreid.errors import DataError, ShapeError
from partreid.retrieval import Gallery, MatchCalibration, rule_of_gallery, two_sightings
from partreid.retrieval.sightings import MOST_PERSONS
from partreid.types import PartEmbeddings

CURVES = MatchCalibration(prior=0.1, offsets=(4.0,), slopes=(4.0,), fitted_on="made up")


def test_each_person_is_one_draw_from_two_views() -> None:
    persons = ["a"] * 9 + ["b", "b", "c", None, None, "d", "d"]
    views = [1, 1, 1, 1, 2, 2, 2, 3, 3, 1, 1, 1, 1, 2, None, None]
    drawn = set()
    for seed in range(30):
        first, second = two_sightings(persons, views, seed=seed)
        assert [persons[i] for i in first] == [persons[i] for i in second] == ["a", "d"]
        assert views[first[0]] != views[second[0]]
        assert first[1] != second[1], "unknown cameras may differ, an image not from itself"
        drawn.add((first[0], second[0]))
    assert len(drawn) > 15
    assert two_sightings(persons, views, seed=1) == two_sightings(persons, views, seed=1)
    with pytest.raises(ShapeError, match="view for each of 2"):
        two_sightings(["a", "b"], [1])


def test_very_many_persons_are_sampled() -> None:
    first, second = two_sightings([i // 2 for i in range(2600)], [i % 2 for i in range(2600)])
    assert len(first) == len(set(first)) == MOST_PERSONS
    assert all(a // 2 == b // 2 for a, b in zip(first, second, strict=True))


def test_a_gallery_that_names_its_persons() -> None:
    gallery = Gallery()
    with pytest.raises(DataError, match="is empty"):
        rule_of_gallery(gallery, CURVES)
    looks = torch.arange(110.0)[:, None, None]
    everyone = PartEmbeddings(looks, torch.ones(110, 1), ("foreground",))
    said = [{"person": i // 2} if i < 100 else {} for i in range(110)]
    gallery.add(everyone[:98], [f"{i:03}" for i in range(98)], cameras=[i % 2 for i in range(98)], metadata=said[:98])
    with pytest.raises(DataError, match="at least 50 persons, got 49 persons"):
        rule_of_gallery(gallery, CURVES)
    gallery.add(
        everyone[98:], [f"{i:03}" for i in range(98, 110)], cameras=[i % 2 for i in range(12)], metadata=said[98:]
    )
    rule = rule_of_gallery(gallery, CURVES, fitted_on="my yard")
    assert (len(rule), rule.fitted_on, round(rule.max_false, 4)) == (50, "my yard", 0.0582)
    assert torch.equal(rule.strangers.vectors.flatten() // 2, rule.mates.vectors.flatten() // 2)
    assert not torch.equal(rule.strangers.vectors, rule.mates.vectors)
