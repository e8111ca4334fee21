"""BPBReID (paper Figure 2), and its baselines: BoT (Luo et al. 2019) and PCB (Sun et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional.pooling import foreground_map, mean_pool, stripe_maps, weighted_average_pool
from partreid.functional.visibility import argmax_visibility, continuous_visibility, threshold_visibility
from partreid.models.heads import PixelPartClassifier
from partreid.models.network import PartAttention, ReIDNetwork
from partreid.types import RegionVectors


class BPBReID(ReIDNetwork):
    """Body part-based re-identification network: ``attention`` is "learned" (the paper), "fixed" (Table 2) or "fields".

    Arguments as of :class:`~partreid.models.network.ReIDNetwork`.

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


class BoT(ReIDNetwork):
    """One global embedding, no parts: what is matched is f_g (behind its BN neck in the preset "bot").

    Example:
        >>> from partreid.models.model_config import ModelConfig
        >>> model = BoT(ModelConfig(backbone="resnet18", attention="none"), num_identities=10).eval()
        >>> model(torch.randn(2, 3, 128, 64)).embeddings.slots
        ('global',)
    """

    REGIONS: ClassVar[tuple[str, ...]] = ("global_",)
    MATCHED: ClassVar[str | None] = "global_"

    def attend(self, features: Tensor, part_maps: Tensor | None) -> PartAttention:
        """No parts: [B, 1, H, W], all background."""
        maps = torch.zeros_like(features[:, :1])
        return PartAttention(maps, maps.new_zeros(maps.shape[0], 0))

    def pool(self, features: Tensor, attention: Tensor) -> RegionVectors:
        """Global average pooling."""
        return RegionVectors(global_=mean_pool(features, torch.ones_like(features[:, :1]))[:, 0])


class PCB(ReIDNetwork):
    """Horizontal stripes of equal height as parts, all of them always visible; no foreground (paper, Table 4).

    With heads and losses of BPBReID, as the paper compares it, rather than those of the PCB paper.

    Example:
        >>> from partreid.models.model_config import ModelConfig
        >>> model = PCB(ModelConfig(backbone="resnet18", attention="stripes"), num_identities=10).eval()
        >>> model(torch.randn(2, 3, 128, 64)).embeddings.slots[0]
        'stripe_1'
    """

    REGIONS: ClassVar[tuple[str, ...]] = ("global_", "concat", "parts")
    MATCHED: ClassVar[str | None] = None

    def attend(self, features: Tensor, part_maps: Tensor | None) -> PartAttention:
        """The same stripes in every image."""
        batch, _, height, width = features.shape
        stripes = stripe_maps(self.config.stripes, (height, width)).to(features).expand(batch, -1, -1, -1)
        maps = torch.cat([torch.zeros_like(stripes[:, :1]), stripes], dim=1)
        return PartAttention(maps, stripes.new_ones(stripes.shape[:2]))

    def pool(self, features: Tensor, attention: Tensor) -> RegionVectors:
        """Global average pooling, and the average of each stripe."""
        whole = torch.ones_like(attention[:, :1])
        pooled = weighted_average_pool(features, torch.cat([whole, attention[:, 1:]], dim=1))
        return RegionVectors(global_=pooled[:, 0], parts=pooled[:, 1:])
