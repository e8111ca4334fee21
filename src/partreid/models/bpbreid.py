"""BPBReID (paper Figure 2), and its baselines: BoT (Luo et al. 2019) and PCB (Sun et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.functional.pooling import average_weights, foreground_map, mean_weights, stripe_maps
from partreid.functional.visibility import argmax_visibility, continuous_visibility, threshold_visibility
from partreid.models.heads import PixelPartClassifier
from partreid.models.network import PartAttention, ReIDNetwork


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

    def attend(self, maps: Sequence[Tensor], part_maps: Tensor | None) -> PartAttention:
        """Eq. 1; or the part maps E, through a softmax or unchanged."""
        if self.config.attention == "learned":
            logits = self.part_classifier(maps)
            attention = logits.softmax(dim=1)
            return PartAttention(attention, self._visibility(attention), logits)
        expected = (len(maps[0]), len(self.config.part_names), *maps[0].shape[2:])
        if part_maps is None or part_maps.shape != expected:
            raise ShapeError(
                f"Fixed attention pools under the part maps of each image: expected part_maps {expected}, got "
                f"{'none' if part_maps is None else tuple(part_maps.shape)}."
            )
        background = torch.zeros_like(part_maps[:, :1])
        # E lies in [0, 1]. So for K = 8 no weight of the softmax exceeds e / (e + 7) = 0.28, and every part gets 1 / 8
        # of the background. This is not far from an average over the whole image.
        weights = part_maps.softmax(dim=1) if self.config.attention == "fixed" else part_maps
        # The pose fields themselves decide what is visible, because their softmax never comes near a threshold.
        visibility = self._visibility(torch.cat([background, part_maps], dim=1))
        return PartAttention(torch.cat([background, weights], dim=1), visibility)

    def region_weights(self, attention: Tensor) -> dict[str, Tensor]:
        """Eq. 3; or the published weights' mean for the foreground."""
        foreground = foreground_map(attention)
        weigh = average_weights if self.config.foreground_pooling == "weighted_average" else mean_weights
        return {
            "global_": mean_weights(torch.ones_like(foreground)),
            "foreground": weigh(foreground),
            "parts": average_weights(attention[:, 1:]),
        }

    def _visibility(self, maps: Tensor) -> Tensor:
        if self.config.visibility == "argmax":
            return argmax_visibility(maps)
        if self.config.visibility == "continuous":
            return continuous_visibility(maps)
        return threshold_visibility(maps, threshold=self.config.visibility_threshold)


class BoT(ReIDNetwork):
    """One global embedding, no parts. Images are compared by f_g (after its BN neck in the preset "bot").

    Example:
        >>> from partreid.models.model_config import ModelConfig
        >>> model = BoT(ModelConfig(backbone="resnet18", attention="none"), num_identities=10).eval()
        >>> model(torch.randn(2, 3, 128, 64)).embeddings.slots
        ('global',)
    """

    REGIONS: ClassVar[tuple[str, ...]] = ("global_",)
    MATCHED: ClassVar[str | None] = "global_"

    def attend(self, maps: Sequence[Tensor], part_maps: Tensor | None) -> PartAttention:
        """No parts: [B, 1, H, W], all background."""
        nothing = torch.zeros_like(maps[0][:, :1])
        return PartAttention(nothing, nothing.new_zeros(nothing.shape[0], 0))

    def region_weights(self, attention: Tensor) -> dict[str, Tensor]:
        """Global average pooling."""
        return {"global_": mean_weights(torch.ones_like(attention))}


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

    def attend(self, maps: Sequence[Tensor], part_maps: Tensor | None) -> PartAttention:
        """The same stripes in every image."""
        batch, _, height, width = maps[0].shape
        stripes = stripe_maps(self.config.stripes, (height, width)).to(maps[0]).expand(batch, -1, -1, -1)
        attention = torch.cat([torch.zeros_like(stripes[:, :1]), stripes], dim=1)
        return PartAttention(attention, stripes.new_ones(stripes.shape[:2]))

    def region_weights(self, attention: Tensor) -> dict[str, Tensor]:
        """Global average pooling, and the average of each stripe."""
        return {
            "global_": mean_weights(torch.ones_like(attention[:, :1])),
            "parts": average_weights(attention[:, 1:]),
        }
