"""The paper's baselines: BoT, a global embedding (Luo et al. 2019), and PCB, horizontal stripes (Sun et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from partreid.functional.pooling import mean_pool, stripe_maps, weighted_average_pool
from partreid.models.network import PartAttention, ReIDNetwork
from partreid.types import RegionVectors


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
