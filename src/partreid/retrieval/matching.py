"""How two embeddings are compared. These choices are made at matching, so they also apply to old galleries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator

from partreid.base_config import ConfigModel
from partreid.errors import ShapeError, nearest, warn
from partreid.functional._blocks import DistanceRows
from partreid.functional.distance import MEMORY_BUDGET, SlotMean, comparable_slots, mean_rows
from partreid.functional.visibility import VISIBILITY_RULES
from partreid.types import PartEmbeddings, compares_normalized, comparison_weights
from partreid.types.slot_weights import SlotWeights, checked_weights

if TYPE_CHECKING:
    from torch import Tensor

Threshold = Annotated[float, Field(ge=0, lt=1)]


class MatchingConfig(ConfigModel):
    """The distance between two images (paper §3.4, Eq. 9). The default is the way for which the embeddings' model was
    made.
    """

    normalize: bool | None = None
    """Divide each slot's vector by its length first. None = as the embeddings' model was made for: the published
    weights and BoT divide, the paper does not."""

    visibility: str = "product"
    """Weight of a slot: "product" v_q·v_g (Eq. 9), "geometric" sqrt(v_q·v_g) (the published code with continuous
    visibilities), "ignore" 1 (the ablation without visibility), or a rule of your own (docs/extending.md)."""

    visibility_threshold: Threshold | dict[str, Threshold] | None = None
    """λ_v of Eq. 4 for embeddings that carry continuous visibilities: above it a slot counts as visible (1), else as
    invisible (0). One number for all slots, or one for each slot named. None, and a slot not named, take the
    visibilities as they are."""

    slots: tuple[str, ...] | None = None
    """Names of the slots to compare, for example ``["foreground", "head"]``. None compares all."""

    slot_weights: SlotWeights | None = None
    """A factor of each named slot's weight in Eq. 9, beside its visibility: 0.0001..10000, for example
    ``{"global": 3}``. A slot that is not named has the factor 1. Only the ratios matter. To leave a slot out, leave it
    out of ``slots``. None = as the embeddings' model was made for; ``{}``: all count the same."""

    @field_validator("visibility", mode="before")
    @classmethod
    def _known_rule(cls, name: str) -> str:
        return VISIBILITY_RULES.check(name)

    def prepare(self, embeddings: PartEmbeddings) -> PartEmbeddings:
        """The slots to compare, with the threshold applied to their visibility.

        Raises:
            ShapeError: a slot to compare, or one with a threshold or weight, does not exist (the message names the
                nearest one); or a visibility with a threshold lies outside [0, 1].
        """
        checked_weights(self.slot_weights or {}, embeddings.slots)
        if self.visibility_threshold is not None:
            embeddings = replace(embeddings, visibility=_threshold(embeddings, self.visibility_threshold))
        return embeddings if self.slots is None else embeddings.select(*self.slots)

    @property
    def idle_fields(self) -> tuple[str, ...]:
        """Fields that have no effect if every visibility is 0 or 1."""
        threshold = () if self.visibility_threshold is None else ("visibility_threshold",)
        return (*threshold, "visibility=geometric") if self.visibility == "geometric" else threshold

    def resolved(self, *embeddings: PartEmbeddings) -> Self:
        """The same rule, completed with the choices of these embeddings.

        Warns if a field has no effect because every visibility is 0 or 1.

        Raises:
            ShapeError: the embeddings are made for different ways of comparison.

        Example:
            >>> import torch
            >>> e = PartEmbeddings(torch.eye(2)[None], torch.ones(1, 2), ("head", "feet"), compare_normalized=True)
            >>> MatchingConfig().resolved(e).normalize, MatchingConfig(normalize=False).resolved(e).normalize
            (True, False)
        """
        several = [e.visibility for e in embeddings if len(e) and len(e.slots) > 1]  # the foreground is always visible
        if self.idle_fields and several and all(bool(((v == 0) | (v == 1)).all()) for v in several):
            warn(
                f"matching.{' and '.join(self.idle_fields)} changes nothing: every visibility is 0 or 1 already. Embed "
                "with visibility=continuous, or leave it out."
            )
        return self.model_copy(
            update={
                "normalize": compares_normalized(*embeddings) if self.normalize is None else self.normalize,
                "slot_weights": comparison_weights(*embeddings) if self.slot_weights is None else self.slot_weights,
            }
        )

    @property
    def prepared(self) -> Self:
        """The same rule for embeddings that were already passed through :meth:`prepare`."""
        done = {"slots": None, "visibility_threshold": None, "slot_weights": self.weights}
        return self.model_copy(update=done)

    @property
    def weights(self) -> dict[str, float] | None:
        """:attr:`slot_weights` of the compared slots; None if the embeddings decide them."""
        known = self.slot_weights
        if known is None or self.slots is None:
            return known
        return {slot: known[slot] for slot in self.slots if slot in known}

    def comparable(self, query: PartEmbeddings, gallery: PartEmbeddings) -> Tensor:
        """[Q, G] number of slots that each pair compares under this rule; 0 = not comparable."""
        return comparable_slots(self.prepare(query), self.prepare(gallery), visibility=self.visibility)

    def distances(
        self, query: PartEmbeddings, gallery: PartEmbeddings, *, memory_budget: int = MEMORY_BUDGET
    ) -> Tensor:
        """[Q, G] distances under this rule; see :func:`partreid.functional.distance.part_distances`."""
        return self.rows(query, gallery, memory_budget=memory_budget).whole()

    def rows(
        self, query: PartEmbeddings, gallery: PartEmbeddings, *, memory_budget: int = MEMORY_BUDGET
    ) -> DistanceRows:
        """The distances under this rule, some queries at a time; see
        :func:`partreid.functional.distance.distance_rows`."""
        return rows_of([self], query, gallery, memory_budget=memory_budget)


