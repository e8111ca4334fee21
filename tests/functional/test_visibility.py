"""Eq. 4 and the published weights' rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from partreid.errors import ShapeError
from partreid.functional.visibility import (
    VISIBILITY_RULES,
    VisibilityRule,
    argmax_visibility,
    slot_weights,
    threshold_visibility,
    weighs_unseen,
)


def test_threshold_is_strict_and_ignores_the_background() -> None:
    attention = torch.tensor([[0.9, 0.5, 0.4, 0.41], [0.1, 0.2, 0.1, 0.0]]).T.reshape(1, 4, 2, 1)
    assert threshold_visibility(attention).tolist() == [[1.0, 0.0, 1.0]]
    assert threshold_visibility(attention, threshold=0.45).tolist() == [[1.0, 0.0, 0.0]]


def test_argmax_rule_against_loops() -> None:
    attention = torch.rand(8, 5, 3, 2)
    expected = torch.zeros(8, 4)
    for b in range(8):
        for h in range(3):
            for w in range(2):
                winner = max(range(5), key=lambda k: float(attention[b, k, h, w]))
                if winner > 0:
                    expected[b, winner - 1] = 1
    assert torch.equal(argmax_visibility(attention), expected)


@pytest.mark.parametrize("threshold", [40, -0.1, float("nan"), True, "0.4"])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ShapeError, match=r"threshold must be a number in \[0, 1\]"):
        threshold_visibility(torch.rand(1, 3, 2, 2), threshold=threshold)


@pytest.mark.parametrize("rule", [threshold_visibility, argmax_visibility])
def test_message(rule: type) -> None:
    with pytest.raises(ShapeError, match=r"\[B, K\+1, H, W\]"):
        rule(torch.zeros(2, 1, 3, 3))


@pytest.fixture
def own() -> Iterator[str]:
    VISIBILITY_RULES.register("own", lambda v: v)
    yield "own"
    VISIBILITY_RULES.unregister("own")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda v: v + 1, r"in \[0, 1\].*, got 1\.25\.\.2"),
        (lambda v: v * torch.nan, "got nan"),
        (lambda v: v[0], r"got \(2,\) for \(1, 2\)"),
        (lambda v: 3, "got int"),
        (lambda v: v.amax(dim=1, keepdim=True).expand_as(v), "weighs more beside others"),
    ],
)
def test_a_rule_that_breaks_the_contract_is_refused(own: str, rule: VisibilityRule, said: str) -> None:
    VISIBILITY_RULES.register(own, rule, replace=True)
    seen = torch.tensor([[0.0, 1.0]]) if "beside" in said else torch.tensor([[0.25, 1.0]])
    with pytest.raises(ShapeError, match=f"The visibility rule 'own' must give a weight.*{said}"):
        slot_weights(seen, own)


def test_a_rule_of_ones_own_weighs_slots(own: str) -> None:
    VISIBILITY_RULES.register(own, lambda v: v.double() ** 2, replace=True)
    assert slot_weights(torch.tensor([[0.5, 1.0]]), own).tolist() == [[0.25, 1.0]]
    assert slot_weights(torch.tensor([[0.5, 1.0]]), own).dtype == torch.float32
    assert not weighs_unseen(own, 2)
    VISIBILITY_RULES.register(own, lambda v: 0.1 + 0.9 * v, replace=True)
    assert weighs_unseen(own, 2)
