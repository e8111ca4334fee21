"""What BPBReID and its baselines share: a backbone, pooled regions, a BN neck and a classifier on each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from partreid.errors import ConfigError, ShapeError
from partreid.models.backbones import Backbone, build_backbone
from partreid.models.heads import BNNeck, EmbeddingHead
from partreid.models.model_config import ModelConfig
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

_HOLISTIC_NECKS = {"global_": "global_neck", "foreground": "foreground_neck", "concat": "concat_neck"}


class PartAttention(NamedTuple):
    """Where each part is.

    Attributes:
        maps: [B, K+1, H, W] in [0, 1], channel 0 = background.
        visibility: [B, K]. logits: [B, K+1, H, W] before the softmax of Eq. 1, or None where nothing is learned.
    """

    maps: Tensor
    visibility: Tensor
    logits: Tensor | None = None


class ReIDNetwork(nn.Module, ABC):
    """A network that embeds the regions of an image.

    Args:
        config: architecture and numerics.
        num_identities: training identities (rows of the identity classifiers).
        backbone: a feature extractor that is already built, else a new one **without pretrained weights**.
    """

    REGIONS: ClassVar[tuple[str, ...]] = RegionVectors.NAMES
    """The regions that there are, in the words of :class:`~partreid.types.RegionVectors`."""
    MATCHED: ClassVar[str | None] = "foreground"
    """The holistic region that is compared beside the parts; None compares the parts alone."""

    def __init__(self, config: ModelConfig, num_identities: int, *, backbone: Backbone | None = None) -> None:
        super().__init__()
        if num_identities < 0:
            raise ConfigError(f"A network knows 0 or more training identities, got {num_identities}.")
        self.config = config
        self.num_identities = num_identities
        if backbone is None:
            backbone = build_backbone(config.backbone, output_stride=config.output_stride, map_stride=config.map_stride)
        self.backbone = backbone
        self.build_attention()
        num_parts, channels = len(config.part_names), backbone.channels
        projected = config.own_embedding or config.embedding_dim is not None
        self.dim = dim = self._width(backbone)
        pooled = [name for name in ("global_", "foreground", "parts") if name in self.REGIONS]
        self.heads = nn.ModuleDict()
        for name in pooled:
            own = config.own_embedding and name == "global_"
            self.heads[name] = EmbeddingHead(channels, dim) if projected and not own else nn.Identity()
        self.global_neck = BNNeck(dim, num_identities)
        if "foreground" in self.REGIONS:
            self.foreground_neck = BNNeck(dim, num_identities)
        if "parts" in self.REGIONS:
            self.concat_neck = BNNeck(dim * num_parts, num_identities)
            self.part_necks = nn.ModuleList(BNNeck(dim, num_identities) for _ in range(num_parts))

    def _width(self, backbone: Backbone) -> int:
        """D of every embedding."""
        if not self.config.own_embedding:
            return self.config.embedding_dim or backbone.channels
        if backbone.vector_dim is None:
            raise ConfigError(
                f"model.own_embedding: the backbone {self.config.backbone} has no embedding of its own. Set "
                "own_embedding=false, or take one that was trained to embed people (docs/models.md)."
            )
        if self.config.embedding_dim not in (None, backbone.vector_dim):
            raise ConfigError(
                f"model.embedding_dim = {self.config.embedding_dim}: the backbone's own embedding has {backbone.vector_dim} "
                "numbers, and all slots have the same. Set embedding_dim=null."
            )
        return backbone.vector_dim

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.config.slots

    def build_attention(self) -> None:
        """Make the layers that find the parts; none where nothing is learned.

        Called between backbone and heads: a seed draws the same initial weights as in every version so far.
        """

    @abstractmethod
    def attend(self, features: Tensor, part_maps: Tensor | None) -> PartAttention:
        """Part attention over the feature map G [B, C, H, W]; ``part_maps`` as in :meth:`forward`."""

    @abstractmethod
    def pool(self, features: Tensor, attention: Tensor) -> RegionVectors:
        """Pool G under the maps [B, K+1, H, W] → f_g, f_f [B, C] and f_1..f_K [B, K, C], those that there are."""

    def forward(self, images: Tensor, part_maps: Tensor | None = None, *, classify: bool = True) -> ModelOutput:
        """Embed normalised images.

        Args:
            images: [B, 3, H, W]; H and W multiples of the backbone's ``input_multiple``.
            part_maps: [B, K, h, w] tensor E at the feature map's size, for fixed attention only.
            classify: also compute identity logits; embedding needs none.

        Raises:
            ShapeError: the images have another shape or are not normalised, or part maps are needed and missing.
        """
        self._check(images)
        stages = self.backbone.stages(images)
        own = self.backbone.vector(stages) if self.config.own_embedding else None
        return self.embed(stages[self.backbone.output_stride], own, part_maps, classify=classify)

    def embed(
        self, features: Tensor, own: Tensor | None = None, part_maps: Tensor | None = None, *, classify: bool = True
    ) -> ModelOutput:
        """Everything behind the backbone.

        Args:
            features: G, [B, C, h, w]. own: the backbone's own embedding, [B, D], where it is kept.
            part_maps, classify: as of :meth:`forward`.
        """
        attention = self.attend(features, part_maps)
        pooled = self.pool(features, attention.maps)
        return self.finish(pooled, attention, own=own, classify=classify)

    def finish(
        self, pooled: RegionVectors, attention: PartAttention, *, own: Tensor | None = None, classify: bool = False
    ) -> ModelOutput:
        """Everything behind the pooling: heads, BN necks, and what is matched. Arguments as of :meth:`embed`."""
        if own is not None:
            pooled = replace(pooled, global_=own)
        vectors = {name: head(getattr(pooled, name)) for name, head in self.heads.items()}
        concat = {"concat": vectors["parts"].flatten(1)} if "parts" in vectors else {}
        regions = RegionVectors(**vectors, **concat)
        bn_regions = self._per_region(regions, lambda neck, vectors: neck(vectors))
        logits = self._per_region(bn_regions, lambda neck, vectors: neck.classifier(vectors)) if classify else None
        return ModelOutput(
            part_logits=attention.logits,
            attention=attention.maps,
            features=regions,
            bn_features=bn_regions,
            identity_logits=logits,
            visibility=attention.visibility,
            embeddings=self._embeddings(regions, bn_regions, attention.visibility),
        )

    def _check(self, images: Tensor) -> None:
        multiple = self.backbone.input_multiple
        if not images.is_floating_point():
            raise ShapeError(f"Expected normalised images (partreid.preprocessing.normalize), got {images.dtype}.")
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % multiple or images.shape[3] % multiple:
            raise ShapeError(
                f"Expected images [B, 3, H, W] with H and W multiples of {multiple}, got {tuple(images.shape)}."
            )

    def _per_region(self, regions: RegionVectors, function: Callable[[Any, Tensor], Tensor]) -> RegionVectors:
        """``function`` of each region's BN neck and vectors."""
        results = {
            name: function(getattr(self, neck), getattr(regions, name))
            for name, neck in _HOLISTIC_NECKS.items()
            if getattr(regions, name) is not None
        }
        if regions.parts is not None:
            parts = [function(neck, regions.parts[:, k]) for k, neck in enumerate(self.part_necks)]
            results["parts"] = torch.stack(parts, dim=1)
        return RegionVectors(**results)

    def _embeddings(self, regions: RegionVectors, bn_regions: RegionVectors, visibility: Tensor) -> PartEmbeddings:
        vectors, visible = [], []
        ones = visibility.new_ones(visibility.shape[0], 1)  # of what stands for the whole person
        if self.config.own_embedding and self.MATCHED != "global_":
            assert regions.global_ is not None
            vectors.append(regions.global_.unsqueeze(1))
            visible.append(ones)
        if self.MATCHED is not None:
            holistic = getattr(bn_regions if self.config.foreground_embedding == "bn" else regions, self.MATCHED)
            vectors.append(holistic.unsqueeze(1))
            visible.append(ones)  # v_g = v_f = 1 (paper §3.2.2)
        if regions.parts is not None:
            vectors.append(regions.parts)
            visible.append(visibility)
        return PartEmbeddings(
            torch.cat(vectors, dim=1),
            torch.cat(visible, dim=1),
            self.slots,
            compare_normalized=self.config.normalize_embeddings,
            compare_weights=self.config.slot_weights,
        )
