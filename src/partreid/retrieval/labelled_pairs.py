"""Pairs of images of which it is known whether they show one person: what a calibration is fitted on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from partreid.errors import DataError
from partreid.lazy import torch
from partreid.objects import Guided

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class LabelledPairs(Guided):
    """Pairs of a query and a gallery image of which it is known whether they show one person.

    Attributes:
        distances: [N] float64, infinity where not comparable. comparable: [N] int64 number of compared slots.
        same: [N] bool. weights: [N] float64, how many pairs each stands for.
        query_person, gallery_person: [N] int64 numbers of the persons.
    """

    distances: Tensor
    comparable: Tensor
    same: Tensor
    weights: Tensor
    query_person: Tensor
    gallery_person: Tensor

    def __len__(self) -> int:
        return len(self.distances)

    def __getitem__(self, some: Tensor) -> LabelledPairs:
        return LabelledPairs(*(values[some] for values in vars(self).values()))

    @classmethod
    def cat(cls, several: Iterable[LabelledPairs]) -> LabelledPairs:
        """Several collections as one; a person has the same number in all of them."""
        several = list(several)
        if not several:
            raise DataError("Expected at least one collection of pairs, got none.")
        return cls(*(torch.cat(values) for values in zip(*(vars(p).values() for p in several), strict=True)))

    @property
    def base_rate(self) -> float:
        """Fraction of the pairs that show one person, by weight."""
        return float(self.weights[self.same].sum() / self.weights.sum())

    def at_base_rate(self, prior: float) -> LabelledPairs:
        """The same pairs with such weights that ``prior`` of them show one person.

        Raises:
            DataError: no pair shows one person, or all do.
        """
        rate = self.base_rate
        if not 0 < rate < 1:
            raise DataError(
                f"Expected pairs of one person and pairs of two, got {int(self.same.sum())} of one among {len(self)}. "
                "A calibration needs both, the former taken by different cameras."
            )
        matches = self.same.to(self.weights)
        factors = matches * (prior / rate) + (1 - matches) * ((1 - prior) / (1 - rate))
        return LabelledPairs(**(vars(self) | {"weights": self.weights * factors}))
