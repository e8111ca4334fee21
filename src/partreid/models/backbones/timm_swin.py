"""Swin blocks that pad before they shift, as MMSegmentation's do. It imports timm: import it where a model is built."""

from __future__ import annotations

from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.errors import ConfigError


class PaddedFirstBlock(SwinTransformerBlock):  # type: ignore[misc]  # timm has no types here
    """timm shifts a map, then pads it to a multiple of the window. MMSegmentation pads first, then shifts.

    Both compute the same if the map is a multiple of the window. Maps of people are not: 384×128 gives 96×32.
    """

    def _attn(self, x: Tensor) -> Tensor:
        """[B, H, W, C] → the same shape."""
        height, width = x.shape[1:3]
        below, right = (-height % self.window_size[0], -width % self.window_size[1])
        return super()._attn(F.pad(x, (0, 0, 0, right, 0, below)))[:, :height, :width]  # type: ignore[no-any-return]


def pad_before_shifting(network: nn.Module, name: str) -> None:
    """Make every block of a timm Swin, which was built with ``always_partition``, a :class:`PaddedFirstBlock`.

    Raises:
        ConfigError: the model has no such blocks.
    """
    blocks = [module for module in network.modules() if type(module) is SwinTransformerBlock]
    if not blocks:
        raise ConfigError(f"{name} has no Swin blocks; :solider is for timm/swin_..._patch4_window7_224.")
    for block in blocks:
        block.__class__ = PaddedFirstBlock
