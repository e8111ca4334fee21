"""Eq. 9 against plain loops, the golden file, its stated precision, its memory and its messages."""

from __future__ import annotations

import math
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from partreid.errors import ConfigError, ShapeError
from partreid.functional.distance import pairwise_slot_distances, part_distances, slot_distances
from partreid.types import PartEmbeddings

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "rank.npz")
NINE = tuple(f"slot{i}" for i in range(9))


def embeddings(*, n: int, slots: int = 3, width: int = 5, seed: int = 0, binary: bool = False) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = torch.rand(n, slots, generator=generator)
    visibility = (visibility > 0.5).float() if binary else visibility * (visibility > 0.3)
    return PartEmbeddings(torch.randn(n, slots, width, generator=generator), visibility, NINE[:slots])


def loops(query: PartEmbeddings, gallery: PartEmbeddings, rule: str) -> list[list[float]]:
    """Eq. 9, number by number."""
    result = []
    for q in range(len(query)):
        row = []
        for g in range(len(gallery)):
            total = weight = 0.0
            for s in range(len(query.slots)):
                both = float(query.visibility[q, s]) * float(gallery.visibility[g, s])
                w = {"product": both, "geometric": math.sqrt(both), "ignore": 1.0}[rule]
                total += w * math.dist(query.vectors[q, s].tolist(), gallery.vectors[g, s].tolist())
                weight += w
            row.append(total / weight if weight else math.inf)
        result.append(row)
    return result


@pytest.mark.parametrize("rule", ["product", "geometric", "ignore"])
@pytest.mark.parametrize("binary", [True, False])
def test_equals_plain_loops(rule: Any, binary: bool) -> None:
    query, gallery = embeddings(n=7, seed=1, binary=binary), embeddings(n=11, seed=2, binary=binary)
    got = part_distances(query, gallery, visibility=rule)
    torch.testing.assert_close(got, torch.tensor(loops(query, gallery, rule)))
    assert torch.isinf(got).any() == (rule != "ignore")


def golden(vectors: str, visibility: str | None) -> PartEmbeddings:
    v = torch.from_numpy(GOLDEN[vectors])
    return PartEmbeddings(v, torch.from_numpy(GOLDEN[visibility]) if visibility else torch.ones(v.shape[:2]), NINE)


def test_golden_binary() -> None:
    got = part_distances(golden("qf", "qv"), golden("gf", "gv"), normalize=True).numpy()
    finite = np.isfinite(got)
    np.testing.assert_allclose(got[finite], GOLDEN["dist"][finite], rtol=1e-5)
    # The published code gives pairs that share nothing the largest distance + 1.
    np.testing.assert_allclose(GOLDEN["dist"][~finite], GOLDEN["dist"].max())
    assert (~finite).sum() == (GOLDEN["dist"] == GOLDEN["dist"].max()).sum() > 0


def test_golden_continuous_and_without_visibility() -> None:
    got = part_distances(golden("qf", "qs"), golden("gf", "gs"), normalize=True, visibility="geometric")
    np.testing.assert_allclose(got.numpy(), GOLDEN["dist_cont"], rtol=1e-5)
    got = part_distances(golden("qf", None), golden("gf", None), visibility="ignore")
    np.testing.assert_allclose(got.numpy(), GOLDEN["dist_novis"], rtol=1e-5)


@pytest.mark.parametrize("budget", [1, 2_000, 50_000])
@pytest.mark.parametrize("normalize", [True, False])
def test_blocks_equal_the_whole(budget: int, normalize: bool) -> None:
    query, gallery = embeddings(n=23, seed=3, binary=True), embeddings(n=37, seed=4, binary=True)
    whole = part_distances(query, gallery, normalize=normalize)
    blocks = part_distances(query, gallery, normalize=normalize, memory_budget=budget)
    assert torch.equal(torch.isinf(whole), torch.isinf(blocks))
    torch.testing.assert_close(blocks, whole)


