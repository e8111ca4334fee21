"""Augmentation with the differences between cameras: light, colour and resolution of an image change, but not its
content.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.datasets.batch_config import PhotometricConfig

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""RGB to grey, as JPEG and Pillow have it, and two axes of colour (NTSC): turning these changes hues, and no grey."""


def jitter(
    images: Tensor, config: PhotometricConfig, generator: torch.Generator, *, probability: float, grayscale: float
) -> Tensor:
    """Change light and colour of some of the images.

    Args:
        images: uint8 [B, 3, H, W], RGB. config: how far. generator: of the random numbers, on the CPU.
        probability: fraction of the images whose brightness, contrast, saturation and hue change.
        grayscale: fraction of the images that lose their colour.

    Returns:
        uint8 [B, 3, H, W], channels-last in memory.
    """
    chance = torch.rand(len(images), 2, generator=generator)
    drawn = 2 * torch.rand(len(images), 4, generator=generator) - 1  # brightness, contrast, saturation, hue
    drawn *= chance[:, :1] < probability
    most = torch.tensor([config.brightness, config.contrast, config.saturation])
    brightness, contrast, saturation = (most ** drawn[:, :3]).T
    saturation = saturation.masked_fill(chance[:, 1] < grayscale, 0.0)
    matrix = _colour_matrix(saturation, 2 * math.pi * config.hue * drawn[:, 3]) * (brightness * contrast).view(-1, 1, 1)
    matrix, contrast, brightness = (values.to(images.device) for values in (matrix, contrast, brightness))
    batch, _, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(batch, height * width, 3).float()
    # All is linear in the colours but the limits 0 and 255, so it is one product: neither order nor steps matter.
    grey = rows.mean(dim=1) @ _YIQ[0].to(images.device)
    shift = (brightness * grey * (1 - contrast)).view(-1, 1, 1).expand(-1, 1, 3)
    varied = torch.baddbmm(shift, rows, matrix.transpose(1, 2))
    return varied.round_().clamp_(0, 255).to(torch.uint8).view(batch, height, width, 3).permute(0, 3, 1, 2)


def _colour_matrix(saturation: Tensor, angle: Tensor) -> Tensor:
    """[B, 3, 3] RGB to RGB: colours drawn from or to their grey by the factor [B], hues turned by the angle [B]."""
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    matrix: Tensor = torch.linalg.inv(_YIQ) @ turn @ _YIQ
    return matrix


def lower_resolution(
    images: Tensor, config: PhotometricConfig, generator: torch.Generator, *, probability: float
) -> Tensor:
    """Remove details from some of the images, as if seen from farther away, by reducing and enlarging them.

    Args:
        images: uint8 [B, 3, H, W]. config: how far. generator: of the random numbers, on the CPU.
        probability: fraction of the images.

    Returns:
        uint8 [B, 3, H, W], channels-last in memory.
    """
    chance, where = torch.rand(2, len(images), generator=generator)
    scale = config.resolution_min + where * (1 - config.resolution_min)
    size = images.shape[2:]
    lowered = images.clone(memory_format=torch.channels_last)
    for row in (chance < probability).nonzero()[:, 0].tolist():
        small = [max(1, round(side * float(scale[row]))) for side in size]
        reduced = F.interpolate(images[row : row + 1].float(), small, mode="bilinear", antialias=True)
        lowered[row] = F.interpolate(reduced, size, mode="bilinear")[0].round().clamp(0, 255).to(torch.uint8)
    return lowered
