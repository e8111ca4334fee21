"""PartEmbeddings behaves as a batch; what does not fit is named."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional.ranking import evaluate_ranking
from partreid.types import EvaluationResult, PartEmbeddings, check_comparable
from partreid.types.numbers import require_whole

SLOTS = ("foreground", "head", "torso")


def make(count: int = 5, width: int = 4) -> PartEmbeddings:
    vectors = torch.arange(count * 3 * width, dtype=torch.float32).view(count, 3, width)
    return PartEmbeddings(vectors, torch.linspace(0, 1, count * 3).view(count, 3), SLOTS)


@pytest.mark.parametrize(
    ("index", "positions"),
    [
        (2, [2]),
        (-1, [4]),
        (np.int64(3), [3]),
        (torch.tensor(1), [1]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, 2), [0, 2, 4]),
        (slice(None, None, -1), [4, 3, 2, 1, 0]),
        (slice(3, 3), []),
        ([4, 0, 0], [4, 0, 0]),
        ((1, 2), [1, 2]),
        ([], []),
        ([True, False, False, True, False], [0, 3]),
        (np.arange(5)[::-1], [4, 3, 2, 1, 0]),
        (np.array([2, 1], np.uint16), [2, 1]),
        (np.array([False, True, False, False, True]), [1, 4]),
        (torch.tensor([3, 3]), [3, 3]),
        (torch.tensor([-1, 0, -5]), [4, 0, 0]),
        (torch.tensor([2, 0], dtype=torch.int32), [2, 0]),
        (torch.arange(5) > 2, [3, 4]),
        (range(1, 4), [1, 2, 3]),
    ],
)
def test_indexing_keeps_the_batch_dimension(index: Any, positions: list[int]) -> None:
    e = make()
    chosen = e[index]
    assert torch.equal(chosen.vectors, e.vectors[positions])
    assert torch.equal(chosen.visibility, e.visibility[positions])
    assert chosen.slots == SLOTS
    assert len(chosen) == len(positions)


def test_a_slice_is_a_view() -> None:
    e = make()
    assert e[1:3].vectors.data_ptr() == e.vectors[1].data_ptr()


@pytest.mark.parametrize("index", [5, -6, np.int64(5), torch.tensor(9)])
def test_beyond_the_batch(index: Any) -> None:
    with pytest.raises(IndexError, match=r"of 5"):
        make()[index]
    with pytest.raises(IndexError, match=rf"index {int(index)} is out of bounds .* size 5"):
        make()[[0, int(index)]]
    with pytest.raises(TypeError, match=r"integers or a mask"):
        make()[[0.5]]  # type: ignore[list-item]


def test_iteration_and_concatenation_are_inverse() -> None:
    e = make()
    singles = list(e)
    assert [len(single) for single in singles] == [1] * 5
    again = PartEmbeddings.cat(iter(singles))
    assert torch.equal(again.vectors, e.vectors)
    assert torch.equal(again.visibility, e.visibility)
    assert PartEmbeddings.cat([e, e[:0]]).vectors.shape == e.vectors.shape


def test_what_cannot_be_concatenated() -> None:
    with pytest.raises(ShapeError, match=r"at least one PartEmbeddings"):
        PartEmbeddings.cat([])
    with pytest.raises(ShapeError, match=r"widths differ: 4 and 8"):
        PartEmbeddings.cat([make(), make(width=8)])
    with pytest.raises(ShapeError, match=r"slots differ: .*'torso'.*same model"):
        check_comparable(make(), make().select("head"))


def test_select_and_to() -> None:
    e = make()
    chosen = e.select("torso", "foreground")
    assert chosen.slots == ("torso", "foreground")
    assert torch.equal(chosen.vectors, e.vectors[:, [2, 0]])
    assert torch.equal(chosen.visibility, e.visibility[:, [2, 0]])
    half = e.to("cpu", torch.bfloat16)
    assert half.vectors.dtype == half.visibility.dtype == torch.bfloat16
    assert e.to(dtype=torch.float64).vectors.dtype == torch.float64
    assert (e.width, chosen.width) == (4, 4)
    with pytest.raises(ShapeError, match=r"No slot 'haed'. Did you mean 'head'"):
        e.select("haed")
    with pytest.raises(ShapeError, match=r"at least one slot. Known: foreground, head, torso"):
        e.select()
    with pytest.raises(ShapeError, match=r"different slot names"):
        e.select("head", "head")


def test_normalized() -> None:
    e = make()
    e.vectors[0, 0] = 0
    n = e.normalized()
    assert torch.allclose(n.vectors[1:].norm(dim=2), torch.ones(4, 3))
    assert torch.equal(n.vectors[0, 0], torch.zeros(4))
    assert torch.allclose(n.normalized().vectors, n.vectors)
    assert torch.equal(n.visibility, e.visibility)


def test_detach_and_frozen() -> None:
    e = PartEmbeddings(torch.zeros(1, 1, 2, requires_grad=True), torch.ones(1, 1), ("foreground",))
    assert e.vectors.requires_grad
    assert not e.detach().vectors.requires_grad
    with pytest.raises(FrozenInstanceError):
        e.vectors = torch.zeros(1, 1, 2)  # type: ignore[misc]
    assert repr(make()) == "PartEmbeddings(5 images, 3 slots ('foreground', 'head', 'torso'), width 4, cpu)"


def test_boolean_visibility_becomes_numbers() -> None:
    e = PartEmbeddings(torch.zeros(1, 3, 2), torch.tensor([[True, False, True]]), list(SLOTS))  # type: ignore[arg-type]
    assert e.visibility.tolist() == [[1.0, 0.0, 1.0]]
    assert e.slots == SLOTS


@pytest.mark.parametrize(
    ("vectors", "visibility", "slots", "message"),
    [
        (torch.zeros(2, 3), torch.ones(2, 3), SLOTS, r"\[B, S, D\], got shape \(2, 3\)"),
        (torch.zeros(2, 3, 4), torch.ones(3, 2), SLOTS, r"\(2, 3\), got \(3, 2\)"),
        (torch.zeros(2, 3, 4), torch.ones(2, 3), SLOTS[:2], "3 different slot names"),
        (torch.zeros(2, 3, 4), torch.ones(2, 3), ("head",) * 3, "3 different slot names"),
        (torch.zeros(2, 3, 4, dtype=torch.int64), torch.ones(2, 3), SLOTS, "floating point, got torch.int64"),
    ],
)
def test_shapes_that_do_not_fit(vectors: Tensor, visibility: Tensor, slots: tuple[str, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        PartEmbeddings(vectors, visibility, slots)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_validate_names_the_first_wrong_visibility(value: float) -> None:
    e = make()
    assert e.validate() is e
    e.visibility[3, 1] = value
    with pytest.raises(ShapeError, match=r"Image 3, slot 'head': .* vector that is finite"):
        e.validate()


def test_validate_names_the_first_wrong_vector() -> None:
    e = make()
    e.vectors[1, 2, 0] = float("nan")
    with pytest.raises(ShapeError, match=r"Image 1, slot 'torso': .* holds NaN or infinity"):
        e.validate()


def test_ranks() -> None:
    nothing = np.zeros(0)
    result = EvaluationResult(np.array([0.5, 0.75]), 0.4, 0.3, nothing, nothing, 4, 1, 9, "single query")
    assert [result.rank(k) for k in (1, 2, 3, 100)] == [0.5, 0.75, 0.75, 0.75]
    assert result.summary()["rank10"] == 0.75
    assert "confidence_95" not in result.summary()
    sure = replace(result, confidence={"rank1": (0.25, 0.75), "mAP": (0.125, 0.5)})
    assert sure.summary()["confidence_95"] == {"rank1": [0.25, 0.75], "mAP": [0.125, 0.5]}
    with pytest.raises(ShapeError, match=r"at least 1, got 0"):
        result.rank(0)


ONES = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("vectors", "dtype"),
    [
        (ONES, torch.float64),
        (ONES.astype(np.float32), torch.float32),
        (ONES.astype(np.float16), torch.float16),
        (ONES.astype(">f4"), torch.float32),
        (ONES.astype(np.longdouble), torch.float64),
        (ONES[::-1], torch.float64),
        (np.asfortranarray(ONES), torch.float64),
        (np.broadcast_to(np.float32(1), (2, 3, 4)), torch.float32),
        (ONES.tolist(), torch.float32),
        (np.ma.array(ONES), torch.float64),
    ],
)
def test_arrays_and_lists_become_tensors(vectors: Any, dtype: torch.dtype) -> None:
    for visibility in (np.ones((2, 3)), np.ones((2, 3), bool), [[1, 0, 1], [1, 1, 1]], torch.ones(2, 3)):
        made = PartEmbeddings(vectors, visibility, np.array(SLOTS))  # type: ignore[arg-type]
        assert made.vectors.dtype == dtype
        assert made.vectors.eq(1).all()
        assert made.visibility.is_floating_point()
        assert (made.validate().slots, len(made[1:])) == (SLOTS, 1)


def test_an_array_is_shared_unless_it_may_not_be_written_to() -> None:
    array = np.zeros((1, 3, 4), np.float32)
    made = PartEmbeddings(array, np.ones((1, 3)), SLOTS)  # type: ignore[arg-type]
    array[:] = 5
    assert made.vectors.eq(5).all()
    array.setflags(write=False)
    apart = PartEmbeddings(array, np.ones((1, 3)), SLOTS)  # type: ignore[arg-type]
    apart.vectors.zero_()
    assert (array == 5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONES.astype(np.int8), np.ones((2, 3)), SLOTS), "vectors must be floating point, got torch.int8"),
        ((ONES.astype(complex), np.ones((2, 3)), SLOTS), "vectors must be floating point, got torch.complex128"),
        ((ONES.astype(str), np.ones((2, 3)), SLOTS), "vectors must be numbers, got <U"),
        ((None, np.ones((2, 3)), SLOTS), "vectors must be numbers, got object"),
        (([[1.0], [1.0, 2.0]], np.ones((2, 3)), SLOTS), "vectors must be a tensor or an array of numbers"),
        ((np.ma.masked_equal(ONES, 1), np.ones((2, 3)), SLOTS), "vectors: some values are masked"),
        ((ONES, np.ones((2, 3)) * 1j, SLOTS), r"visibility must be numbers in \[0, 1\], got torch.complex128"),
        ((ONES, [["a"] * 3] * 2, SLOTS), "visibility must be numbers"),
        ((ONES, np.ones((2, 3)), "abc"), r"Expected 3 different slot names, got \('abc',\)"),
        ((ONES, np.ones((2, 3)), (0, 1, 2)), "slots must be the names of the slots"),
        ((torch.ones(2, 3, 4, device="meta"), np.ones((2, 3)), SLOTS), "vectors lie on meta and visibility on cpu"),
    ],
)
def test_arrays_that_are_no_embeddings(arguments: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        PartEmbeddings(*arguments)


def test_visibilities_of_another_scale_are_found_when_they_are_compared() -> None:
    percent = PartEmbeddings(torch.ones(2, 3, 4), np.array([[100, 50, 0]] * 2, np.uint8), SLOTS)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"Image 0, slot 'foreground'.* got visibility 100.0"):
        percent.validate()


def test_bytes_of_a_tensor_are_positions_as_those_of_an_array() -> None:
    e = make()
    for index in (torch.tensor([0, 1, 1, 0, 4], dtype=torch.uint8), np.array([0, 1, 1, 0, 4], np.uint8)):
        assert torch.equal(e[index].vectors, e.vectors[[0, 1, 1, 0, 4]])


@pytest.mark.parametrize("value", [0, 10, 2.0, True, np.True_, None, "3", float("nan"), [3], torch.ones(2)])
def test_whole_numbers_of_options(value: object) -> None:
    for good in (3, np.int64(3), np.uint8(3), torch.tensor(3)):
        assert require_whole("k", good, least=1, most=9) == 3
    with pytest.raises(ShapeError, match="k is a whole number of at (least 1|most 9), got "):
        require_whole("k", value, least=1, most=9)


def test_the_summary_says_how_much_was_junk() -> None:
    result = evaluate_ranking(np.array([[0.1, 0.2, 0.3]] * 2), [1, -1], [-1, 2, 1])
    assert result.num_junk == (1, 1)
    assert (result.num_queries, result.num_skipped, result.num_gallery) == (1, 0, 2)
    assert (result.summary()["junk_queries"], result.summary()["junk_gallery"]) == (1, 1)
    assert "junk_queries" not in evaluate_ranking(np.zeros((1, 1)), [1], [1]).summary()
