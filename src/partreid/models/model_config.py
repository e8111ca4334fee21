"""The configuration of a model. The checkpoint contains it, and the model is rebuilt from it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from partreid.base_config import ConfigModel
from partreid.errors import nearest
from partreid.functional.visibility import DEFAULT_THRESHOLD
from partreid.models.backbones import BACKBONES, map_geometry
from partreid.parts import FOREGROUND, GLOBAL, PartSchema, get_part_schema
from partreid.types.slot_weights import SlotWeights


class ModelConfig(ConfigModel):
    """Architecture and numerics of BPBReID and its baselines. The defaults follow the paper's text."""

    backbone: str = "resnet50"
    """Feature extractor: "resnet50", "resnet50_ibn_a", "hrnet_w32" (paper §4.2: RN, RI, HR), "efficientnet_lite0"
    (light, for CPUs), "osnet_x1_0" and others of torchreid's zoo (docs/models.md), "resnet18" (tests), "timm/<model
    name>", or one of your own (docs/extending.md)."""
    output_stride: Literal[8, 16, 32] | None = None
    """Image pixels per cell of the backbone's output. None = the backbone's own: 16 for a ResNet with its last stride
    removed (paper §4.2: 256×128 gives 16×8), 4 for HRNet, and that of a timm model.
    """
    map_stride: Literal[4, 8, 16] | None = None
    """A finer feature map: the backbone's features from this stride on, upsampled to it and concatenated, as the paper
    does with HRNet's branches. None = only the backbone's output (paper, ResNet-50).
    """
    attention: Literal["learned", "fixed", "fields", "stripes", "none"] = "learned"
    """How parts are located: "learned" (BPBReID, Eq. 1); "fixed", the softmax of the pose fields (Table 2, w/o
    learnable attention), or "fields", the pose fields as they are (both need a label file for every image, also in
    tests); "stripes" (PCB); "none" (BoT: a global embedding only).
    """
    stripes: Annotated[int, Field(ge=1, le=1024)] = 6
    """Number of horizontal stripes (PCB; paper §4.4.2: 6)."""
    parts: str = "eight"
    """Part schema by name; paper: "eight" for occluded sets, "five" for holistic ones (Table 5)."""
    embedding_dim: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Width D of a Linear + BatchNorm + ReLU head after pooling; none in the paper, 512 in the published weights."""
    own_embedding: bool = False
    """Whether the backbone's own layers after its map embed each region, instead of pooling and head. f_g is then its
    own embedding of the whole image, compared together with the others as the slot "global", which is always visible.
    Foreground and parts are its embeddings of the map weighted by their attention. This needs a backbone that was
    trained to embed people; it decides D.
    """
    foreground_pooling: Literal["weighted_average", "mean"] = "weighted_average"
    """Eq. 3, or the published weights' mean of M_f·G over all pixels."""
    part_classifier_batchnorm: bool = False
    """A BatchNorm2d before the 1×1 convolution of Eq. 1, as the published weights have it."""
    visibility: Literal["threshold", "argmax", "continuous"] = "threshold"
    """Eq. 4 (a map's maximum above the threshold), the published weights' argmax rule, or the maximum itself."""
    visibility_threshold: Annotated[float, Field(ge=0, le=1)] = DEFAULT_THRESHOLD
    """λ_v of Eq. 4."""
    foreground_embedding: Literal["raw", "bn"] = "raw"
    """Which foreground vector is matched: raw f_f (Eq. 9), or its BN-neck output (published weights). BoT: f_g."""
    normalize_embeddings: bool = False
    """Whether matching divides each slot's vector by its length first; Eq. 9 does not, the published weights do."""
    slot_weights: SlotWeights = Field(default_factory=dict)
    """Weights of slots in matching in addition to visibility, by name, in 0.0001..10000, for example ``{"global": 3}``;
    slots that are not named have 1, as in Eq. 9. ``MatchingConfig.slot_weights`` can replace them.
    """

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, name: str) -> str:
        return BACKBONES.check(name)

    @field_validator("parts")
    @classmethod
    def _known_parts(cls, name: str) -> str:
        get_part_schema(name)  # its error is a ValueError
        return name

    @model_validator(mode="after")
    def _weights_of_slots(self) -> Self:
        for slot in self.slot_weights:
            if slot not in self.slots:
                raise ValueError(f"slot_weights: there is no slot {slot!r}. {nearest(slot, self.slots)}")
        return self

    @property
    def stride(self) -> int:
        """Image pixels per cell of the feature map G."""
        return self.map_stride or map_geometry(self.backbone, self.output_stride).stride

    @property
    def input_multiple(self) -> int:
        """Height and width of images must be multiples of this number."""
        return map_geometry(self.backbone, self.output_stride).multiple

    @property
    def pose_guided(self) -> bool:
        """Whether pose fields take the place of learned attention, so that every image needs a label file."""
        return self.attention in ("fixed", "fields")

    @property
    def visibility_rule(self) -> str:
        """The rule of visibility: :attr:`visibility`, or "always" if every part is always visible."""
        return self.visibility if self.attention in ("learned", "fixed", "fields") else "always"

    @property
    def idle_fields(self) -> frozenset[str]:
        """Fields of the forward pass that have no effect with the present values of the others."""
        idle = set()
        if self.visibility_rule != "threshold":
            idle.add("visibility_threshold")
        if self.visibility_rule == "always":
            idle |= {"visibility", "foreground_pooling"}
        if self.attention == "stripes":
            idle.add("foreground_embedding")  # stripes stand alone
        else:
            idle.add("stripes")
        return frozenset(idle)

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the K parts; none without parts."""
        if self.attention == "none":
            return ()
        if self.attention == "stripes":
            return tuple(f"stripe_{i}" for i in range(1, self.stripes + 1))
        return self.part_schema.parts

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the compared slots (Eq. 9): the foreground and the parts; only stripes; or the global embedding.

        The backbone's own embedding, if it is kept, comes first.
        """
        holistic = {"stripes": (), "none": (GLOBAL,)}.get(self.attention, (FOREGROUND,))
        own = (GLOBAL,) if self.own_embedding and self.attention != "none" else ()
        return (*own, *holistic, *self.part_names)

    @property
    def part_schema(self) -> PartSchema:
        """The part schema by its name."""
        return get_part_schema(self.parts)


def paper_model() -> ModelConfig:
    """The numerics of the paper's text: ResNet-50, K = 8."""
    return ModelConfig()


def bot_model() -> ModelConfig:
    """BoT (Luo et al. 2019): the global embedding after its BN neck, compared by the angle."""
    return ModelConfig(attention="none", foreground_embedding="bn", normalize_embeddings=True)


def pcb_model() -> ModelConfig:
    """PCB as the paper's Table 4 compares it: six stripes."""
    return ModelConfig(attention="stripes")


def official_model() -> ModelConfig:
    """The numerics of the published weights, all departures from the text together."""
    return ModelConfig(
        embedding_dim=512,
        foreground_pooling="mean",
        part_classifier_batchnorm=True,
        visibility="argmax",
        foreground_embedding="bn",
        normalize_embeddings=True,
    )
