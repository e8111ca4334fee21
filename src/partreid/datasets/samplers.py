"""Sampling of training batches: P identities with K images each (paper §4.2; Hermans et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Sampler

from partreid.errors import DataError, ShapeError
from partreid.types._id_values import Ids
from partreid.types.ids import person_classes
from partreid.types.numbers import require_whole


class IdentityBatchSampler(Sampler[list[int]]):
    """Batches of ``identities`` × ``images`` images.

    An epoch deals each identity's shuffled images into hands of ``images`` (an identity with fewer repeats some; a
    remainder waits for another epoch), then draws ``identities`` different identities per batch until fewer are left.
    The order depends only on ``seed`` and the epoch.

    Args:
        pid_index: training class of every image, whole numbers of at least 0 or text (:mod:`partreid.types.ids`).
        identities: P. images: K. seed: of the order.

    Raises:
        DataError: there are fewer than P identities.
        ShapeError: a class is unknown or junk (-1), or an option no whole number of at least 1 (the seed: 0).
    """

    def __init__(self, pid_index: Ids, *, identities: int = 16, images: int = 4, seed: int = 0) -> None:
        classes = person_classes(pid_index)
        identities, images = require_whole("identities", identities, least=1), require_whole("images", images, least=1)
        seed = require_whole("seed", seed)
        self._images = [np.flatnonzero(classes == pid) for pid in np.unique(classes)]
        if len(self._images) < identities:
            raise DataError(
                f"A batch needs {identities} identities and the training set has {len(self._images)}. "
                f"Lower batch.identities_per_batch, or add images of more people."
            )
        self.identities, self.images, self.seed = identities, images, seed
        self._centres: np.ndarray | None = None
        self.epoch = self.start = self.rank = 0
        self.ranks, self.split = 1, True
        self._whole = sum(1 for _ in self._batches())

    def together(self, centres: Tensor | None) -> None:
        """Put identities that look alike into one batch, as graph sampling does (Liao and Shao 2022).

        A batch then contains a random identity and the nearest ones to it, among those that still have images. Call it
        before :meth:`set_epoch`.

        Args:
            centres: [C, D] a vector of each class, in their order; the greater the cosine, the nearer. None = batches
                of any identities.

        Raises:
            ShapeError: the number of centres differs from that of the classes.
        """
        if centres is not None and (centres.ndim != 2 or len(centres) != len(self._images)):
            raise ShapeError(f"Expected centres [{len(self._images)}, D] of all classes, got {tuple(centres.shape)}.")
        self._centres = None if centres is None else F.normalize(centres.float(), dim=1).cpu().numpy()

    def share(self, rank: int, ranks: int, *, split: bool) -> None:
        """Yield one process's share of the batches from now on.

        Args:
            rank: this process. ranks: how many there are.
            split: every process takes its part of the identities of every batch; else whole batches, in turn.

        Raises:
            DataError: the identities of a batch cannot be shared out evenly, or there are fewer batches than processes.
        """
        if split and self.identities % ranks:
            raise DataError(
                f"{self.identities} identities of a batch cannot be shared out evenly among {ranks} devices. Change "
                "batch.identities_per_batch, or let each draw its own batch: distributed.batch=per_device."
            )
        if not split and self._whole < ranks:
            raise DataError(f"An epoch has {self._whole} batches, and there are {ranks} devices. Use fewer devices.")
        self.rank, self.ranks, self.split = rank, ranks, split

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose which epoch's order comes next, and how many of this process's batches are passed over."""
        self.epoch, self.start = epoch, start
        self._whole = sum(1 for _ in self._batches())

    @property
    def batches(self) -> int:
        """This process's batches of the present epoch, those before ``start`` included; the same in every process."""
        return self._whole if self.split else self._whole // self.ranks

    @property
    def batch_images(self) -> int:
        """Images of a batch in all processes together."""
        return self.identities * self.images * (1 if self.split else self.ranks)

    def __len__(self) -> int:
        """Batches that the present epoch yields."""
        return max(self.batches - self.start, 0)

    def __iter__(self) -> Iterator[list[int]]:
        if self.split:
            count = self.identities // self.ranks * self.images
            for batch in islice(self._batches(), self.start, None):
                yield batch[self.rank * count : (self.rank + 1) * count]
        else:
            first, end = self.start * self.ranks + self.rank, self.batches * self.ranks
            yield from islice(self._batches(), first, end, self.ranks)

    def _batches(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        hands = [self._deal(images, random) for images in self._images]
        left = np.array([len(hand) for hand in hands])
        while np.count_nonzero(left) >= self.identities:
            chosen = self._choose(left > 0, random)
            left[chosen] -= 1
            yield [int(index) for pid in chosen for index in hands[pid].pop()]

    def _choose(self, ready: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if self._centres is None:
            return random.choice(np.flatnonzero(ready), self.identities, replace=False)
        alike = self._centres @ self._centres[random.choice(np.flatnonzero(ready))]
        return np.argsort(-np.where(ready, alike, -np.inf), kind="stable")[: self.identities]

    def _deal(self, theirs: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        shuffled = random.permutation(theirs)
        if len(shuffled) < self.images:
            shuffled = np.concatenate([shuffled, random.choice(theirs, self.images - len(shuffled))])
        whole = len(shuffled) // self.images * self.images
        return list(shuffled[:whole].reshape(-1, self.images))
