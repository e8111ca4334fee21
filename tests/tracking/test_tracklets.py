"""Merged tracks against plain loops; online ≡ batch; what no frame shows stays unseen."""

from __future__ import annotations

import pytest
import torch

from partreid.errors import PartReIDError, ShapeError
from partreid.tracking.tracklets import Tracklet, merge_tracklet, merge_tracklets
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head", "legs")


def frames(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> PartEmbeddings:
    """Random ones; about half of the visibilities are 0, and the last slot is never seen."""
    generator = torch.Generator().manual_seed(seed)
    visibility = torch.rand(n, 3, generator=generator).mul(2).sub(1).clamp(min=0)
    visibility[:, 2] = 0
    return PartEmbeddings(torch.randn(n, 3, 4, generator=generator, dtype=torch.float32).to(dtype), visibility, SLOTS)


def by_loops(e: PartEmbeddings) -> tuple[list[list[float]], list[float]]:
    """The weighted mean written out; a slot that no frame shows has the plain mean."""
    vectors, visibility = [], []
    for s in range(len(e.slots)):
        total = sum(float(v) for v in e.visibility[:, s])
        weights = [float(v) / total if total else 1 / len(e) for v in e.visibility[:, s]]
        vectors.append([sum(w * float(e.vectors[n, s, d]) for n, w in enumerate(weights)) for d in range(e.width)])
        visibility.append(max(float(v) for v in e.visibility[:, s]))
    return vectors, visibility


@pytest.mark.parametrize("n", [1, 2, 9])
def test_equals_plain_loops(n: int) -> None:
    e = frames(n)
    merged = merge_tracklet(e)
    vectors, visibility = by_loops(e)
    torch.testing.assert_close(merged.vectors, torch.tensor([vectors]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(merged.visibility, torch.tensor([visibility]), rtol=0, atol=0)
    assert merged.slots == SLOTS


def test_one_frame_is_itself() -> None:
    e = frames(1)
    merged = merge_tracklet(e)
    torch.testing.assert_close(merged.vectors, e.vectors, rtol=1e-6, atol=0)
    assert torch.equal(merged.visibility, e.visibility)


def test_online_equals_batch_in_any_order_and_portions() -> None:
    e = frames(40)
    expected = merge_tracklet(e)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    track = Tracklet()
    for some in order.split([1, 1, 13, 0, 25]):
        track.add(e[some])
    assert len(track) == 40
    torch.testing.assert_close(track.embeddings.vectors, expected.vectors, rtol=1e-6, atol=1e-7)
    assert torch.equal(track.embeddings.visibility, expected.visibility)


def test_long_tracks_lose_no_precision() -> None:
    e = PartEmbeddings(torch.full((20_000, 1, 1), 0.1), torch.full((20_000, 1), 0.3), ("head",))
    track = Tracklet()
    for some in e.vectors.split(500):
        track.add(PartEmbeddings(some, e.visibility[: len(some)], e.slots))
    assert float(track.embeddings.vectors) == pytest.approx(0.1, rel=1e-7)


def test_several_tracks_in_the_order_of_their_first_images() -> None:
    e, tracks = frames(7), [("c1", 5), ("c1", 2), ("c1", 5), ("c2", 5), ("c1", 2), ("c1", 5), ("c2", 5)]
    merged, names = merge_tracklets(e, tracks)
    assert names == [("c1", 5), ("c1", 2), ("c2", 5)]
    for row, name in enumerate(names):
        alone = merge_tracklet(e[[i for i, track in enumerate(tracks) if track == name]])
        assert torch.equal(merged.vectors[row], alone.vectors[0])
        assert torch.equal(merged.visibility[row], alone.visibility[0])


def test_the_type_stays() -> None:
    merged = merge_tracklet(frames(3, dtype=torch.float16))
    assert merged.vectors.dtype == torch.float16
    assert merged.visibility.dtype == torch.float32


def test_a_track_does_not_keep_what_was_added_in_memory() -> None:
    e = frames(100)
    track = Tracklet()
    track.add(e)
    kept = track._like
    assert kept is not None
    assert kept.vectors.untyped_storage().nbytes() == 0


def test_mistakes_leave_the_track_as_it_was() -> None:
    track = Tracklet()
    with pytest.raises(ShapeError, match="at least one image of the track"):
        _ = track.embeddings
    track.add(frames(2))
    before = track.embeddings
    broken = frames(2, seed=1)
    broken.vectors[1, 0, 0] = torch.nan
    for wrong in (broken, frames(2).select("head"), PartEmbeddings(torch.ones(1, 3, 9), torch.ones(1, 3), SLOTS)):
        with pytest.raises(PartReIDError):
            track.add(wrong)
    assert torch.equal(track.embeddings.vectors, before.vectors)
    with pytest.raises(ShapeError, match="Expected 2 tracks, one per image, got 1"):
        merge_tracklets(frames(2), ["a"])
    with pytest.raises(ShapeError):
        merge_tracklets(frames(0), [])
    with pytest.raises(TypeError):
        merge_tracklets(frames(1), [["a list"]])  # type: ignore[type-var]


@pytest.mark.parametrize("tracks", [{1, 2}, "12", {1: "a", 2: "b"}, None, iter([1, 2])], ids=lambda t: type(t).__name__)
def test_tracks_that_are_no_list(tracks: object) -> None:
    """The order of a set is nobody's."""
    embeddings = PartEmbeddings(torch.ones(2, 1, 3), torch.ones(2, 1), ("a",))
    with pytest.raises(ShapeError, match="Expected a list of tracks"):
        merge_tracklets(embeddings, tracks)  # type: ignore[arg-type]
