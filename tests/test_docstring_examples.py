"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

SOURCE = Path(__file__).parents[1] / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch, "np": np})
    assert failed == 0
    assert attempted or not name.startswith("partreid.functional")  # elsewhere an example may need a file


def test_every_file_of_tensor_functions_has_one() -> None:
    files = {f"partreid.functional.{path.stem}" for path in (SOURCE / "partreid" / "functional").glob("[!_]*.py")}
    assert files
    assert files <= set(MODULES)
