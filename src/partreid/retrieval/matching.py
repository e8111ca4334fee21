"""How two embeddings are compared: choices taken at matching, also on a gallery stored long before."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from partreid.config import ConfigModel
from partreid.functional.distance import MEMORY_BUDGET, VisibilityRule, part_distances
from partreid.types import PartEmbeddings


class MatchingConfig(ConfigModel):
    """The distance between two pictures (paper §3.4, Eq. 9). The defaults are the paper's."""

    normalize: bool = False
    """Divide each slot's vector by its length first. The published weights need it; the paper does not say."""

    visibility: VisibilityRule = "product"
    """Weight of a slot: "product" v_q·v_g (Eq. 9), "geometric" sqrt(v_q·v_g) (the published code with continuous
    visibilities), "ignore" 1 (the ablation without visibility)."""

    visibility_threshold: Annotated[float, Field(ge=0, lt=1)] | None = None
    """λ_v of Eq. 4 for embeddings that carry continuous visibilities: above it a slot counts as visible (1), else as
    invisible (0). None takes the visibilities as they are."""

    slots: tuple[str, ...] | None = None
    """Names of the slots to compare, for example ``["foreground", "head"]``. None compares all."""

    def prepare(self, embeddings: PartEmbeddings) -> PartEmbeddings:
        """The slots to compare, with the threshold applied to their visibility.

        Raises:
            ShapeError: there is no such slot; the message names the nearest one.
        """
        chosen = embeddings if self.slots is None else embeddings.select(*self.slots)
        if self.visibility_threshold is None:
            return chosen
        seen = (chosen.visibility > self.visibility_threshold).to(chosen.visibility.dtype)
        return PartEmbeddings(chosen.vectors, seen, chosen.slots)

    def distances(
        self, query: PartEmbeddings, gallery: PartEmbeddings, *, memory_budget: int = MEMORY_BUDGET
    ) -> Tensor:
        """[Q, G] distances under this rule; see :func:`partreid.functional.distance.part_distances`."""
        return part_distances(
            self.prepare(query),
            self.prepare(gallery),
            normalize=self.normalize,
            visibility=self.visibility,
            memory_budget=memory_budget,
        )
