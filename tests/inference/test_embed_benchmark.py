"""``python -m benchmarks embed`` measures everything around a network with one that costs nothing."""

from __future__ import annotations

import pytest
import torch

from partreid.inference.extractor import PartExtractor
from tests.inference.adapted import build, crops


def test_a_network_that_costs_nothing_is_a_runner() -> None:
    embed = pytest.importorskip("benchmarks.embed")
    idle = PartExtractor.from_runner(embed._Idle(build()), runtime=build().runtime)
    made = idle.embed(crops("1", 1))
    assert made.slots == build().slots
    assert torch.isfinite(made.vectors).all()
