"""Eq. 2, 6, 7, 8 against plain loops; gradients, also where vectors coincide; batches without a triplet."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import LabelError, ShapeError
from partreid.functional.losses import (
    IGNORED_LABEL,
    identity_loss,
    part_attention_loss,
    part_averaged_triplet,
    per_part_triplet,
)
from partreid.functional.mining import batch_hard, pairwise_distances


def test_part_attention_loss_is_equation_2_with_n_classes() -> None:
    logits, labels = torch.randn(2, 4, 3, 2), torch.randint(0, 4, (2, 3, 2))
    maps, n, eps, total = logits.softmax(dim=1), 4, 0.1, 0.0
    for b, h, w in product(range(2), range(3), range(2)):
        for k in range(n):
            q = 1 - (n - 1) / n * eps if labels[b, h, w] == k else eps / n
            total -= q * math.log(float(maps[b, k, h, w]))
    assert float(part_attention_loss(logits, labels)) == pytest.approx(total / 12, rel=1e-5)


def test_ignored_pixels_do_not_count_and_all_ignored_is_zero() -> None:
    logits, labels = torch.randn(2, 4, 3, 2).requires_grad_(), torch.randint(0, 4, (2, 3, 2))
    masked = labels.clone()
    masked[1] = IGNORED_LABEL
    with torch.no_grad():
        half, whole = part_attention_loss(logits, masked), part_attention_loss(logits[:1], labels[:1])
    assert float(half) == pytest.approx(float(whole), rel=1e-5)
    nothing = part_attention_loss(logits, torch.full_like(labels, IGNORED_LABEL))
    nothing.backward()
    assert nothing.item() == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0


def test_part_attention_gradient() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1], [2, 1]]])
    assert torch.autograd.gradcheck(lambda x: part_attention_loss(x, labels), logits)


def test_part_attention_messages() -> None:
    with pytest.raises(LabelError, match=r"Expected labels \(1, 2, 2\)"):
        part_attention_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long))
    with pytest.raises(LabelError, match="0..2 for K = 2 parts, got 3"):
        part_attention_loss(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 3))


def test_identity_loss_smooths_over_identities() -> None:
    logits, pids = torch.randn(3, 5), torch.tensor([0, 4, 2])
    total = 0.0
    for row, pid in zip(logits.log_softmax(dim=1), pids, strict=True):
        total -= sum((0.9 + 0.02 if j == pid else 0.02) * float(row[j]) for j in range(5))
    assert float(identity_loss(logits, pids)) == pytest.approx(total / 3, rel=1e-5)
    parts = torch.stack([logits, logits], dim=1)
    assert float(identity_loss(parts, pids)) == pytest.approx(total / 3, rel=1e-5)


def _loop_triplet(distance: list[list[float]], pids: list[int], margin: float) -> float:
    losses = []
    for a in range(len(pids)):
        positive = [distance[a][j] for j in range(len(pids)) if pids[j] == pids[a] and j != a]
        negative = [distance[a][j] for j in range(len(pids)) if pids[j] != pids[a]]
        if positive and negative:
            losses.append(max(0.0, max(positive) - min(negative) + margin))
    return sum(losses) / len(losses) if losses else 0.0


def _distances(vectors: torch.Tensor, parts: list[int]) -> list[list[float]]:
    """Eq. 7 over some parts, by loops."""
    n = len(vectors)
    return [
        [sum(math.dist(vectors[i, k].tolist(), vectors[j, k].tolist()) for k in parts) / len(parts) for j in range(n)]
        for i in range(n)
    ]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_triplets_are_equations_7_and_8(pids: list[int], seed: int) -> None:
    vectors = torch.randn(len(pids), 3, 4, generator=torch.Generator().manual_seed(seed))
    averaged = part_averaged_triplet(vectors, torch.tensor(pids)).loss
    assert float(averaged) == pytest.approx(_loop_triplet(_distances(vectors, [0, 1, 2]), pids, 0.3), abs=1e-5)
    single = [_loop_triplet(_distances(vectors, [k]), pids, 0.3) for k in range(3)]
    assert float(per_part_triplet(vectors, torch.tensor(pids)).loss) == pytest.approx(sum(single) / 3, abs=1e-5)


@pytest.mark.parametrize("loss", [part_averaged_triplet, per_part_triplet])
def test_triplet_gradient(loss: type) -> None:
    vectors = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    pids = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda v: loss(v, pids, margin=5.0).loss, vectors)


@pytest.mark.parametrize("loss", [part_averaged_triplet, per_part_triplet])
def test_coinciding_vectors_have_a_finite_gradient(loss: type) -> None:
    same = torch.randn(1, 2, 3).expand(4, 2, 3).clone().requires_grad_()
    result = loss(same, torch.tensor([0, 0, 1, 1]))
    result.loss.backward()
    assert float(result.loss) == pytest.approx(0.3)
    assert float(result.active) == 1
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("loss", [part_averaged_triplet, per_part_triplet])
@pytest.mark.parametrize("pids", [[0, 0, 0], [0, 1, 2], [0]])
def test_a_batch_without_a_triplet_gives_zero_and_a_gradient(loss: type, pids: list[int]) -> None:
    vectors = torch.randn(len(pids), 2, 3, requires_grad=True)
    result = loss(vectors, torch.tensor(pids))
    result.loss.backward()
    assert float(result.loss) == 0
    assert torch.equal(vectors.grad, torch.zeros_like(vectors))


def test_triplet_messages() -> None:
    with pytest.raises(ShapeError, match=r"vectors \[B, K, D\] and pids \[B\]"):
        part_averaged_triplet(torch.zeros(4, 2, 3), torch.zeros(3))
    with pytest.raises(ShapeError, match="floating-point"):
        part_averaged_triplet(torch.zeros(2, 2, 3, dtype=torch.long), torch.tensor([0, 1]))
    with pytest.raises(ShapeError, match=r"\[B, K, D\]"):
        pairwise_distances(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"\[..., 2, 2\]"):
        batch_hard(torch.zeros(3, 3), torch.tensor([0, 1]))


def test_a_vector_that_is_no_number_is_never_near() -> None:
    for wrong in (math.nan, math.inf):
        vectors = torch.randn(4, 1, 3)
        vectors[1, 0, 0] = wrong
        assert not pairwise_distances(vectors)[0, 1].isfinite().any()
        assert not part_averaged_triplet(vectors, torch.tensor([0, 0, 1, 1])).loss.isfinite()


def test_identities_and_labels_are_whole_numbers() -> None:
    vectors, logits = torch.randn(4, 2, 3), torch.randn(4, 3)
    for pids, message in (
        (torch.tensor([0.0, 0.0, 1.0, 1.0]), "of whole numbers, got torch.float32"),
        (torch.tensor([0.0, math.nan, math.nan, 1.0]), "of whole numbers, got torch.float32"),
        (torch.tensor([True, True, False, False]), "of whole numbers, got torch.bool"),
        (torch.tensor([0, -1, -1, 1]), "of at least 0, got -1. Leave images of nobody"),
    ):
        for call in (
            lambda pids=pids: part_averaged_triplet(vectors, pids),
            lambda pids=pids: per_part_triplet(vectors, pids),
            lambda pids=pids: identity_loss(logits, pids),
            lambda pids=pids: batch_hard(torch.rand(4, 4), pids),
        ):
            with pytest.raises(ShapeError, match=message):
                call()
    for labels in (torch.ones(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool), torch.full((1, 2, 2), math.nan)):
        with pytest.raises(LabelError, match="of whole numbers for this feature map"):
            part_attention_loss(torch.zeros(1, 3, 2, 2), labels)
    small = part_attention_loss(torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8))
    assert small == part_attention_loss(torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2, dtype=torch.long))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.1, True, "0.3", None])
def test_margins_and_shares_are_numbers(wrong: float) -> None:
    with pytest.raises(ShapeError, match="margin must be a number in"):
        part_averaged_triplet(torch.randn(4, 2, 3), torch.tensor([0, 0, 1, 1]), margin=wrong)
    with pytest.raises(ShapeError, match=r"smoothing must be a number in \[0, 1\]"):
        identity_loss(torch.randn(1, 3), torch.tensor([0]), smoothing=wrong)


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 100.0])
def test_visibilities_of_another_scale(wrong: float) -> None:
    with pytest.raises(ShapeError, match=r"Expected visibilities in \[0, 1\]"):
        part_averaged_triplet(torch.randn(2, 1, 3), torch.tensor([0, 1]), visibility=torch.full((2, 1), wrong))


def test_distances_are_exact_under_autocast() -> None:
    vectors = torch.randn(4, 2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(pairwise_distances(vectors), torch.cdist(*[vectors.transpose(0, 1)] * 2), atol=1e-4)
