"""BPBReID (paper Figure 2): the forward pass reads like the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from partreid.errors import ShapeError
from partreid.functional.pooling import foreground_map, mean_pool, weighted_average_pool
from partreid.functional.visibility import argmax_visibility, threshold_visibility
from partreid.models.attention import PixelPartClassifier
from partreid.models.backbones import Backbone, build_backbone
from partreid.models.config import ModelConfig
from partreid.models.heads import BNNeck, EmbeddingHead
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors


class BPBReID(nn.Module):
    """Body part-based re-identification network.

    Args:
        config: architecture and numerics.
        num_identities: training identities (rows of the identity classifiers).
        backbone: a feature extractor that is already built, else a new one **without pretrained weights**.

    Example:
        >>> model = BPBReID(ModelConfig(backbone="resnet18", parts="five"), num_identities=10).eval()
        >>> model(torch.randn(2, 3, 128, 64)).embeddings.slots
        ('foreground', 'head', 'arms', 'torso', 'legs', 'feet')
    """

    def __init__(self, config: ModelConfig, num_identities: int, *, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.num_identities = num_identities
        self.schema = config.part_schema
        if backbone is None:
            backbone = build_backbone(config.backbone, output_stride=config.output_stride, map_stride=config.map_stride)
        self.backbone = backbone
        num_parts, channels = len(self.schema), self.backbone.channels
        self.part_classifier = PixelPartClassifier(channels, num_parts, batchnorm=config.part_classifier_batchnorm)

        dim = config.embedding_dim or channels
        heads = {name: EmbeddingHead(channels, dim) for name in ("global_", "foreground", "parts")}
        self.heads = nn.ModuleDict(heads if config.embedding_dim else {name: nn.Identity() for name in heads})
        self.global_neck = BNNeck(dim, num_identities)
        self.foreground_neck = BNNeck(dim, num_identities)
        self.concat_neck = BNNeck(dim * num_parts, num_identities)
        self.part_necks = nn.ModuleList(BNNeck(dim, num_identities) for _ in range(num_parts))

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Self:
        """The model of a checkpoint folder, a run folder, or a Hugging Face Hub repository ``"org/name"``.

        Raises:
            CheckpointError: it is missing, incomplete, foreign, or does not fit.
        """
        from partreid.models.checkpoint import load_checkpoint  # the checkpoint module builds models

        model = load_checkpoint(source).model
        assert isinstance(model, cls)
        return model

    def forward(self, images: Tensor, *, classify: bool = True) -> ModelOutput:
        """Embed normalised pictures.

        Args:
            images: [B, 3, H, W]; H and W multiples of the output stride.
            classify: also compute identity logits; embedding needs none.

        Raises:
            ShapeError: the pictures have another shape, or are not normalised.
        """
        stride = self.config.output_stride
        if not images.is_floating_point():
            raise ShapeError(f"Expected normalised pictures (partreid.preprocessing.normalize), got {images.dtype}.")
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % stride or images.shape[3] % stride:
            raise ShapeError(
                f"Expected pictures [B, 3, H, W] with H and W multiples of {stride}, got {tuple(images.shape)}."
            )
        features = self.backbone(images)  # G [B, C, h, w]
        part_logits = self.part_classifier(features)
        attention = part_logits.softmax(dim=1)  # M, Eq. 1
        regions = self._embed(*self._pool(features, attention))
        bn_regions = self._normalize(regions)
        visibility = self._visibility(attention)
        return ModelOutput(
            part_logits=part_logits,
            attention=attention,
            features=regions,
            bn_features=bn_regions,
            identity_logits=self._classify(bn_regions) if classify else None,
            visibility=visibility,
            embeddings=self._embeddings(regions, bn_regions, visibility),
        )

    def _pool(self, features: Tensor, attention: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 3 → f_g [B, C], f_f [B, C], f_1..f_K [B, K, C], as one matrix product where the numerics allow."""
        foreground = foreground_map(attention)
        whole = torch.ones_like(foreground)  # GAP is a weighted average under equal weights
        if self.config.foreground_pooling == "weighted_average":
            pooled = weighted_average_pool(features, torch.cat([whole, foreground, attention[:, 1:]], dim=1))
            return pooled[:, 0], pooled[:, 1], pooled[:, 2:]
        pooled = weighted_average_pool(features, torch.cat([whole, attention[:, 1:]], dim=1))
        return pooled[:, 0], mean_pool(features, foreground)[:, 0], pooled[:, 1:]

    def _embed(self, global_: Tensor, foreground: Tensor, parts: Tensor) -> RegionVectors:
        parts = self.heads["parts"](parts)
        return RegionVectors(
            global_=self.heads["global_"](global_),
            foreground=self.heads["foreground"](foreground),
            concat=parts.flatten(1),
            parts=parts,
        )

    def _normalize(self, regions: RegionVectors) -> RegionVectors:
        """Every region behind its BN neck."""
        parts = [neck(regions.parts[:, k]) for k, neck in enumerate(self.part_necks)]
        return RegionVectors(
            global_=self.global_neck(regions.global_),
            foreground=self.foreground_neck(regions.foreground),
            concat=self.concat_neck(regions.concat),
            parts=torch.stack(parts, dim=1),
        )

    def _classify(self, bn_regions: RegionVectors) -> RegionVectors:
        """Identity logits of every region."""
        classifiers = [neck.get_submodule("classifier") for neck in self.part_necks]
        parts = [classifier(bn_regions.parts[:, k]) for k, classifier in enumerate(classifiers)]
        return RegionVectors(
            global_=self.global_neck.classifier(bn_regions.global_),
            foreground=self.foreground_neck.classifier(bn_regions.foreground),
            concat=self.concat_neck.classifier(bn_regions.concat),
            parts=torch.stack(parts, dim=1),
        )

    def _visibility(self, attention: Tensor) -> Tensor:
        if self.config.visibility == "argmax":
            return argmax_visibility(attention)
        return threshold_visibility(attention, threshold=self.config.visibility_threshold)

    def _embeddings(self, regions: RegionVectors, bn_regions: RegionVectors, visibility: Tensor) -> PartEmbeddings:
        foreground = (bn_regions if self.config.foreground_embedding == "bn" else regions).foreground
        return PartEmbeddings(
            vectors=torch.cat([foreground.unsqueeze(1), regions.parts], dim=1),
            # The foreground is always visible: v_f = 1 (paper §3.2.2).
            visibility=torch.cat([torch.ones_like(visibility[:, :1]), visibility], dim=1),
            slots=self.schema.slots,
        )
