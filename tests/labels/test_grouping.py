"""Part maps, label maps and flips against golden data and plain loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partreid.errors import LabelError
from partreid.labels.grouping import group_fields, label_map, one_hot
from partreid.parts import PART_SCHEMAS, get_part_schema

GOLDEN = Path(__file__).parents[1] / "golden"
FIELDS = hnp.arrays(
    np.float32, st.tuples(st.just(36), st.integers(1, 4), st.integers(1, 3)), elements=st.floats(0, 1, width=32)
)


@pytest.mark.parametrize("name", ["five", "five_v", "eight"])
def test_golden_label_maps_are_reproduced(name: str) -> None:
    with np.load(GOLDEN / "labels.npz") as golden:
        fields, expected = golden["fields"], golden[f"y_{name}"]
    schema = get_part_schema(name)
    label = label_map(group_fields(fields, schema))
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected)
    np.testing.assert_array_equal(label_map(group_fields(fields[1], schema)), expected[1])


def test_golden_groupings_have_our_channel_sets_in_order() -> None:
    golden = json.loads((GOLDEN / "groupings.json").read_text())
    assert set(golden) == set(PART_SCHEMAS)
    for name, parts in golden.items():
        assert [set(g) for g in PART_SCHEMAS[name].groups] == [set(g) for g in parts.values()], name


@given(FIELDS, st.sampled_from(sorted(PART_SCHEMAS)), st.sampled_from([0.3, 0.5, 1.0]))
def test_label_map_equals_plain_loops(fields: np.ndarray, name: str, threshold: float) -> None:
    schema = get_part_schema(name)
    label = label_map(group_fields(fields, schema), threshold)
    for i, j in np.ndindex(fields.shape[1:]):
        scores = [max(float(fields[c, i, j]) for c in group) for group in schema.groups]
        best = scores.index(max(scores))
        assert label[i, j] == (0 if scores[best] < np.float32(threshold) else best + 1)


def test_a_tie_goes_to_the_first_part_and_the_threshold_counts_as_reached() -> None:
    maps = np.array([0.5, 0.5, 0.2], np.float32).reshape(3, 1, 1)
    assert label_map(maps, 0.5) == 1
    assert label_map(np.nextafter(maps, 0), 0.5) == 0


@given(hnp.arrays(np.uint8, (3, 4), elements=st.integers(0, 5)))
def test_one_hot_gives_the_label_map_back(label: np.ndarray) -> None:
    np.testing.assert_array_equal(label_map(one_hot(label, 5)), label)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(LabelError, match=r"36.*\(35, 3, 3\)"):
        group_fields(np.zeros((35, 3, 3), np.float32), get_part_schema("five"))


def test_part_maps_need_three_or_four_dimensions() -> None:
    with pytest.raises(LabelError, match=r"\[K, h, w\].*\(3, 3\)"):
        label_map(np.zeros((3, 3), np.float32))


def test_a_schema_without_channels_has_no_labels() -> None:
    with pytest.raises(LabelError, match="parts without pose-field channels"):
        group_fields(np.zeros((36, 3, 3)), get_part_schema("unnamed_7"))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_arrays_and_tensors_have_the_same_labels(dtype: type) -> None:
    maps = np.random.default_rng(0).integers(0, 5, (3, 4, 6, 5)).astype(dtype)  # ties and places without any part
    maps[0, :, 0] = 0
    for threshold in (0, 2):
        labels = label_map(maps, threshold)
        assert labels.dtype == np.uint8
        tensor = label_map(torch.from_numpy(maps), threshold)
        assert tensor.dtype == torch.int64
        np.testing.assert_array_equal(labels, tensor.numpy())
        strongest = maps.max(axis=1)
        background = (strongest < threshold) | (strongest == 0)
        np.testing.assert_array_equal(labels, np.where(background, 0, maps.argmax(axis=1) + 1))
    assert not label_map(maps, 0)[0, 0].any()
