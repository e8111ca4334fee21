"""Augmentation of whole batches as tensors, on any device; the labels follow the picture (paper §4.2)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from partreid.config import ConfigModel
from partreid.functional.losses import IGNORED_LABEL
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.preprocessing import PreprocessConfig, normalize

Share = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(ConfigModel):
    """The paper's augmentation: padding with random crop, then random erasing. No flip."""

    padding: Annotated[int, Field(ge=0)] = 10
    """Pixels of black padding on every side, of which a crop of the input size is taken (paper §4.2: 10)."""
    erase_probability: Share = 0.5
    """How often a box is erased (paper §4.2: 0.5). Erased pixels' labels become background."""
    erase_min: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Shortest side of the erased box, as a share of the picture's side."""
    erase_max: Annotated[float, Field(gt=0, le=1)] = 0.65
    """Longest side of the erased box, as a share of the picture's side."""
    label_threshold: Share = LABEL_THRESHOLD
    """λ_r of Eq. 10: a pixel whose largest part map is below it is background."""

    @model_validator(mode="after")
    def _box_is_a_range(self) -> AugmentConfig:
        if self.erase_min > self.erase_max:
            raise ValueError(f"erase_min = {self.erase_min} must not exceed erase_max = {self.erase_max}")
        return self


def augment(
    images: Tensor,
    part_maps: Tensor | None,
    *,
    map_size: tuple[int, int],
    config: AugmentConfig,
    preprocess: PreprocessConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Crop, erase and normalise pictures, and bring their labels to the feature map.

    Args:
        images: uint8 [B, 3, H, W].
        part_maps: [B, K, h, w], tensor E at corner-aligned nodes, or None.
        map_size: (H', W') of the feature map.
        config: what to do. preprocess: normalisation.
        generator: of the random numbers, on the CPU (the same numbers on every device).

    Returns:
        Normalised float32 [B, 3, H, W], and labels int64 [B, H', W'] in 0..K, or None.
    """
    batch, _, height, width = images.shape
    pad = config.padding
    offsets = torch.randint(-pad, pad + 1, (batch, 2), generator=generator).to(images.device)
    boxes = _erased_boxes(batch, config, generator).to(images.device)
    pixels = normalize(_crop(images, offsets, pad), preprocess)
    erased = _inside(boxes, height, width)
    # 0 after normalisation is the ImageNet mean (published training's fill).
    pixels = pixels.masked_fill(erased.unsqueeze(1), 0.0)
    if part_maps is None:
        return pixels, None
    labels = labels_at(part_maps, offsets, size=(height, width), map_size=map_size, threshold=config.label_threshold)
    return pixels, labels.masked_fill(_inside(boxes, *map_size), 0)


def labels_at(
    part_maps: Tensor, offsets: Tensor, *, size: tuple[int, int], map_size: tuple[int, int], threshold: float
) -> Tensor:
    """Eq. 10 at the centres of the feature map's cells, after a crop.

    Node (i, j) of ``part_maps`` lies at pixel (i·H/(h-1), j·W/(w-1)) of the picture; beyond it is background.

    Args:
        part_maps: [B, K, h, w]. offsets: [B, 2] crop offset (y, x) in pixels. size: (H, W). map_size: (H', W').
        threshold: λ_r.

    Returns:
        int64 [B, H', W']; a tie goes to the lowest part.
    """
    axes = []
    for axis in (0, 1):
        centres = (torch.arange(map_size[axis], device=part_maps.device) + 0.5) / map_size[axis]
        axes.append(centres + offsets[:, axis : axis + 1] / size[axis])  # [B, cells], 0..1 within the picture
    y = axes[0].unsqueeze(2).expand(-1, -1, map_size[1])
    x = axes[1].unsqueeze(1).expand(-1, map_size[0], -1)
    grid = torch.stack([x, y], dim=-1) * 2 - 1
    # "border" and the mask: the default would let a part fade out over the padding instead of ending at the edge.
    sampled = F.grid_sample(
        part_maps, grid.to(part_maps.dtype), mode="bilinear", padding_mode="border", align_corners=True
    )
    beyond = (y < 0) | (y > 1) | (x < 0) | (x > 1)
    return torch.where(beyond | (sampled.amax(dim=1) < threshold), 0, sampled.argmax(dim=1) + 1)


def mark_unlabelled(labels: Tensor, labelled: Tensor) -> Tensor:
    """Labels [B, H, W] in which every pixel of a picture without a label file is ignored."""
    return labels.masked_fill(~labelled.view(-1, 1, 1), IGNORED_LABEL)


def _crop(images: Tensor, offsets: Tensor, pad: int) -> Tensor:
    if pad == 0:
        return images
    _, _, height, width = images.shape
    windows = F.pad(images, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)
    rows = torch.arange(len(images), device=images.device)
    return windows[rows, :, offsets[:, 0] + pad, offsets[:, 1] + pad]


def _erased_boxes(batch: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """[B, 4] (top, left, bottom, right) in shares of the picture; an empty box where nothing is erased."""
    chance, sides, place = (torch.rand(batch, n, generator=generator) for n in (1, 2, 2))
    sides = config.erase_min + sides * (config.erase_max - config.erase_min)
    sides = sides * (chance < config.erase_probability)
    start = place * (1 - sides)
    return torch.cat([start, start + sides], dim=1)


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """[B, height, width] bool: whether a cell's centre lies in the picture's box."""
    y = ((torch.arange(height, device=boxes.device) + 0.5) / height).unsqueeze(0)
    x = ((torch.arange(width, device=boxes.device) + 0.5) / width).unsqueeze(0)
    top, left, bottom, right = (boxes[:, i : i + 1] for i in range(4))
    return ((y >= top) & (y < bottom)).unsqueeze(2) & ((x >= left) & (x < right)).unsqueeze(1)
