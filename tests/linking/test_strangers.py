"""Links under an open-set rule: who was seen once is rarely linked, and the notes say how rarely."""

from __future__ import annotations

import pytest
import torch

from partreid.errors import DataError
from partreid.linking import LinkTrack, LinkTracks, link
from partreid.retrieval import MatchCalibration, OpenSetRule
from partreid.types import PartEmbeddings

CURVES = MatchCalibration(prior=0.05, offsets=(10.0,), slopes=(2.0,))
WIDTH = 8


def images(people: torch.Tensor, generator: torch.Generator, *, model: str = "") -> PartEmbeddings:
    noise = 0.35 * torch.randn(people.shape, generator=generator)
    return PartEmbeddings(people + noise, torch.ones(len(people), 1), ("foreground",), model)


def test_at_most_so_many_lone_tracks_are_linked() -> None:
    broken = 0
    for trial in range(12):
        generator = torch.Generator().manual_seed(trial)
        crowd = torch.randn(80, 1, WIDTH, generator=generator)
        rule = OpenSetRule(images(crowd, generator), images(crowd, generator), CURVES, "made up", max_false=0.1)
        people = torch.randn(90, 1, WIDTH, generator=generator)  # 30 seen twice, 60 once
        every = images(torch.cat([people, people[:30]]), generator)
        tracks = LinkTracks(tuple(LinkTrack(f"{i:03}", f"cam{i}") for i in range(120)), every)
        found = link(tracks, CURVES, max_wrong=1.0, prior=0.02, rule=rule)
        sizes = found.sizes
        lone = sum(sizes[found.persons[i]] > 1 for i in range(30, 90)) / 60
        broken += lone > rule.max_false
        pairs = sum(found.persons[i] == found.persons[90 + i] for i in range(30))
        assert pairs > 0, "some are linked"
        assert any("at most 10 % of the tracks whose person has no other track here" in note for note in found.notes)
        free = link(tracks, CURVES, max_wrong=1.0, prior=0.02)
        assert sum(free.sizes[free.persons[i]] > 1 for i in range(30, 90)) / 60 > lone
    assert broken <= 3


def test_tracks_of_another_model_or_look_are_told() -> None:
    generator = torch.Generator().manual_seed(0)
    crowd = torch.randn(60, 1, WIDTH, generator=generator)
    rule = OpenSetRule(images(crowd, generator), images(crowd, generator), CURVES, max_false=0.05)
    for model, shift, expected in (("", 3.0, "do not look like the images"), ("other", 0.0, "")):
        every = images(torch.randn(20, 1, WIDTH, generator=generator) + shift, generator, model=model)
        tracks = LinkTracks(tuple(LinkTrack(f"{i:03}", f"cam{i}") for i in range(20)), every)
        if expected:
            assert any(expected in note for note in link(tracks, CURVES, rule=rule).notes)
            continue
        mine = OpenSetRule(rule.strangers, rule.mates, CURVES.model_copy(update={"model": "mine"}), max_false=0.05)
        with pytest.raises(DataError, match="belongs to model mine"):
            link(tracks, CURVES, rule=mine)
