"""The examples in the docstrings of public functions run and give what they say."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

MODULES = ["pooling", "visibility", "mining", "losses", "distance", "ranking"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"partreid.functional.{name}")
    failed, attempted = doctest.testmod(module, extraglobs={"torch": torch, "np": np})
    assert attempted > 0
    assert failed == 0
