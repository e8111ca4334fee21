"""Several embeddings of one person as one: per slot, the mean of the vectors weighted by visibility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from partreid.lazy import torch
from partreid.types import PartEmbeddings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class SlotSums:
    """The sums from which the mean of several embeddings is computed. The sums of two sets add up to those of both.

    Per slot f = Σ_n v_n·f_n / Σ_n v_n. This is Eq. 3 with images n instead of pixels, and visibility instead of
    attention. A slot that is seen in no image keeps the plain mean, for comparison without visibility. Sums are in
    double precision (on MPS in single, because it has no other), so that the order of adding does not matter.

    Attributes:
        weighted: [..., S, D] Σ v_n·f_n. plain: [..., S, D] Σ f_n. weight: [..., S] Σ v_n.
        visibility: [..., S] the largest v_n. count: number of embeddings.
    """

    weighted: Tensor
    plain: Tensor
    weight: Tensor
    visibility: Tensor
    count: int

    @classmethod
    def of(cls, vectors: Tensor, visibility: Tensor) -> Self:
        """The sums over the first dimension, which must not be empty.

        Args:
            vectors: [N, ..., S, D]. visibility: [N, ..., S].

        Example:
            >>> sums = SlotSums.of(torch.tensor([[[2.0]], [[8.0]]]), torch.tensor([[1.0], [0.5]]))
            >>> sums.count, sums.weight
            (2, tensor([1.5000], dtype=torch.float64))
        """
        precise = torch.float32 if vectors.device.type == "mps" else torch.float64
        wide, weights = vectors.to(precise), visibility.to(precise)
        return cls(
            weighted=(wide * weights[..., None]).sum(0),
            plain=wide.sum(0),
            weight=weights.sum(0),
            visibility=weights.amax(0),
            count=len(vectors),
        )

    def __add__(self, other: SlotSums) -> SlotSums:
        return SlotSums(
            weighted=self.weighted + other.weighted,
            plain=self.plain + other.plain,
            weight=self.weight + other.weight,
            visibility=torch.maximum(self.visibility, other.visibility),
            count=self.count + other.count,
        )

    def decayed(self, factor: Tensor) -> SlotSums:
        """The sums in which former embeddings count ``factor`` [..., S] times as much as later ones."""
        return replace(self, weighted=self.weighted * factor[..., None], weight=self.weight * factor)

    def kept(self, slots: Tensor) -> SlotSums:
        """The sums without the slots that are 0 in [..., S], as if they had never been seen."""
        return replace(self.decayed(slots), visibility=self.visibility * slots)

    @classmethod
    def cat(cls, several: Sequence[SlotSums]) -> Self:
        """Sums [..., B, S, D] of several persons side by side in the dimension B, each by its own count."""
        counts = torch.cat([sums.plain.new_full((sums.plain.shape[-3],), sums.count) for sums in several])
        return cls(
            weighted=torch.cat([sums.weighted for sums in several], dim=-3),
            plain=torch.cat([sums.plain for sums in several], dim=-3) / counts[:, None, None],
            weight=torch.cat([sums.weight for sums in several], dim=-2),
            visibility=torch.cat([sums.visibility for sums in several], dim=-2),
            count=1,
        )

    def mean(self, like: PartEmbeddings) -> PartEmbeddings:
        """The merged embeddings [B, S, D], from sums over [N, B, S, D]. A slot's visibility is the largest one.

        Args:
            like: embeddings with the slots, types and model of the result.
        """
        weight = self.weight[..., None]
        vectors = torch.where(weight > 0, self.weighted / weight, self.plain / self.count)
        visibility = self.visibility.to(like.visibility.dtype)
        return replace(like, vectors=vectors.to(like.vectors.dtype), visibility=visibility)
