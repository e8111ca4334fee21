"""Which pictures make a training batch: P identities with K pictures each (paper §4.2; Hermans et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from partreid.errors import DataError


class IdentityBatchSampler(Sampler[list[int]]):
    """Batches of ``identities`` × ``images`` pictures.

    An epoch deals each identity's shuffled pictures into hands of ``images`` (an identity with fewer repeats
    some; a remainder waits for another epoch), then draws ``identities`` different identities per batch until
    fewer are left. The order depends on ``seed`` and the epoch alone.

    Args:
        pid_index: training class of every picture.
        identities: P. images: K. seed: of the order.

    Raises:
        DataError: there are fewer than P identities.
    """

    def __init__(self, pid_index: Sequence[int], *, identities: int = 16, images: int = 4, seed: int = 0) -> None:
        classes = np.asarray(pid_index)
        self._pictures = [np.flatnonzero(classes == pid) for pid in np.unique(classes)]
        if len(self._pictures) < identities:
            raise DataError(
                f"A batch needs {identities} identities and the training set has {len(self._pictures)}. "
                f"Lower batch.identities_per_batch, or add pictures of more people."
            )
        self.identities, self.images, self.seed = identities, images, seed
        self.epoch = 0
        self._length = sum(1 for _ in self)

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's order comes next."""
        self.epoch = epoch
        self._length = sum(1 for _ in self)

    def __len__(self) -> int:
        """Batches of the present epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        hands = [self._deal(pictures, random) for pictures in self._pictures]
        left = np.array([len(hand) for hand in hands])
        while np.count_nonzero(left) >= self.identities:
            chosen = random.choice(np.flatnonzero(left), self.identities, replace=False)
            left[chosen] -= 1
            yield [int(index) for pid in chosen for index in hands[pid].pop()]

    def _deal(self, pictures: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        shuffled = random.permutation(pictures)
        if len(shuffled) < self.images:
            shuffled = np.concatenate([shuffled, random.choice(pictures, self.images - len(shuffled))])
        whole = len(shuffled) // self.images * self.images
        return list(shuffled[:whole].reshape(-1, self.images))
