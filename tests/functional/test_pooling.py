"""Eq. 3 against plain loops, its gradient, and its messages."""

from __future__ import annotations

import pytest
import torch

from partreid.errors import ShapeError
from partreid.functional.pooling import foreground_map, mean_pool, weighted_average_pool


def test_weighted_average_pool_is_equation_3() -> None:
    features, maps = torch.randn(2, 3, 4, 2), torch.rand(2, 5, 4, 2)
    pooled = weighted_average_pool(features, maps)
    for b in range(2):
        for i in range(5):
            total, mass = torch.zeros(3), 0.0
            for h in range(4):
                for w in range(2):
                    total += features[b, :, h, w] * maps[b, i, h, w]
                    mass += float(maps[b, i, h, w])
            assert torch.allclose(pooled[b, i], total / mass, atol=1e-5)


def test_mean_pool_divides_by_the_number_of_pixels() -> None:
    features, maps = torch.randn(2, 3, 4, 2), torch.rand(2, 1, 4, 2)
    assert torch.allclose(mean_pool(features, maps)[:, 0], (features * maps).mean(dim=(2, 3)), atol=1e-6)


def test_equal_weights_are_global_average_pooling() -> None:
    features = torch.randn(2, 3, 4, 2)
    assert torch.allclose(
        weighted_average_pool(features, torch.full((2, 1, 4, 2), 0.3))[:, 0], features.mean(dim=(2, 3)), atol=1e-6
    )


def test_an_empty_map_gives_zeros_not_nan() -> None:
    assert torch.equal(weighted_average_pool(torch.randn(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)), torch.zeros(1, 1, 3))


def test_foreground_is_the_maximum_over_parts_without_the_background() -> None:
    attention = torch.rand(2, 4, 3, 2)
    attention[:, 0] = 2.0
    expected = torch.stack([attention[:, k] for k in (1, 2, 3)]).max(dim=0).values
    assert torch.equal(foreground_map(attention)[:, 0], expected)


@pytest.mark.parametrize("pool", [weighted_average_pool, mean_pool])
def test_gradients(pool: type) -> None:
    features = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    maps = torch.rand(2, 2, 3, 2, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(pool, (features, maps))


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"differ in size"):
        weighted_average_pool(torch.zeros(1, 2, 4, 2), torch.zeros(1, 2, 4, 3))
    with pytest.raises(ShapeError, match=r"same batch"):
        mean_pool(torch.zeros(1, 2, 4, 2), torch.zeros(2, 2, 4, 2))
