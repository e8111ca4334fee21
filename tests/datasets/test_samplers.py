"""P identities × K images, every time, and the same for the same seed and epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import pytest
import torch

from partreid.datasets.samplers import IdentityBatchSampler
from partreid.errors import DataError, ShapeError
from tests.property.fuzzing import WRITERS

PIDS = [pid for pid, count in enumerate([1, 2, 3, 4, 5, 8, 9, 13, 4, 4]) for _ in range(count)]


def make(seed: int = 0, identities: int = 3, images: int = 4) -> IdentityBatchSampler:
    return IdentityBatchSampler(PIDS, identities=identities, images=images, seed=seed)


@pytest.mark.parametrize("epoch", range(5))
def test_composition(epoch: int) -> None:
    sampler = make()
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler) > 0
    for batch in batches:
        assert all(type(index) is int for index in batch)
        counts = Counter(PIDS[index] for index in batch)
        assert len(counts) == 3  # no identity twice
        assert set(counts.values()) == {4}
    used = Counter(index for batch in batches for index in batch)
    for index, count in used.items():
        few = PIDS.count(PIDS[index]) < 4
        assert count == 1 or few  # only an identity with fewer than K images repeats some


def test_every_image_of_a_small_identity_is_in_its_hand() -> None:
    sampler = IdentityBatchSampler([0, 0, 0, 1, 2, 2], identities=3, images=4)
    (batch,) = list(sampler)
    assert set(batch) == set(range(6))
    assert batch.count(3) == 4


def test_the_seed_and_the_epoch_alone_decide() -> None:
    first, second = make(seed=5), make(seed=5)
    list(second)  # what was drawn before does not matter
    for epoch in (3, 0, 3):
        first.set_epoch(epoch)
        second.set_epoch(epoch)
        assert list(first) == list(second) == list(first)
    first.set_epoch(1)
    second.set_epoch(2)
    assert list(first) != list(second)
    assert list(make(seed=5)) != list(make(seed=6))


def test_batches_come_until_too_few_identities_are_left() -> None:
    sampler = make()
    drawn = Counter(PIDS[batch[i]] for batch in sampler for i in range(0, 12, 4))
    hands = {pid: max(1, PIDS.count(pid) // 4) for pid in set(PIDS)}
    left = [pid for pid, count in hands.items() if count > drawn[pid]]
    assert len(left) < 3
    assert all(drawn[pid] <= hands[pid] for pid in hands)


def test_length_matches_in_every_epoch() -> None:
    sampler = make(identities=2)
    for epoch in range(8):
        sampler.set_epoch(epoch)
        assert len(sampler) == sum(1 for _ in sampler)


def test_all_images_are_used_over_the_epochs() -> None:
    sampler, seen = make(), set()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        seen |= {index for batch in sampler for index in batch}
    assert seen == set(range(len(PIDS)))


def test_too_few_identities() -> None:
    message = r"needs 11 identities and the training set has 10\. Lower batch\.identities_per_batch"
    with pytest.raises(DataError, match=message):
        make(identities=11)
    with pytest.raises(DataError, match="training set has 0"):
        IdentityBatchSampler([])


@pytest.mark.parametrize(
    "pids", [[0, 0, None, 1], [0, 0, float("nan"), 1], [0, 0, -1, 1], [0, 0, "1", 1], [0, 0, True, 1]]
)
def test_unknown_people_are_no_identity(pids: list[int]) -> None:
    with pytest.raises(ShapeError, match="pid_index"):
        IdentityBatchSampler(pids, identities=2, images=2)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_classes_of_every_type(write: Callable[[list[int]], Sequence[int]]) -> None:
    written = IdentityBatchSampler(write(PIDS), identities=3, images=4)
    batches = list(written)
    assert len(batches) == len(make())
    for batch in batches:
        assert list(Counter(PIDS[i] for i in batch).values()) == [4, 4, 4]


@pytest.mark.parametrize(
    "options", [{"identities": 2.0}, {"images": True}, {"images": 0}, {"seed": -1}, {"seed": None}]
)
def test_options_are_whole_numbers(options: dict[str, int]) -> None:
    with pytest.raises(ShapeError, match="is a whole number of at least"):
        IdentityBatchSampler(PIDS, **{"identities": 3, "images": 4, **options})


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_split_batch_is_shared_out_by_identities(ranks: int) -> None:
    whole, parts = list(make()), []
    for rank in range(ranks):
        sampler = make()
        sampler.share(rank, ranks, split=True)
        parts.append(list(sampler))
        assert len(sampler) == sampler.batches == len(whole)
        assert sampler.batch_images == 12
    assert [[*chain(*batch)] for batch in zip(*parts, strict=True)] == whole


def test_whole_batches_are_dealt_in_turn_and_a_remainder_is_left_out() -> None:
    whole, parts = list(make(identities=2)), []
    for rank in range(2):
        sampler = make(identities=2)
        sampler.share(rank, 2, split=False)
        parts.append(list(sampler))
        assert len(parts[-1]) == sampler.batches == len(whole) // 2
        assert sampler.batch_images == 16
    assert [batch for pair in zip(*parts, strict=True) for batch in pair] == whole[: len(whole) // 2 * 2]


@pytest.mark.parametrize("split", [True, False])
def test_batches_before_the_start_are_passed_over(split: bool) -> None:
    sampler = make()
    sampler.share(0, 3 if split else 2, split=split)
    sampler.set_epoch(4)
    whole = list(sampler)
    for start in range(len(whole) + 2):
        sampler.set_epoch(4, start=start)
        assert list(sampler) == whole[start:]
        assert len(sampler) == max(len(whole) - start, 0)
        assert sampler.batches == len(whole)


def test_what_cannot_be_shared_out() -> None:
    with pytest.raises(DataError, match="3 identities of a batch cannot be shared out evenly among 2 devices"):
        make().share(0, 2, split=True)
    with pytest.raises(DataError, match=r"An epoch has \d batches, and there are 40 devices"):
        make().share(0, 40, split=False)


def test_look_alikes_share_a_batch() -> None:
    """Twelve identities at four places, three at each, three a batch: those of a place make it."""
    pids = [pid for pid in range(12) for _ in range(8)]
    group = torch.arange(12) % 4  # four groups of three
    angle = group * torch.pi / 2 + torch.linspace(0, 0.1, 12)
    centres = torch.stack([angle.cos(), angle.sin()], dim=1) * torch.arange(1, 13).view(-1, 1)  # lengths do not count
    sampler = IdentityBatchSampler(pids, identities=3, images=4)
    before = list(sampler)
    sampler.together(centres)
    sampler.set_epoch(0)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 8
    for batch in batches:
        assert set(Counter(pids[index] for index in batch).values()) == {4}
        assert len({int(group[pids[index]]) for index in batch}) == 1
    assert sorted(chain(*batches)) == list(range(len(pids)))  # every image is used once, as in any epoch
    sampler.set_epoch(1)
    assert list(sampler) != batches
    sampler.together(None)
    sampler.set_epoch(0)
    assert list(sampler) == before


def test_when_the_nearest_are_used_up_the_next_come() -> None:
    sampler = make()
    sampler.together(torch.randn(10, 4, generator=torch.Generator().manual_seed(0)))
    for epoch in range(5):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) > 0
        for batch in batches:
            assert set(Counter(PIDS[index] for index in batch).values()) == {4}
            assert len({PIDS[index] for index in batch}) == 3


@pytest.mark.parametrize("shape", [(9, 4), (10,), (11, 4)])
def test_every_class_needs_a_centre(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="10, D"):
        make().together(torch.zeros(shape))
