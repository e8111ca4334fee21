"""Pairs of labelled images, folds by identity, and the measures of a probability."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.evaluation import calibration as module
from partreid.evaluation.calibration import (
    BASE_RATE,
    BY_DISTANCE,
    BY_PARTS,
    cross_validate,
    fit_calibration,
    labelled_pairs,
    measure,
)
from partreid.evaluation.dataset import EmbeddedSplit
from partreid.retrieval.calibration import LabelledPairs, MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, ReIDImage

SLOTS = ("foreground", "head")


def split(n: int, *, seed: int, cameras: bool = True, dataset: str = "made up", people: int = 12) -> EmbeddedSplit:
    centres = torch.randn(people, 2, 5, generator=torch.Generator().manual_seed(77))
    generator = torch.Generator().manual_seed(seed)
    pids = torch.arange(n) % people
    images = tuple(
        ReIDImage(Path(f"{i % 20}.jpg"), int(pid), i // people % 3 if cameras else None, dataset=dataset)
        for i, pid in enumerate(pids)
    )
    vectors = centres[pids] + 0.9 * torch.randn(n, 2, 5, generator=generator)
    visibility = (torch.rand(n, 2, generator=generator) > 0.3).float()
    return EmbeddedSplit(images, PartEmbeddings(vectors, visibility, SLOTS), {})


@pytest.mark.parametrize("cameras", [True, False])
@pytest.mark.parametrize("budget", [1, 2**28])
def test_pairs_are_those_that_evaluation_counts(cameras: bool, budget: int) -> None:
    query, gallery = split(15, seed=1, cameras=cameras), split(40, seed=2, cameras=cameras)
    matching = MatchingConfig(normalize=True)
    got = labelled_pairs(query, gallery, matching=matching, memory_budget=budget)
    distances = matching.distances(query.embeddings, gallery.embeddings)
    expected = [
        (q.pid, g.pid, float(distances[i, j]), q.pid == g.pid)
        for i, q in enumerate(query.images)
        for j, g in enumerate(gallery.images)
        if q.pid != g.pid or q.view != g.view
    ]
    assert len(got) == len(expected) < 15 * 40
    assert torch.isinf(got.distances).any()
    assert torch.equal(torch.isinf(got.distances), got.comparable == 0)
    np.testing.assert_allclose(got.distances, [distance for _, _, distance, _ in expected], rtol=1e-5)
    assert got.same.tolist() == [same for *_, same in expected]
    assert torch.equal(got.same, got.query_person == got.gallery_person)
    assert (got.weights == 1).all()


def test_a_draw_keeps_all_matches_and_stands_for_all_others() -> None:
    query, gallery = split(60, seed=1), split(200, seed=2)
    everything = labelled_pairs(query, gallery, matching=MatchingConfig())
    drawn = labelled_pairs(query, gallery, matching=MatchingConfig(), max_negatives=2000)
    assert int(drawn.same.sum()) == int(everything.same.sum())
    assert 1700 < int((~drawn.same).sum()) < 2300
    assert float(drawn.weights.sum()) == pytest.approx(len(everything), rel=0.1)
    again = labelled_pairs(query, gallery, matching=MatchingConfig(), max_negatives=2000)
    assert torch.equal(again.distances, drawn.distances)


def test_persons_of_two_sets_stay_apart() -> None:
    pairs = [
        labelled_pairs(split(24, seed=1, dataset=name), split(36, seed=2, dataset=name), matching=MatchingConfig())
        for name in ("one", "two")
    ]
    assert not set(pairs[0].query_person.tolist()) & set(pairs[1].query_person.tolist())
    assert set(pairs[0].query_person.tolist()) == set(pairs[0].gallery_person.tolist())


PAIRS = labelled_pairs(split(48, seed=3), split(120, seed=4), matching=MatchingConfig())


def test_nobody_is_judged_by_what_was_learned_from_him(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[set[int]] = []
    judged: list[LabelledPairs] = []
    fit, weigh = module.fit_calibration, module.measure

    def noting(pairs: LabelledPairs, **options: Any) -> MatchCalibration:
        learned.append({*pairs.query_person.tolist(), *pairs.gallery_person.tolist()})
        return fit(pairs, **options)

    def measuring(probabilities: torch.Tensor, pairs: LabelledPairs) -> module.CalibrationQuality:
        judged.append(pairs)
        return weigh(probabilities, pairs)

    monkeypatch.setattr(module, "fit_calibration", noting)
    monkeypatch.setattr(module, "measure", measuring)
    cross_validate(PAIRS, num_slots=2, folds=4)
    everyone = set(PAIRS.query_person.tolist())
    folds = [everyone - people for people in learned[::2]]
    assert learned[::2] == learned[1::2]
    assert sorted(map(len, folds)) == [3, 3, 3, 3]
    assert set.union(*folds) == everyone
    # Every pair of one person is judged once, and pairs of two persons only within a fold.
    assert int(judged[0].same.sum()) == int(PAIRS.same.sum())
    sizes = [int(sum(int(q) in f and int(g) in f for q, g in _people(PAIRS))) for f in folds]
    assert len(judged[0]) == sum(sizes)
    assert judged[0].base_rate == pytest.approx(PAIRS.base_rate)
    start = 0
    for fold, size in zip(folds, sizes, strict=True):
        assert {int(p) for pair in _people(judged[0])[start : start + size] for p in pair} == fold
        start += size


def _people(pairs: LabelledPairs) -> list[tuple[int, int]]:
    return list(zip(pairs.query_person.tolist(), pairs.gallery_person.tolist(), strict=True))


def test_quality_is_measured_at_the_prior_asked_for() -> None:
    natural = cross_validate(PAIRS, num_slots=2)
    assert natural[BASE_RATE].brier == pytest.approx(PAIRS.base_rate * (1 - PAIRS.base_rate))
    assert natural[BASE_RATE].calibration_error == pytest.approx(0, abs=1e-9)
    even = cross_validate(PAIRS, num_slots=2, prior=0.5)
    assert even[BASE_RATE].brier == pytest.approx(0.25)
    assert even[BASE_RATE].log_loss == pytest.approx(math.log(2))
    for quality in (natural, even):
        assert quality[BY_PARTS].brier < quality[BASE_RATE].brier
        assert quality[BY_PARTS].log_loss < quality[BASE_RATE].log_loss
    assert sum(row.fraction for row in even[BY_PARTS].bins) == pytest.approx(1)
    assert [row.name for row in even[BY_PARTS].slots] == ["0", "1", "2"]
    assert even[BY_PARTS].slots[0].predicted == pytest.approx(0.5)


def test_the_number_of_slots_helps_where_it_matters() -> None:
    """Over two slots a distance of 2 is a match, over one it is not."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    truth = MatchCalibration(prior=0.3, offsets=(2.0, 6.0), slopes=(2.0, 2.0))
    distances = 4 * torch.rand(n, generator=generator).double()
    comparable = torch.randint(1, 3, (n,), generator=generator)
    same = torch.rand(n, generator=generator) < truth.probability(distances, comparable)
    person = torch.randint(0, 20, (n,), generator=generator)
    other = torch.where(same, person, (person + 5 * torch.randint(1, 4, (n,), generator=generator)) % 20)
    quality = cross_validate(
        LabelledPairs(distances, comparable, same, torch.ones(n).double(), person, other), num_slots=2, folds=2
    )
    assert quality[BY_PARTS].brier < 0.9 * quality[BY_DISTANCE].brier
    for row in quality[BY_PARTS].slots:
        assert row.predicted == pytest.approx(row.observed, abs=0.04)
    assert max(abs(row.predicted - row.observed) for row in quality[BY_DISTANCE].slots) > 0.1