class _Peak(TorchDispatchMode):
    """Bytes that live at once in tensors made inside, but for the one of ``torch.empty`` as large as the result."""

    now = peak = 0

    def __init__(self, result: int) -> None:
        super().__init__()
        self.result = result

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.empty.memory_format and result.nbytes == self.result:
            return result
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self._add(tensor.untyped_storage().nbytes())
                weakref.finalize(tensor, self._add, -tensor.untyped_storage().nbytes())
        return result

    def _add(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_stays_within_the_memory_budget(alike: bool, binary: bool) -> None:
    gallery = embeddings(n=400, slots=6, width=32, binary=binary)
    if alike:  # every pair takes the second, exact computation
        gallery = gallery[[0] * 400]
    query, budget = gallery[:300], 200_000
    with _Peak(4 * 300 * 400) as memory:
        part_distances(query, gallery, memory_budget=budget)
    assert budget / 10 < memory.peak <= budget  # all of it at once would be 480,000 per buffer


@pytest.mark.parametrize("scale", [10.0**e for e in range(-6, 2)])
def test_stated_precision_near_and_far(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(60, 1, 256, generator=generator) * 3
    y = x + scale * torch.randn(x.shape, generator=generator)
    a, b = (PartEmbeddings(v, torch.ones(60, 1), ("foreground",)) for v in (x, y))
    exact = part_distances(a.to(dtype=torch.float64), b.to(dtype=torch.float64))
    torch.testing.assert_close(part_distances(a, b).double(), exact, rtol=1e-4, atol=0)


def test_identical_vectors_are_at_distance_zero() -> None:
    e = embeddings(n=50, slots=3, width=512).to(dtype=torch.float32)
    e = PartEmbeddings(e.vectors, torch.ones(50, 3), e.slots)
    assert (part_distances(e, e).diagonal() == 0).all()
    assert (part_distances(e, e, normalize=True).diagonal() < 1e-6).all()
    zero = PartEmbeddings(torch.zeros(2, 1, 4), torch.ones(2, 1), ("a",))
    assert (part_distances(zero, zero, normalize=True) == 0).all()


def test_precision_types_and_empty_sides() -> None:
    e = embeddings(n=4)
    assert part_distances(e.to(dtype=torch.float16), e).dtype == torch.float32
    assert part_distances(e.to(dtype=torch.float64), e).dtype == torch.float64
    assert part_distances(e[:0], e).shape == (0, 4)
    assert part_distances(e, e[:0]).shape == (4, 0)


def test_slot_distances_equal_plain_loops() -> None:
    query, gallery = embeddings(n=3, seed=5), embeddings(n=4, seed=6)
    got = slot_distances(query, gallery)
    for q in range(3):
        for g in range(4):
            for s in range(3):
                expected = math.dist(query.vectors[q, s].tolist(), gallery.vectors[g, s].tolist())
                assert float(got[q, g, s]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("budget", [1, 500, 2**28])
def test_pairwise_slot_distances_explain_the_distance(budget: int) -> None:
    query, gallery = embeddings(n=4, seed=7, binary=True), embeddings(n=6, seed=8, binary=True)
    indices = torch.tensor([[0, 5, 2], [1, 1, 3], [4, 0, 2], [5, 3, 1]])
    got = pairwise_slot_distances(query, gallery, indices, memory_budget=budget)
    every = slot_distances(query, gallery)
    rows = torch.arange(4)[:, None]
    both = (query.visibility[:, None] * gallery.visibility[None])[rows, indices] > 0
    assert torch.equal(torch.isnan(got), ~both)
    torch.testing.assert_close(got[both], every[rows, indices][both])
    mean = got.nanmean(dim=2).nan_to_num(nan=math.inf)
    torch.testing.assert_close(mean, part_distances(query, gallery)[rows, indices])
    ignoring = pairwise_slot_distances(query, gallery, indices, visibility="ignore")
    torch.testing.assert_close(ignoring, every[rows, indices])


def _with(e: PartEmbeddings, **changes: Any) -> PartEmbeddings:
    fields = {"vectors": e.vectors, "visibility": e.visibility, "slots": e.slots} | changes
    return PartEmbeddings(**fields)


def test_a_chosen_pair_that_is_wrong_is_named_by_its_place_in_the_gallery() -> None:
    e = embeddings(n=3)
    broken = e.vectors.clone()
    broken[2, 0, 0] = math.nan
    with pytest.raises(ShapeError, match="Image 2, slot 'slot0'"):
        pairwise_slot_distances(e, _with(e, vectors=broken), torch.full((3, 1), 2))


def test_indices_of_an_array() -> None:
    e = embeddings(n=3)
    for dtype in (np.uint8, np.int32, np.int64):
        got = pairwise_slot_distances(e, e, np.array([[0], [1], [2]], dtype))  # type: ignore[arg-type]
        torch.testing.assert_close(got, pairwise_slot_distances(e, e, torch.arange(3)[:, None]), equal_nan=True)


def test_messages() -> None:
    e = embeddings(n=2)
    broken = e.vectors.clone()
    broken[1, 2, 0] = math.nan
    for wrong, options, message in [
        (_with(e, slots=("a", "b", "c")), {}, "The slots differ"),
        (_with(e, vectors=e.vectors[:, :, :4]), {}, "The embedding widths differ: 5 and 4"),
        (_with(e, vectors=broken), {}, "Image 1, slot 'slot2': expected finite numbers"),
        (_with(e, visibility=e.visibility + 2), {}, "Image 0, slot 'slot0': .* visibility in [0, 1]"),
        (_with(e, vectors=e.vectors * 1e30), {}, "A vector is too long"),
        (e, {"memory_budget": 0}, "memory_budget (bytes) is a whole number of at least 1, got 0"),
        (e, {"memory_budget": 2.5}, "memory_budget (bytes) is a whole number of at least 1, got 2.5"),
    ]:
        pattern = ".*".join(re.escape(part) for part in message.split(".*"))
        with pytest.raises(ShapeError, match=pattern):
            part_distances(e, wrong, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Unknown visibility rule 'products'. Did you mean 'product'?"):
        part_distances(e, e, visibility="products")
    with pytest.raises(ShapeError, match="at least one slot"):
        part_distances(e.select(), e.select())
    with pytest.raises(ShapeError, match="different devices, cpu and meta"):
        part_distances(e, e.to("meta"))


def test_messages_of_pairwise() -> None:
    e = embeddings(n=2)
    with pytest.raises(ShapeError, match=r"indices must be \[Q, k\] integers with Q = 2, got torch.int64 \(3, 1\)"):
        pairwise_slot_distances(e, e, torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"indices must lie in 0..1, got 0..2"):
        pairwise_slot_distances(e, e, torch.tensor([[0], [2]]))
