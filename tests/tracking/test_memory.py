"""What a track remembers, slot by slot, and what new detections cost."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.inference import save_embeddings
from partreid.retrieval import MatchCalibration, MatchingConfig
from partreid.tracking import AppearanceMemory, Tracklet, cost, load_memories, save_memories, single_vector
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head", "legs")
CURVES = MatchCalibration(prior=0.1, offsets=(2.0, 4.0, 6.0), slopes=(1.0, 1.0, 2.0), model="m")


def rows(*seen: tuple[float, float, float], value: float | list[float] = 1.0) -> PartEmbeddings:
    values = torch.tensor([value] * len(seen) if isinstance(value, float) else value)
    return PartEmbeddings(values[:, None, None].expand(-1, 3, 2).clone(), torch.tensor(seen), SLOTS, model="m")


def remembered(*detections: tuple[PartEmbeddings, float], **options: float) -> AppearanceMemory:
    memory = AppearanceMemory(**options)  # type: ignore[arg-type]
    for one, time in detections:
        memory.update(one, time=time)
    return memory


ALL, UPPER, WALL = (1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0)


def test_with_momentum_1_it_is_the_tracklet() -> None:
    torch.manual_seed(0)
    images = PartEmbeddings(torch.randn(9, 3, 4), torch.rand(9, 3) * (torch.rand(9, 3) > 0.4), SLOTS)
    memory, track = AppearanceMemory(momentum=1), Tracklet()
    for time, image in enumerate(images):
        memory.update(image, time=time)
        track.add(image)
        torch.testing.assert_close(memory.embeddings.vectors, track.embeddings.vectors)
        torch.testing.assert_close(memory.embeddings.visibility, track.embeddings.visibility)


def test_a_slot_moves_only_where_it_is_seen() -> None:
    memory = remembered((rows(ALL, value=2.0), 0), *((rows(UPPER, value=8.0), t) for t in range(1, 9)), momentum=0.5)
    head, legs = memory.embeddings["head"].vectors[0, 0, 0], memory.embeddings["legs"].vectors[0, 0, 0]
    assert float(legs) == 2.0  # eight frames behind a car have not moved them
    assert 7.9 < float(head) < 8.0
    assert memory.last_seen == {"foreground": 8.0, "head": 8.0, "legs": 0.0}


def test_a_confidence_weighs_and_shows_nothing_at_0() -> None:
    memory = AppearanceMemory(momentum=1)
    memory.update(rows(ALL, value=0.0), time=0, confidence=0.75)
    memory.update(rows(ALL, value=8.0), time=1, confidence=0.25)
    assert memory.embeddings.vectors.unique().tolist() == [2.0]
    nothing = AppearanceMemory()
    nothing.update(rows(ALL), time=0, confidence=0.0)
    assert (len(nothing), nothing.known, nothing.last_seen["head"]) == (1, False, None)
    assert nothing.embeddings.visibility.tolist() == [[0.0, 0.0, 0.0]]


def test_a_window_holds_the_last_detections_alone() -> None:
    memory = remembered(*((rows(ALL if t == 0 else UPPER, value=float(t)), t) for t in range(6)), momentum=1, window=3)
    assert memory.embeddings["head"].vectors.unique().tolist() == [4.0]  # of 3, 4, 5
    assert memory.embeddings.visibility.tolist() == [[1.0, 1.0, 0.0]]
    assert memory.last_seen["legs"] is None
    assert len(memory) == 6
    whole = remembered(*((rows(UPPER, value=float(t)), t) for t in range(6)), momentum=0.8)
    wide = remembered(*((rows(UPPER, value=float(t)), t) for t in range(6)), momentum=0.8, window=6)
    torch.testing.assert_close(whole.embeddings.vectors, wide.embeddings.vectors)


def test_what_was_not_seen_for_long_is_forgotten() -> None:
    memory = remembered((rows(ALL, value=2.0), 0), (rows(UPPER, value=4.0), 5), momentum=1, forget_after=10)
    assert memory.at(10).visibility.tolist() == [[1.0, 1.0, 1.0]]
    assert memory.at(11).visibility.tolist() == [[1.0, 1.0, 0.0]]
    assert memory.at(99).visibility.tolist() == [[0.0, 0.0, 0.0]]
    memory.update(rows(ALL, value=9.0), time=12)  # legs start anew, the head goes on
    assert memory.embeddings.vectors[0, :, 0].tolist() == [5.0, 5.0, 9.0]
    costs = cost([memory], rows(ALL, value=5.0), CURVES, time=99)
    assert np.isnan(costs).all()


def test_costs_are_calibrated_and_too_little_is_unknown() -> None:
    track = remembered((rows(UPPER, value=1.0), 0))
    here = rows(ALL, UPPER, (1.0, 0.0, 1.0), WALL, (0.0, 0.0, 0.0), value=[1.0, 3.0, 1.0, 1.0, 1.0])
    costs = cost([track, AppearanceMemory()], here, CURVES)
    assert costs.shape == (2, 5)
    # Two slots in both, and even odds before: sigmoid(4 - d) is 2 % at d = 4 + ln 49.
    dear = 2 * math.sqrt(2) / (4 + math.log(49))
    np.testing.assert_allclose(costs[0, :2], [0.0, dear], rtol=1e-5)
    assert np.isnan(costs[0, 2:]).all()  # no part in common: the foreground alone may be a wall
    assert np.isnan(costs[1]).all()  # nothing known yet
    assert cost([track], here, CURVES, unknown=0.5, gate=0.1)[0].tolist() == [0.0, math.inf, 0.5, 0.5, 0.5]
    assert np.isnan(cost([track], here[:1], CURVES, least_parts=2)).all()


def test_the_fewer_slots_the_dearer_as_calibrated_and_never_above_1() -> None:
    track = remembered((rows(ALL, value=1.0), 0))
    here = rows(ALL, UPPER, ALL, value=[2.0, 2.0, 99.0])
    both = math.sqrt(2)  # of one slot, in two dimensions
    assert cost([track], here, CURVES)[0] == pytest.approx(
        [both * 2 / (6 + math.log(49)), both / (4 + math.log(49)), 1.0], rel=1e-5
    )
    assert cost([track], here, CURVES, gate=1)[0, 2] == math.inf
    hopeless = MatchCalibration(prior=0.5, offsets=(-9.0,) * 3, slopes=(1.0,) * 3, model="m")
    assert cost([track], rows(ALL), hopeless)[0, 0] == 1.0  # no distance makes it probable


def test_many_tracks_at_once_are_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.tracking.memory._AT_ONCE", 3)
    torch.manual_seed(0)
    seen = PartEmbeddings(torch.randn(8, 3, 2), torch.ones(8, 3), SLOTS, model="m")
    tracks = [remembered((seen[i], 0), (seen[(i + 1) % 8], 1)) for i in range(8)]
    tracks[4] = AppearanceMemory()
    together = cost(tracks, seen[:5], CURVES)
    np.testing.assert_allclose(together, np.concatenate([cost([t], seen[:5], CURVES) for t in tracks]), rtol=1e-5)


@pytest.mark.parametrize(("tracks", "found"), [(0, 0), (0, 3), (2, 0)])
def test_nobody_costs_nothing(tracks: int, found: int) -> None:
    memories = [remembered((rows(ALL), 0)) for _ in range(tracks)]
    assert cost(memories, rows(*[ALL] * 3)[:found], CURVES).shape == (tracks, found)


def test_a_model_without_parts_has_its_only_vector() -> None:
    one = PartEmbeddings(torch.ones(1, 1, 2), slots=("global",))
    memory = remembered((one, 0))
    assert cost([memory], one, MatchCalibration(prior=0.5, offsets=(1.0,), slopes=(1.0,)))[0, 0] < 0.5


def test_what_is_wrong_is_refused_and_changes_nothing() -> None:
    memory = remembered((rows(ALL), 5.0))
    for wrong, error, message in (
        (lambda: memory.update(rows(ALL), time=4.0), DataError, r"at least 5.0, the last detection's, got 4.0"),
        (lambda: memory.update(rows(ALL), time=math.nan), DataError, "finite time"),
        (lambda: memory.update(rows(ALL), time=math.inf), DataError, "finite time"),
        (lambda: memory.update(rows(ALL), time=6, confidence=1.5), DataError, "confidence between 0 and 1"),
        (lambda: memory.update(rows(ALL), time=6, confidence=math.nan), DataError, "confidence between 0 and 1"),
        (lambda: memory.update(rows(ALL, ALL), time=6), ShapeError, "one detection in a frame"),
        (lambda: memory.update(rows(ALL, value=math.nan), time=6), ShapeError, "NaN or infinity"),
        (lambda: memory.update(rows(ALL)["head"], time=6), ShapeError, "slots"),
        (lambda: memory.at(1.0), DataError, "at least 5.0"),
        (lambda: cost([memory], rows(ALL), CURVES, time=1.0), DataError, "at least 5.0"),
        (lambda: cost([memory], rows(WALL, value=math.nan), CURVES), ShapeError, "NaN"),
        (lambda: cost([], rows(ALL, value=math.nan), CURVES), ShapeError, "NaN"),
        (lambda: cost([memory], rows(ALL), CURVES, gate=2), ConfigError, "gate"),
        (lambda: cost([memory], rows(ALL), CURVES, prior=0), ConfigError, "prior"),
        (lambda: cost([memory], rows(ALL), CURVES, least_parts=3), ShapeError, "at most 2"),
        (
            lambda: cost([memory], rows(ALL), CURVES.model_copy(update={"model": "other"})),
            DataError,
            "belongs to model",
        ),
        (lambda: AppearanceMemory(momentum=1.1), ConfigError, "momentum"),
        (lambda: AppearanceMemory(forget_after=-1), ConfigError, "forget_after"),
        (lambda: AppearanceMemory(window=0), ShapeError, "window"),
        (lambda: AppearanceMemory().embeddings, ShapeError, "has no detection yet"),
    ):
        with pytest.raises(error, match=message):
            wrong()
    assert len(memory) == 1
    assert memory.time == 5.0


def test_one_vector_is_exact_where_the_same_is_seen() -> None:
    torch.manual_seed(0)
    seen = torch.tensor([UPPER, UPPER, ALL, WALL])
    images = PartEmbeddings(torch.randn(4, 3, 8).double(), seen.double(), SLOTS, compare_normalized=True)
    long = single_vector(images)
    assert long.norm(dim=1).tolist() == pytest.approx([1, 1, 1, 0])  # a foreground alone is nobody
    units = images.normalized().vectors
    cosines = (units[0] * units[1]).sum(-1)
    assert float(long[0] @ long[1]) == pytest.approx(float(cosines[:2].mean()))
    # Two slots of three in common: what it should be, times 2 / sqrt(2 * 3).
    assert float(long[0] @ long[2]) == pytest.approx(float((units[0] * units[2]).sum(-1)[:2].sum()) / math.sqrt(6))


def test_one_vector_follows_how_the_model_is_compared() -> None:
    images = rows(ALL, (0.0, 0.0, 0.0))
    assert single_vector(images, matching=MatchingConfig(slots=("legs", "head"))).shape == (2, 4)
    assert single_vector(images, matching=MatchingConfig(visibility="ignore"))[1].norm() == pytest.approx(1)
    heavy = single_vector(images, matching=MatchingConfig(slot_weights={"head": 4}))[0].view(3, 2).norm(dim=1)
    assert heavy.square().tolist() == pytest.approx([1 / 6, 4 / 6, 1 / 6])
    with pytest.raises(ShapeError, match="NaN"):
        single_vector(rows(ALL, value=math.nan))


@pytest.mark.parametrize("options", [{}, {"window": 2}, {"forget_after": 3.0, "momentum": 0.5}])
def test_saved_memories_go_on_as_if_nothing_had_happened(tmp_path: Path, options: dict[str, float]) -> None:
    torch.manual_seed(0)
    seen = PartEmbeddings(torch.randn(9, 3, 2), (torch.rand(9, 3) > 0.4).float(), SLOTS, model="m")
    memory = remembered(*((seen[i], i) for i in range(4)), **options)
    path = save_memories(tmp_path / "a.safetensors", {"7": memory, "new": AppearanceMemory(**options)})  # type: ignore[arg-type]
    read = load_memories(path)
    assert list(read) == ["7", "new"]
    assert not read["new"].known
    assert repr(read["7"]) == repr(memory)
    for time in range(4, 9):
        for one in (memory, read["7"], read["new"]):
            one.update(seen[time], time=time)
        assert torch.equal(read["7"].embeddings.vectors, memory.embeddings.vectors)
        assert read["7"].last_seen == memory.last_seen
    np.testing.assert_array_equal(cost([read["7"]], seen, CURVES), cost([memory], seen, CURVES))
    assert save_memories(tmp_path / "b.safetensors", load_memories(path)).read_bytes() == path.read_bytes()


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = save_memories(tmp_path / "a.safetensors", {"7": remembered((rows(ALL), 0))})
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="checksum"):
        load_memories(path)
    path.write_bytes(content[:40])
    with pytest.raises(DataError, match="damaged"):
        load_memories(path)
    save_embeddings(path, rows(ALL))
    with pytest.raises(DataError, match="expected partreid-memories"):
        load_memories(path)
    with pytest.raises(DataError, match="There is no file"):
        load_memories(tmp_path / "none")
    other = PartEmbeddings(torch.ones(1, 3, 2), slots=SLOTS, model="other")
    with pytest.raises(ShapeError, match="model"):
        save_memories(tmp_path / "b", {"1": remembered((rows(ALL), 0)), "2": remembered((other, 0))})
    with pytest.raises(DataError, match="str"):
        save_memories(tmp_path / "b", {1: remembered((rows(ALL), 0))})  # type: ignore[dict-item]
    assert not (tmp_path / "b").exists()
    assert load_memories(save_memories(tmp_path / "b", {})) == {}
