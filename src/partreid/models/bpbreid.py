"""BPBReID (paper Figure 2): part attention, learned or fixed, and what is pooled under it."""

from __future__ import annotations

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional.pooling import foreground_map, mean_pool, weighted_average_pool
from partreid.functional.visibility import argmax_visibility, continuous_visibility, threshold_visibility
from partreid.models.heads import PixelPartClassifier
from partreid.models.network import PartAttention, ReIDNetwork
from partreid.types import RegionVectors


class BPBReID(ReIDNetwork):
    """Body part-based re-identification network.

    Args:
        config: architecture and numerics; ``attention`` is "learned" (the paper), "fixed" (Table 2) or "fields".
        num_identities: training identities (rows of the identity classifiers).
        backbone: a feature extractor that is already built, else a new one **without pretrained weights**.

    Example:
        >>> from partreid.models.model_config import ModelConfig
        >>> model = BPBReID(ModelConfig(backbone="resnet18", parts="five"), num_identities=10).eval()
        >>> model(torch.randn(2, 3, 128, 64)).embeddings.slots
        ('foreground', 'head', 'arms', 'torso', 'legs', 'feet')
    """

    def build_attention(self) -> None:
        """The pixel-wise part classifier, if attention is learned."""
        if self.config.attention == "learned":
            self.part_classifier = PixelPartClassifier(
                self.backbone.channels, len(self.config.part_names), batchnorm=self.config.part_classifier_batchnorm
            )

    def attend(self, features: Tensor, part_maps: Tensor | None) -> PartAttention:
        """Eq. 1; or the part maps E, behind a softmax or as they are."""
        if self.config.attention == "learned":
            return self.attend_by(self.part_classifier(features))
        expected = (len(features), len(self.config.part_names), *features.shape[2:])
        if part_maps is None or part_maps.shape != expected:
            raise ShapeError(
                f"Fixed attention pools under the part maps of each image: expected part_maps {expected}, got "
                f"{'none' if part_maps is None else tuple(part_maps.shape)}."
            )
        background = torch.zeros_like(part_maps[:, :1])
        # E lies in [0, 1]: for K = 8 no weight of the softmax exceeds e / (e + 7) = 0.28, and every part has 1 / 8 of
        # the background, which is not far from an average over the whole image.
        weights = part_maps.softmax(dim=1) if self.config.attention == "fixed" else part_maps
        # Seen is what the pose fields themselves show: their softmax over K parts never comes near a threshold.
        visibility = self._visibility(torch.cat([background, part_maps], dim=1))
        return PartAttention(torch.cat([background, weights], dim=1), visibility)

    def attend_by(self, logits: Tensor) -> PartAttention:
        """Eq. 1 behind its scores [B, K+1, H, W]: their softmax, and which parts it shows."""
        maps = logits.softmax(dim=1)
        return PartAttention(maps, self._visibility(maps), logits)

    def pool(self, features: Tensor, attention: Tensor) -> RegionVectors:
        """Eq. 3, as one matrix product where the numerics allow."""
        foreground = foreground_map(attention)
        whole = torch.ones_like(foreground)  # GAP is a weighted average under equal weights
        if self.config.foreground_pooling == "weighted_average":
            pooled = weighted_average_pool(features, torch.cat([whole, foreground, attention[:, 1:]], dim=1))
            return RegionVectors(global_=pooled[:, 0], foreground=pooled[:, 1], parts=pooled[:, 2:])
        pooled = weighted_average_pool(features, torch.cat([whole, attention[:, 1:]], dim=1))
        return RegionVectors(
            global_=pooled[:, 0], foreground=mean_pool(features, foreground)[:, 0], parts=pooled[:, 1:]
        )

    def _visibility(self, maps: Tensor) -> Tensor:
        if self.config.visibility == "argmax":
            return argmax_visibility(maps)
        if self.config.visibility == "continuous":
            return continuous_visibility(maps)
        return threshold_visibility(maps, threshold=self.config.visibility_threshold)
