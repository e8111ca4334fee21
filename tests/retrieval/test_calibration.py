"""Match probability: the fit, what it knows of the number of slots, its prior, and whom it belongs to."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from partreid.errors import CheckpointError, ConfigError, DataError, ShapeError
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval import Gallery, MatchingConfig
from partreid.retrieval.calibration import CALIBRATION_FILE, LabelledPairs, MatchCalibration, fit_curves
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings

TRUTH = MatchCalibration(prior=0.2, offsets=(2.0, 5.0, 9.0), slopes=(0.8, 1.5, 2.5))


def some_pairs(n: int, *, seed: int = 0, curves: int = 3) -> LabelledPairs:
    """Pairs drawn from TRUTH."""
    generator = torch.Generator().manual_seed(seed)
    distances = 1 + 4 * torch.rand(n, generator=generator).double()
    comparable = torch.randint(1, curves + 1, (n,), generator=generator)
    same = torch.rand(n, generator=generator) < TRUTH.probability(distances, comparable)
    persons = torch.zeros(n, dtype=torch.int64)
    return LabelledPairs(distances, comparable, same, torch.ones(n).double(), persons, persons)


def fitted(pairs: LabelledPairs, num_slots: int = 3) -> MatchCalibration:
    offsets, slopes = fit_curves(pairs, num_slots=num_slots)
    return MatchCalibration(prior=pairs.base_rate, offsets=offsets, slopes=slopes)


GRID = torch.linspace(1, 5, 30).double()


def curve(calibration: MatchCalibration, slots: int) -> torch.Tensor:
    return calibration.probability(GRID, torch.full(GRID.shape, slots))


def test_finds_the_curves_that_pairs_were_drawn_from() -> None:
    pairs = some_pairs(60_000)
    got = fitted(pairs)
    for slots in (1, 2, 3):
        torch.testing.assert_close(curve(got, slots), curve(TRUTH, slots), atol=0.03, rtol=0)


def test_is_the_penalised_optimum() -> None:
    """The objective by plain loops: no small step away from the fit lowers it."""
    pairs = some_pairs(150)
    n, total = len(pairs), float(pairs.weights.sum())
    d, y = pairs.distances.tolist(), pairs.same.tolist()
    mean = sum(d) / total
    scale = math.sqrt(sum((x - mean) ** 2 for x in d) / total)
    logit = math.log(pairs.base_rate / (1 - pairs.base_rate))

    def objective(heights: list[float], slopes: list[float]) -> float:
        loss = 0.0
        for i in range(n):
            c = int(pairs.comparable[i]) - 1
            z = heights[c] - math.exp(slopes[c]) * (d[i] - mean) / scale
            loss += math.log(1 + math.exp(-z if y[i] else z))
        for values, step, far in ((heights, 0.5, 10.0), (slopes, 0.2, 3.0)):
            loss += sum(((a - b) / step) ** 2 for a, b in itertools.pairwise(values)) / 2
            loss += sum((v / far) ** 2 for v in values) / len(values) / 2
        return loss

    offsets, raw = fit_curves(pairs, num_slots=3)
    heights = [o - s * mean + logit for o, s in zip(offsets, raw, strict=True)]
    slopes = [math.log(s * scale) for s in raw]
    best = objective(heights, slopes)
    for i in range(3):
        for step in (-0.05, 0.05):
            assert objective([h + step * (j == i) for j, h in enumerate(heights)], slopes) > best
            assert objective(heights, [s + step * (j == i) for j, s in enumerate(slopes)]) > best


@pytest.mark.parametrize("seed", range(3))
def test_falls_with_distance_whatever_the_pairs(seed: int) -> None:
    pairs = some_pairs(60, seed=seed)
    turned = LabelledPairs(**(vars(pairs) | {"same": ~pairs.same}))  # far pairs are of one person
    for some in (pairs, turned):
        for slots in (1, 2, 3):
            assert (curve(fitted(some), slots).diff() < 0).all()


def test_a_number_of_slots_without_pairs_borrows_from_its_neighbours() -> None:
    pairs = some_pairs(3000)
    got = fitted(pairs[pairs.comparable != 2])
    assert got.slopes[0] < got.slopes[1] < got.slopes[2]
    middle = pairs.distances[pairs.comparable != 2].mean().expand(3)
    low, between, high = sorted(got.probability(middle, torch.tensor([1, 2, 3])).tolist())
    assert between == got.probability(middle[:1], torch.tensor([2]))
    assert low < between < high
    beyond = fitted(pairs, num_slots=5)
    torch.testing.assert_close(curve(beyond, 5), curve(beyond, 3), atol=5e-3, rtol=0)
    # One pair that should not be (probability 0.006 over three slots) moves the curve of four, but not far.
    odd = LabelledPairs.cat([pairs, some_pairs(1)])
    odd.comparable[-1:], odd.same[-1:], odd.distances[-1:] = 4, True, 5.0
    assert 0.001 < float((curve(fitted(odd, 4), 4) - curve(fitted(odd, 4), 3)).abs().max()) < 0.2


def test_persons_that_are_told_apart_perfectly_stay_finite() -> None:
    pairs = some_pairs(200)
    got = fitted(LabelledPairs(**(vars(pairs) | {"same": pairs.distances < 2})))
    assert all(map(math.isfinite, (*got.offsets, *got.slopes)))
    assert float(curve(got, 2)[0]) > 0.99
    assert float(curve(got, 2)[-1]) < 0.01


def test_sampled_negatives_with_weights_give_nearly_the_same() -> None:
    pairs = some_pairs(40_000)
    kept = pairs.same | (torch.rand(len(pairs), generator=torch.Generator().manual_seed(5)) < 0.25)
    sample = pairs[kept]
    sample.weights[~sample.same] = 4.0
    assert sample.base_rate == pytest.approx(pairs.base_rate, rel=0.02)
    got = fitted(sample)
    for slots in (1, 2, 3):
        torch.testing.assert_close(curve(got, slots), curve(fitted(pairs), slots), atol=0.03, rtol=0)


def test_the_prior_shifts_the_odds_and_nothing_else() -> None:
    def odds(p: torch.Tensor) -> torch.Tensor:
        return p / (1 - p)

    rare = TRUTH.with_prior(0.01)
    factor = (0.01 / 0.99) / (0.2 / 0.8)
    torch.testing.assert_close(odds(curve(rare, 2)), odds(curve(TRUTH, 2)) * factor)
    assert rare.with_prior(0.2) == TRUTH
    for wrong in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match="probability between 0 and 1"):
            TRUTH.with_prior(wrong)


SLOTS = ("foreground", "head", "legs")


def embeddings(n: int, seed: int) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, 3, generator=generator) > 0.5).float()
    return PartEmbeddings(torch.randn(n, 3, 4, generator=generator), visibility, SLOTS)


def test_probabilities_of_embeddings_and_of_a_search() -> None:
    query, items = embeddings(6, 1), embeddings(15, 2)
    calibration = TRUTH.model_copy(update={"matching": MatchingConfig(normalize=True)})
    got = calibration.probabilities(query, items)
    distances = calibration.matching.distances(query, items)
    hidden = torch.isinf(distances)
    assert hidden.any()
    torch.testing.assert_close(got[hidden], torch.full_like(got[hidden], 0.2))  # nothing compared: the prior
    counts = calibration.matching.comparable(query, items)
    for q, g in (~hidden).nonzero().tolist():
        n = int(counts[q, g]) - 1
        z = math.log(0.2 / 0.8) + TRUTH.offsets[n] - TRUTH.slopes[n] * float(distances[q, g])
        assert float(got[q, g]) == pytest.approx(1 / (1 + math.exp(-z)), rel=1e-5)
    gallery = Gallery()
    gallery.add(items, [f"{i:02d}" for i in range(15)])
    found = gallery.search(query, k=15, matching=calibration.matching)
    torch.testing.assert_close(
        calibration.of_search(found), got.gather(1, torch.tensor([[int(name) for name in row] for row in found.ids]))
    )
    with pytest.raises(ShapeError, match="numbers of slots in 0..3"):
        calibration.probability(torch.ones(2), torch.tensor([1, 4]))
    assert calibration.probability(torch.ones(0), torch.ones(0).long()).shape == (0,)


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    torch.manual_seed(0)
    return PartExtractor(
        BPBReID(ModelConfig(backbone="resnet18", parts="two_v"), 3),
        PreprocessConfig(height=64, width=32),
        runtime=RuntimeConfig(device="cpu"),
    )


def test_round_trip_beside_a_checkpoint(extractor: PartExtractor, tmp_path: Path) -> None:
    run = save_checkpoint(Checkpoint(extractor.model, extractor.preprocess), tmp_path / "run" / "checkpoint").parent
    matching = MatchingConfig(
        visibility_threshold={"head": 0.25}, slots=("foreground", "head"), slot_weights={"head": 2}
    )
    written = TRUTH.model_copy(update={"matching": matching, "model": extractor.fingerprint, "fitted_on": "blocks"})
    written.save(run / "checkpoint" / CALIBRATION_FILE)
    loaded = PartExtractor.from_pretrained(run, runtime=RuntimeConfig(device="cpu"))
    for source in (run, str(run / "checkpoint"), run / "checkpoint" / CALIBRATION_FILE):
        assert MatchCalibration.load(source, extractor=loaded) == written
    with pytest.raises(CheckpointError):
        MatchCalibration.load(tmp_path / "nowhere")


def test_belongs_to_one_way_of_embedding(extractor: PartExtractor, tmp_path: Path) -> None:
    run = save_checkpoint(Checkpoint(extractor.model, extractor.preprocess), tmp_path / "run")
    TRUTH.model_copy(update={"model": extractor.fingerprint}).save(run / CALIBRATION_FILE)
    cpu = RuntimeConfig(device="cpu")
    others: list[dict[str, Any]] = [{"mirror": True}, {"overrides": ["visibility=argmax"]}]
    foreign = [PartExtractor.from_pretrained(run, runtime=cpu, **options) for options in others]
    foreign.append(PartExtractor(extractor.model, PreprocessConfig(height=96, width=32), runtime=cpu))
    changed = BPBReID(extractor.model.config, 3)
    foreign.append(PartExtractor(changed, extractor.preprocess, runtime=cpu))
    assert len({e.fingerprint for e in (extractor, *foreign)}) == 5
    for other in foreign:
        with pytest.raises(DataError, match=r"made for another model.*partreid calibrate"):
            MatchCalibration.load(run, extractor=other)
    with pytest.raises(DataError, match="it is for none"):
        TRUTH.check(cast(PartExtractor, SimpleNamespace(fingerprint="x")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"partreid-calibration of version 1, got \('partreid-calibration', 2\)"),
        ({"format": "other"}, "expected a partreid-calibration"),
        ({"slopes": [0.8, -1.5, 2.5]}, r"slopes.1 = -1.5.*partreid calibrate"),
        ({"slopes": [0.8]}, "an offset and a slope for 1, 2, ... slots"),
        ({"prior": 1.0}, "prior = 1.0"),
        ({"more": 1}, "unknown field 'more'"),
    ],
)
def test_damaged_files(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = TRUTH.save(tmp_path / "deep" / "c.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | change))
    with pytest.raises(DataError, match=message):
        MatchCalibration.load(path)
    path.write_text(json.dumps(content)[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        MatchCalibration.load(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="expected a partreid-calibration"):
        MatchCalibration.load(path)


def test_pairs_all_of_one_kind_are_refused() -> None:
    pairs = some_pairs(30)
    for only in (pairs[pairs.same], pairs[~pairs.same], pairs[:0]):
        with pytest.raises(DataError, match="pairs of one person and pairs of two"):
            fit_curves(only, num_slots=3)
