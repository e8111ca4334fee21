"""What samples promise: against plain sums of binomials, and by simulation; the two-sample test."""

from __future__ import annotations

import math

import pytest
import torch

from partreid.errors import ConfigError, ShapeError
from partreid.functional.tolerance import draws_needed, share_above, share_below, tolerance_rank
from partreid.functional.two_sample import energy_test


def at_most(found: int, count: int, share: float) -> float:
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(found + 1))


@pytest.mark.parametrize("count", [20, 50, 299, 700])
@pytest.mark.parametrize("share", [0.01, 0.06, 0.2])
def test_the_rank_is_the_largest_that_keeps_the_promise(count: int, share: float) -> None:
    rank = tolerance_rank(count, share, confidence=0.95)
    assert rank == 0 or at_most(rank - 1, count, share) <= 0.05
    assert at_most(rank, count, share) > 0.05
    assert (rank > 0) == (count >= draws_needed(share, confidence=0.95))


def test_the_share_above_a_rank_is_where_the_promise_ends() -> None:
    for count, rank in ((50, 1), (299, 1), (500, 4)):
        share = share_above(count, rank, confidence=0.9)
        assert at_most(rank - 1, count, share) == pytest.approx(0.1)
    assert draws_needed(0.01, confidence=0.95) == 299
    assert round(100 * share_above(50, 1, confidence=0.95), 1) == 5.8


def test_promises_are_kept_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(1)
    draws = torch.rand(4000, 120, generator=generator).sort(dim=1, descending=True).values
    rank = tolerance_rank(120, 0.05, confidence=0.9)
    broken = float((1 - draws[:, rank - 1] > 0.05).double().mean())
    assert 0.03 < broken <= 0.1 + 0.015
    # At a threshold that the same draws choose.
    threshold = draws[:, 40]
    bound = torch.tensor([share_below(120, 40, confidence=0.9)])
    assert float((1 - threshold < bound).double().mean()) <= 0.1


def test_wrong_shares_are_refused() -> None:
    for wrong in (0, 1, -0.1, math.nan, True, "1%"):
        with pytest.raises(ConfigError, match="share between 0 and 1"):
            tolerance_rank(50, wrong, confidence=0.95)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        share_above(10, 11, confidence=0.95)
    with pytest.raises(ConfigError, match="at least 0.5"):
        share_below(10, 5, confidence=0.2)


def test_the_energy_test_rejects_one_distribution_as_rarely_as_it_says_and_sees_a_shift() -> None:
    generator = torch.Generator().manual_seed(2)
    same = [
        energy_test(*torch.randn(40, 6, generator=generator).split([12, 28]), permutations=99, seed=trial)
        for trial in range(200)
    ]
    assert sum(p <= 0.05 for p in same) <= 20
    a, b = torch.randn(12, 6, generator=generator), torch.randn(28, 6, generator=generator)
    assert energy_test(a, b + 2) == 1 / 1000
    assert energy_test(a, 3 * b) < 0.05, "a spread is a difference too"
    with pytest.raises(ShapeError, match="two samples"):
        energy_test(a[:1], b)
