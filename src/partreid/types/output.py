"""The output of a model. Shapes: B images, K parts, H×W feature map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from partreid.objects import Guided
from partreid.types.tensors import PartEmbeddings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class RegionVectors(Guided):
    """One tensor per kind of region (paper §3.2.1): f_g, f_f, f_c and f_1..f_K, or values computed from them.

    Attributes:
        global_: [B, *]. foreground: [B, *]. concat: [B, *]. parts: [B, K, *]. None if a model has no such region.
    """

    global_: Tensor | None = None
    foreground: Tensor | None = None
    concat: Tensor | None = None
    parts: Tensor | None = None

    NAMES: ClassVar[tuple[str, ...]] = ("global_", "foreground", "concat", "parts")

    def map(self, function: Callable[[Tensor], Tensor]) -> RegionVectors:
        """``function`` applied to every tensor."""
        return RegionVectors(**{name: function(vectors) for name, vectors in self.items()})

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) for the existing regions."""
        return ((name, vectors) for name in self.NAMES if (vectors := getattr(self, name)) is not None)


@dataclass(frozen=True, eq=False, repr=False)
class ModelOutput(Guided):
    """The output of a part-based model, the same in training and evaluation.

    Attributes:
        part_logits: [B, K+1, H, W] scores before the softmax of Eq. 1, background first; None if attention is not
            learned.
        attention: [B, K+1, H, W] part attention maps M (Eq. 1), channel 0 = background; K = 0 without parts.
        features: raw region vectors (Eq. 3).
        bn_features: the same after their BN necks.
        identity_logits: [B, identities] per holistic region and [B, K, identities] for the parts, from the BN-neck
            vectors; None if they were not requested.
        visibility: [B, K] of the parts (Eq. 4).
        embeddings: the embeddings that matching compares (Eq. 9).
    """

    part_logits: Tensor | None
    attention: Tensor
    features: RegionVectors
    bn_features: RegionVectors
    identity_logits: RegionVectors | None
    visibility: Tensor
    embeddings: PartEmbeddings

    def map(self, function: Callable[[Tensor], Tensor]) -> ModelOutput:
        """``function`` applied to every tensor, for example to bring the output to another device."""
        e = self.embeddings
        return ModelOutput(
            part_logits=None if self.part_logits is None else function(self.part_logits),
            attention=function(self.attention),
            features=self.features.map(function),
            bn_features=self.bn_features.map(function),
            identity_logits=None if self.identity_logits is None else self.identity_logits.map(function),
            visibility=function(self.visibility),
            embeddings=replace(e, vectors=function(e.vectors), visibility=function(e.visibility)),
        )
