"""Fuzzed arguments to every public function: typed errors only (the rule stands in ``tests/property/fuzzing.py``)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property import fuzz_functional
from tests.property.fuzzing import Target, check_right, check_wrong

TARGETS = [*fuzz_functional.TARGETS]
every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@every_target
@given(st.data())
def test_right_arguments_give_sound_results(target: Target, data: st.DataObject) -> None:
    check_right(target, data)


@every_target
@given(st.data())
def test_wrong_arguments_give_typed_errors(target: Target, data: st.DataObject) -> None:
    check_wrong(target, data)
