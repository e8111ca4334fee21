"""From an image to what the network reads: size and normalisation. The settings travel in the checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from partreid.base_config import ConfigModel
from partreid.errors import ShapeError
from partreid.lazy import torch
from partreid.runtime import empty

if TYPE_CHECKING:
    from torch import Tensor

Mean = Annotated[float, Field(ge=-100, le=100)]
Channels = tuple[Mean, Mean, Mean]
Deviation = Annotated[float, Field(gt=0, le=1e4)]
Deviations = tuple[Deviation, Deviation, Deviation]


class PreprocessConfig(ConfigModel):
    """Size and normalisation of the network's input."""

    height: Annotated[int, Field(ge=16, le=4096)] = 256
    """Input height in pixels. Paper §4.2: 256 (ResNet-50), 384 (HRNet, ResNet-50-IBN)."""
    width: Annotated[int, Field(ge=16, le=4096)] = 128
    """Input width in pixels. Paper §4.2: 128."""
    mean: Channels = (0.485, 0.456, 0.406)
    """Mean of the RGB channels in [0, 1] (ImageNet)."""
    std: Deviations = (0.229, 0.224, 0.225)
    """Standard deviation of the RGB channels in [0, 1] (ImageNet)."""
    order: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels that the network reads. Mean and deviation are always those of red, green, blue."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


def normalize(images: Tensor, config: PreprocessConfig) -> Tensor:
    """Images as numbers the network reads.

    Args:
        images: uint8 [B, 3, H, W], RGB.

    Returns:
        float32 [B, 3, H, W], each channel minus its mean, divided by its standard deviation, in the network's order of
        channels; channels-last in memory, which is quickest from images that are so too.

    Raises:
        ShapeError: not such images; ones that are scaled to 0..1 already would be normalised wrongly.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ShapeError(f"Expected uint8 images [B, 3, H, W], got {images.dtype} of shape {tuple(images.shape)}.")
    batch, _, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(batch, height, width * 3)
    # Mean and deviation repeated for a row of pixels: broadcasting over three channels is ten times slower.
    mean, std = (
        (torch.tensor(values) * 255).repeat(width).to(images.device, non_blocking=True)
        for values in (config.mean, config.std)
    )
    pixels = empty(rows.shape, torch.float32, images.device).copy_(rows).sub_(mean).div_(std)
    pixels = pixels.view(batch, height, width, 3).permute(0, 3, 1, 2)
    return pixels if config.order == "rgb" else pixels.flip(1).contiguous(memory_format=torch.channels_last)