def rows_of(
    rules: Sequence[MatchingConfig],
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    *,
    memory_budget: int = MEMORY_BUDGET,
) -> DistanceRows:
    """The distances under several rules that normalise alike; the vectors of a slot are multiplied once for all."""
    means = [SlotMean(_seen(query, r), _seen(gallery, r), r.visibility, r.weights) for r in rules]
    asked = _with_slots(query, [mean.query for mean in means])
    stored = _with_slots(gallery, [mean.gallery for mean in means])
    return mean_rows(asked, stored, means, normalize=rules[0].normalize, memory_budget=memory_budget)


def _with_slots(embeddings: PartEmbeddings, seen: Sequence[PartEmbeddings]) -> PartEmbeddings:
    """The slots that any of these has, in the order of the one with the most, so that its sum takes the same order."""
    slots = tuple(dict.fromkeys(slot for one in sorted(seen, key=lambda one: -len(one.slots)) for slot in one.slots))
    return embeddings if slots == embeddings.slots else embeddings.select(*slots)


def _seen(embeddings: PartEmbeddings, rule: MatchingConfig) -> PartEmbeddings:
    """What :meth:`MatchingConfig.prepare` gives, but without vectors where it would copy them."""
    if rule.slots is None:
        return rule.prepare(embeddings)
    whole = rule.model_copy(update={"slots": None}).prepare(embeddings)
    return replace(whole, vectors=whole.vectors[:, :, :0]).select(*rule.slots)


def _threshold(embeddings: PartEmbeddings, limits: float | dict[str, float]) -> Tensor:
    """[B, S] visibilities, 0 or 1 where there is a limit."""
    for slot in limits if isinstance(limits, dict) else ():
        if slot not in embeddings.slots:
            raise ShapeError(f"No slot {slot!r} for a threshold. {nearest(slot, embeddings.slots)}")
    if not ((embeddings.visibility >= 0) & (embeddings.visibility <= 1)).all():
        embeddings.validate()  # a threshold would hide NaN, and fractions written as per cent
    result = embeddings.visibility.clone()
    for i, slot in enumerate(embeddings.slots):
        limit = limits.get(slot) if isinstance(limits, dict) else limits
        if limit is not None:
            result[:, i] = (embeddings.visibility[:, i] > limit).to(result.dtype)
    return result
