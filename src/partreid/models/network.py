"""The common base of BPBReID and its baselines: a backbone, pooled regions, a BN neck and a classifier on each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.errors import ConfigError, ShapeError
from partreid.functional.pooling import foreground_map, weighted_sum_pool
from partreid.models.backbones import Backbone, build_backbone
from partreid.models.backbones.base import lowered
from partreid.models.heads import BNNeck, EmbeddingHead
from partreid.models.model_config import ModelConfig
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

_SMALLEST = 1e-6
"""A region with a smaller mean weight counts as nowhere."""

_HOLISTIC_NECKS = {"global_": "global_neck", "foreground": "foreground_neck", "concat": "concat_neck"}


class PartAttention(NamedTuple):
    """Where each part is.

    Attributes:
        maps: [B, K+1, H, W] in [0, 1], channel 0 = background.
        visibility: [B, K]. logits: [B, K+1, H, W] before the softmax of Eq. 1; None if attention is not learned.
    """

    maps: Tensor
    visibility: Tensor
    logits: Tensor | None = None


class ReIDNetwork(nn.Module, ABC):
    """A network that embeds the regions of an image.

    Args:
        config: architecture and numerics.
        num_identities: training identities (rows of the identity classifiers).
        backbone: a feature extractor that is already built. None = a new one **without pretrained weights**.
    """

    REGIONS: ClassVar[tuple[str, ...]] = RegionVectors.NAMES
    """The regions of this network, in the words of :class:`~partreid.types.RegionVectors`."""
    MATCHED: ClassVar[str | None] = "foreground"
    """The holistic region that is compared beside the parts; None = only the parts are compared."""

    def __init__(self, config: ModelConfig, num_identities: int, *, backbone: Backbone | None = None) -> None:
        super().__init__()
        if num_identities < 0:
            raise ConfigError(f"The number of training identities must be 0 or more, got {num_identities}.")
        self.config = config
        self.num_identities = num_identities
        if backbone is None:
            backbone = build_backbone(config.backbone, output_stride=config.output_stride, map_stride=config.map_stride)
        self.backbone = backbone
        self.build_attention()
        num_parts, channels = len(config.part_names), backbone.channels
        self.dim = dim = self._width(backbone)
        pooled = [name for name in ("global_", "foreground", "parts") if name in self.REGIONS]
        self.heads = nn.ModuleDict()
        for name in pooled:
            self.heads[name] = EmbeddingHead(channels, dim) if config.embedding_dim else nn.Identity()
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
        if self.config.embedding_dim is not None:
            raise ConfigError(
                f"model.embedding_dim = {self.config.embedding_dim}: with own_embedding every region is embedded by "
                f"the backbone's own layers, in {backbone.vector_dim} numbers. Set embedding_dim=null."
            )
        return backbone.vector_dim

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.config.slots

    def build_attention(self) -> None:
        """Make the layers that find the parts, if attention is learned.

        It is called between backbone and heads, so that a seed gives the same initial weights as in all versions so
        far.
        """

    @abstractmethod
    def attend(self, maps: Sequence[Tensor], part_maps: Tensor | None) -> PartAttention:
        """Part attention over the feature map G [B, C, H, W]; ``part_maps`` as in :meth:`forward`.

        Args:
            maps: G, or the maps that are joined to G, from fine to coarse. H and W are those of the first.
        """

    @abstractmethod
    def region_weights(self, attention: Tensor) -> dict[str, Tensor]:
        """The weight of each cell of G in each region's vector: [B, 1, H, W] for "global_" and "foreground", then
        [B, K, H, W] for "parts". Only the network's own regions are included.

        Args:
            attention: [B, K+1, H, W], channel 0 = background.
        """

    def pool(self, maps: Sequence[Tensor], attention: Tensor) -> RegionVectors:
        """Pool G under the maps [B, K+1, H, W] → f_g, f_f [B, C] and f_1..f_K [B, K, C], as far as they exist.

        Sums and upsampling are both linear. So each map is pooled at its own size, with weights brought to this size.
        """
        regions = self.region_weights(attention)
        weights = torch.cat(list(regions.values()), dim=1).to(maps[0].dtype)
        vectors = [weighted_sum_pool(maps[0], weights)]
        vectors += [weighted_sum_pool(one, lowered(weights, one.shape[2:])) for one in maps[1:]]
        return _by_region(torch.cat(vectors, dim=2), list(regions))

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
        return self.embed(self.backbone.unjoined(images), part_maps, classify=classify)

    def embed(
        self, stages: dict[int, Tensor], part_maps: Tensor | None = None, *, classify: bool = True
    ) -> ModelOutput:
        """Everything after the backbone.

        Args:
            stages: its features by stride (``Backbone.unjoined``). Those of its map are used, and those of its own
                embedding if it is kept.
            part_maps, classify: as in :meth:`forward`.
        """
        maps = [stages[stride] for stride in self.backbone.joined_strides]  # the maps that are joined to G [B, C, h, w]
        attention = self.attend(maps, part_maps)
        pooled = self.pool_own(stages, attention.maps) if self.config.own_embedding else self.pool(maps, attention.maps)
        return self.finish(pooled, attention, classify=classify)

    def pool_own(self, stages: dict[int, Tensor], attention: Tensor) -> RegionVectors:
        """Embed each region with the backbone's own layers: its last map is weighted by the region's attention.

        The weights of a region are divided by their mean, so that the weights of the whole image are 1. So the layers
        that learned to embed a whole map also embed a part of it. Training of the regions then starts from embeddings
        that work, not from random numbers.

        Args:
            stages: the backbone's features by stride. attention: [B, K+1, H, W], channel 0 = background.

        Returns:
            f_g, f_f [B, D] and f_1..f_K [B, K, D], as far as the network has them.
        """
        features = stages[self.backbone.vector_stride]
        masks = {"global_": torch.ones_like(attention[:, :1])}
        if "foreground" in self.REGIONS:
            masks["foreground"] = foreground_map(attention)
        if "parts" in self.REGIONS:
            masks["parts"] = attention[:, 1:]
        weights = F.adaptive_avg_pool2d(torch.cat(list(masks.values()), dim=1), (features.shape[2], features.shape[3]))
        weights = weights / weights.mean(dim=(2, 3), keepdim=True).clamp(min=_SMALLEST)
        batch, count = weights.shape[:2]
        maps = (features.unsqueeze(1) * weights.unsqueeze(2)).flatten(0, 1)
        maps = maps.contiguous(memory_format=torch.channels_last)
        return _by_region(self.backbone.vector({self.backbone.vector_stride: maps}).view(batch, count, -1), list(masks))

    def finish(self, pooled: RegionVectors, attention: PartAttention, *, classify: bool = False) -> ModelOutput:
        """Everything after the pooling: heads, BN necks, and the embeddings to compare. Arguments as in
        :meth:`forward`."""
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
        """Call ``function`` with each region's BN neck and vectors."""
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


def _by_region(vectors: Tensor, names: Sequence[str]) -> RegionVectors:
    """Split vectors [B, M, C] into regions: the holistic ones, and all parts after them."""
    holistic = {name: vectors[:, index] for index, name in enumerate(names) if name != "parts"}
    return RegionVectors(**holistic, parts=vectors[:, len(holistic) :] if "parts" in names else None)
