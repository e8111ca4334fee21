"""Comparing a few images agrees with Eq. 9 written out, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.compare import compare
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head", "feet")


def embeddings(seed: int, count: int, model: str = "m") -> PartEmbeddings:
    random = torch.Generator().manual_seed(seed)
    seen = (torch.rand(count, 3, generator=random) > 0.4).float() * torch.rand(count, 3, generator=random)
    return PartEmbeddings(torch.randn(count, 3, 5, generator=random), seen, SLOTS, model)


@pytest.mark.parametrize(
    "matching", [None, MatchingConfig(normalize=True, slots=("feet", "head"), visibility="geometric")]
)
def test_every_pair_as_the_formula_says(matching: MatchingConfig | None) -> None:
    a, b = embeddings(0, 7), embeddings(1, 9)
    found = compare(a, b, matching=matching)
    rule = matching or MatchingConfig()
    slots = rule.slots or SLOTS
    assert found.slots == slots
    assert found.probability is None
    for i in range(7):
        for j in range(9):
            total = weight = 0.0
            parts = {}
            for slot in slots:
                s = SLOTS.index(slot)
                x, y = a.vectors[i, s].double(), b.vectors[j, s].double()
                if rule.normalize:
                    x, y = x / x.norm(), y / y.norm()
                product = float(a.visibility[i, s] * b.visibility[j, s])
                factor = math.sqrt(product) if rule.visibility == "geometric" else product
                if factor:
                    parts[slot] = float((x - y).norm())
                    total, weight = total + factor * parts[slot], weight + factor
            assert found.parts(i, j) == pytest.approx(parts, rel=1e-4)
            assert int(found.compared[i, j]) == len(parts)
            assert float(found.distances[i, j]) == pytest.approx(total / weight if weight else math.inf, rel=1e-4)
    assert torch.isinf(found.distances).any()  # such pairs were among them


def test_probabilities_are_the_calibration_s() -> None:
    a, b = embeddings(0, 4), embeddings(1, 6)
    calibration = MatchCalibration(
        prior=0.2, offsets=(2.0, 3.0, 4.0), slopes=(1.0, 1.5, 2.0), model="m", matching=MatchingConfig(normalize=True)
    )
    found = compare(a, b, calibration=calibration)
    assert torch.equal(found.probability, calibration.probabilities(a, b))
    assert torch.equal(found.distances, calibration.matching.distances(a, b))
    assert torch.equal(compare(a, b, calibration=calibration, matching=calibration.matching).distances, found.distances)
    with pytest.raises(ConfigError, match="own way of matching"):
        compare(a, b, calibration=calibration, matching=MatchingConfig())
    with pytest.raises(DataError, match="belongs to model m, the embeddings to other"):
        compare(embeddings(0, 4, "other"), embeddings(1, 6, "other"), calibration=calibration)
    with pytest.raises(ShapeError, match="different models"):
        compare(a, embeddings(1, 6, "other"))
    assert compare(embeddings(0, 4, ""), embeddings(1, 6, ""), calibration=calibration).probability is not None


def test_nothing_against_something() -> None:
    found = compare(embeddings(0, 4)[:0], embeddings(1, 6))
    assert found.distances.shape == (0, 6)
    assert found.part_distances.shape == (0, 6, 3)