def test_measures_by_plain_loops() -> None:
    generator = np.random.default_rng(0)
    p, same, weights = generator.random(300), generator.random(300) < 0.4, generator.random(300) + 0.5
    ones = torch.ones(300)
    got = measure(
        torch.from_numpy(p),
        LabelledPairs(ones, ones.long(), torch.from_numpy(same), torch.from_numpy(weights), ones, ones),
    )
    total = sum(weights)
    assert got.brier == pytest.approx(sum(w * (a - s) ** 2 for w, a, s in zip(weights, p, same, strict=True)) / total)
    loss = -sum(w * math.log(a if s else 1 - a) for w, a, s in zip(weights, p, same, strict=True)) / total
    assert got.log_loss == pytest.approx(loss)
    error = 0.0
    for b in range(10):
        chosen = [i for i in range(300) if b / 10 <= p[i] < (b + 1) / 10]
        mass = sum(weights[i] for i in chosen)
        predicted = sum(weights[i] * p[i] for i in chosen) / mass
        observed = sum(weights[i] * same[i] for i in chosen) / mass
        row = got.bins[b]
        assert (row.name, row.pairs) == (f"{b / 10:.1f}-{(b + 1) / 10:.1f}", len(chosen))
        assert (row.predicted, row.observed) == (pytest.approx(predicted), pytest.approx(observed))
        error += mass / total * abs(predicted - observed)
    assert got.calibration_error == pytest.approx(error)
    certain = LabelledPairs(ones, ones.long(), torch.ones(300, dtype=torch.bool), ones, ones, ones)
    assert math.isfinite(measure(torch.zeros(300), certain).log_loss)


def test_large_ids_stay_apart() -> None:
    embeddings = split(4, seed=1).embeddings
    stamp = 20201123000100000000
    images = [ReIDImage(Path(f"{i}.jpg"), pid, i % 2) for i, pid in enumerate([stamp, stamp, stamp + 1, 2**31])]
    both = EmbeddedSplit(tuple(images), embeddings, {})
    pairs = labelled_pairs(both, both, matching=MatchingConfig())
    assert pairs.same.sum() == 2  # the first two, both ways; each with itself is junk
    assert len(pairs.query_person.unique()) == 3
    for option in ({"max_negatives": 2.5}, {"seed": True}, {"memory_budget": 0}, {"max_negatives": None}):
        with pytest.raises(ShapeError, match="is a whole number of at least"):
            labelled_pairs(both, both, matching=MatchingConfig(), **option)  # type: ignore[arg-type]


def test_a_prior_of_zero_is_not_the_prior_of_the_pairs() -> None:
    for prior in (0, 1, float("nan")):
        with pytest.raises(ConfigError, match="prior"):
            fit_calibration(PAIRS, num_slots=2, prior=prior)


def test_too_few_persons() -> None:
    few = labelled_pairs(split(6, seed=1, people=3), split(9, seed=2, people=3), matching=MatchingConfig())
    with pytest.raises(DataError, match="4 persons with a match, 2 in each of at least 2 folds, got 3 persons"):
        cross_validate(few, num_slots=2)


def test_the_prior_is_that_of_the_pairs_unless_told() -> None:
    assert fit_calibration(PAIRS, num_slots=2).prior == pytest.approx(PAIRS.base_rate)
    told = fit_calibration(PAIRS, num_slots=2, prior=0.5)
    assert told.prior == 0.5
    assert told.offsets == fit_calibration(PAIRS, num_slots=2).offsets


@pytest.mark.parametrize("folds", [1, float("nan"), 2.5, True, None])
def test_folds_are_whole_numbers(folds: float) -> None:
    with pytest.raises(ShapeError, match="folds is a whole number of at least 2"):
        cross_validate(PAIRS, num_slots=2, folds=folds)  # type: ignore[arg-type]
