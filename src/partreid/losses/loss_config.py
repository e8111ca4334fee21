"""How a model is supervised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, field_validator

from partreid.base_config import ConfigModel
from partreid.registry import Registry

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


LOSSES: Registry[Callable[..., object]] = Registry("loss", group="partreid.losses")
"""Losses by name. A loss is a function ``(output, pid_index, labels) → a number``, with arguments as in
:func:`~partreid.losses.objective.objective`. Or it is a class of such functions that is built with a
:class:`~partreid.losses.extra.LossSetup`."""


class RegionWeights(ConfigModel):
    """Weight of one kind of loss on each embedding; 0 = not applied."""

    global_: Weight = 0.0
    """On f_g."""
    foreground: Weight = 0.0
    """On f_f."""
    concat: Weight = 0.0
    """On f_c."""
    parts: Weight = 0.0
    """On f_1 .. f_K."""


class GiLtConfig(ConfigModel):
    """GiLt (Eq. 6): which loss on which embedding. Every row of Table 4 is a choice of these weights.

    A weight on an embedding that the model does not have is ignored (PCB: the foreground; BoT: all but the global one).
    So a row of Table 4 can train every model.
    """

    identity: RegionWeights = RegionWeights(global_=1, foreground=1, concat=1)
    """Weights of the identity loss; Eq. 6: on the holistic embeddings."""
    triplet: RegionWeights = RegionWeights(parts=1)
    """Weights of the triplet loss; Eq. 6: on the parts."""
    part_triplet: Literal["part_averaged", "per_part"] = "part_averaged"
    """Eq. 7-8, or one triplet per part (Table 2, "w/o part-averaged triplet loss")."""
    triplet_visibility: Literal["ignore", "model", "labels"] = "ignore"
    """Which parts the part-averaged triplet compares: all (paper); or the parts that the model predicts to be visible;
    or the parts that the human parsing labels show. The last two are weighted as in Eq. 9."""
    label_smoothing: Share = 0.1
    """ε of the identity loss (paper §4.2)."""
    margin: Annotated[float, Field(gt=0)] = 0.3
    """α of Eq. 8 (paper §4.2)."""


class DistillationConfig(ConfigModel):
    """Which embeddings distillation pulls towards the original network's embedding of the clean image.

    Each number weighs 1 - cosine. The original network is the one that training starts from. It sees the clean image,
    while the trained network sees an augmented, partly hidden one. So the network keeps its knowledge of people, and
    learns to embed a hidden person like the whole person.
    """

    global_: Weight = 0.0
    """On f_g."""
    foreground: Weight = 0.0
    """On f_f."""


class ObjectiveConfig(ConfigModel):
    """Eq. 5: L = λ_pa · L_pa + L_GiLt."""

    gilt: GiLtConfig = GiLtConfig()
    """The losses from identity labels."""
    part_attention_weight: Weight = 0.35
    """λ_pa (paper §3.3). 0 trains without human parsing labels."""
    part_attention_smoothing: Share = 0.1
    """ε of Eq. 2 (paper §4.2)."""
    distillation: DistillationConfig = DistillationConfig()
    """Weights of distillation from the backbone's embeddings of the clean images (not in the paper)."""
    consistency_weight: Weight = 0.0
    """Weight of 1 - cosine between the embeddings of two views of an image, f_g, f_f and each part that both views show
    (not in the paper). Needs ``batch.views`` = 2."""
    extra: dict[str, Weight] = Field(default_factory=dict)
    """Weights of your own losses by name; they are added to L (docs/extending.md)."""

    @property
    def distills(self) -> bool:
        """Whether vectors of the original network, from which training starts, are needed."""
        return self.distillation.global_ > 0 or self.distillation.foreground > 0

    @field_validator("extra")
    @classmethod
    def _known_losses(cls, weights: dict[str, float]) -> dict[str, float]:
        return {LOSSES.check(name): weight for name, weight in weights.items()}
