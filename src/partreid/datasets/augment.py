"""Augmentation of whole batches as tensors, on any device; the labels follow the image (paper §4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.datasets.batch_config import AugmentConfig, LabelSampling
from partreid.datasets.paste import inside_boxes, paste, random_boxes, within
from partreid.datasets.photometric import jitter, lower_resolution
from partreid.errors import ConfigError
from partreid.functional.losses import IGNORED_LABEL
from partreid.labels.grouping import label_map
from partreid.objects import Guided
from partreid.parts import PartSchema
from partreid.preprocessing import PreprocessConfig, normalize
from partreid.runtime import empty


class Augmented(NamedTuple):
    """A training batch in the form for the model and the losses.

    Attributes:
        images: normalised float32 [B, 3, H, W]; channels-last in memory.
        part_maps: [B, K, H', W'] tensor E at the centres of the feature map's cells, or None.
        labels: int64 [B, H', W'] in 0..K (Eq. 10), or None. If an image's part maps show nobody, all its labels are
            "ignore", because a missing detection or label file does not mean background.
    """

    images: Tensor
    part_maps: Tensor | None
    labels: Tensor | None


@dataclass(frozen=True, repr=False)
class Augmentation(Guided):
    """Flips, pastes, recolours, crops, erases and normalises batches, the labels with them.

    Attributes:
        config: the augmentation. preprocess: normalisation. map_size: (H', W') of the feature map.
        schema: the parts of the part maps; only a flip needs it.
    """

    config: AugmentConfig
    preprocess: PreprocessConfig
    map_size: tuple[int, int]
    schema: PartSchema | None = None

    def __call__(
        self, images: Tensor, part_maps: Tensor | None, pid_index: Tensor, generator: torch.Generator
    ) -> Augmented:
        """Vary a batch.

        Args:
            images: uint8 [B, 3, H, W].
            part_maps: [B, K, h, w], tensor E at corner-aligned nodes, or None.
            pid_index: [B] identities: nobody is pasted over himself.
            generator: of the random numbers, on the CPU (the same numbers on every device).

        Raises:
            LabelError: a person is to be cut out, and there are no part maps.
        """
        config = self.config
        unseen = None if part_maps is None else part_maps.amax(dim=(1, 2, 3)) < config.label_threshold
        if config.flip_probability:
            images, part_maps = _flip(images, part_maps, config.flip_probability, self.schema, generator)
        if config.paste_probability:
            images, part_maps = paste(
                images, part_maps, pid_index, config.pasting, generator, probability=config.paste_probability
            )
        if config.jitter_probability or config.grayscale_probability:
            images = jitter(
                images, config.photometric, generator,
                probability=config.jitter_probability, grayscale=config.grayscale_probability,
            )  # fmt: skip
        if config.resolution_probability:
            images = lower_resolution(images, config.photometric, generator, probability=config.resolution_probability)
        batch, _, height, width = images.shape
        pad = config.padding
        offsets = torch.randint(-pad, pad + 1, (batch, 2), generator=generator)
        boxes = random_boxes(batch, config.erase_probability, (config.erase_min, config.erase_max), generator=generator)
        offsets, boxes = (drawn.to(images.device, non_blocking=True) for drawn in (offsets, boxes))
        pixels = _erase(normalize(_crop(images, offsets, pad), self.preprocess), boxes)
        if part_maps is None or unseen is None:
            return Augmented(pixels, None, None)
        cells = part_maps_at(
            part_maps, offsets, size=(height, width), map_size=self.map_size, sampling=config.label_sampling
        )
        cells = cells.masked_fill(inside_boxes(boxes, *self.map_size).unsqueeze(1), 0.0)
        labels = label_map(cells, config.label_threshold)
        return Augmented(pixels, cells, labels.masked_fill(unseen.view(-1, 1, 1), IGNORED_LABEL))


def part_maps_at(
    part_maps: Tensor, offsets: Tensor, *, size: tuple[int, int], map_size: tuple[int, int],
    sampling: LabelSampling = "centre",
) -> Tensor:  # fmt: skip
    """E at the cells of the feature map, after a crop.

    Node (i, j) of ``part_maps`` lies at pixel (i·H/(h-1), j·W/(w-1)) of the image; beyond it E is 0.

    Args:
        part_maps: [B, K, h, w]. offsets: [B, 2] crop offset (y, x) in pixels. size: (H, W). map_size: (H', W').
        sampling: where in a cell, as :attr:`AugmentConfig.label_sampling`.

    Returns:
        [B, K, H', W'].
    """
    if sampling == "quarters":
        finer = (2 * map_size[0], 2 * map_size[1])
        return F.max_pool2d(part_maps_at(part_maps, offsets, size=size, map_size=finer), 2)
    axes = []
    for axis in (0, 1):
        centres = (torch.arange(map_size[axis], device=part_maps.device) + 0.5) / map_size[axis]
        axes.append(centres + offsets[:, axis : axis + 1] / size[axis])  # [B, cells], 0..1 within the image
    y = axes[0].unsqueeze(2).expand(-1, -1, map_size[1])
    x = axes[1].unsqueeze(1).expand(-1, map_size[0], -1)
    grid = torch.stack([x, y], dim=-1) * 2 - 1
    # "border" and the mask: the default would let a part fade out over the padding instead of ending at the edge.
    sampled = F.grid_sample(
        part_maps, grid.to(part_maps.dtype), mode="bilinear", padding_mode="border", align_corners=True
    )
    beyond = (y < 0) | (y > 1) | (x < 0) | (x > 1)
    return sampled.masked_fill(beyond.unsqueeze(1), 0.0)


def _crop(images: Tensor, offsets: Tensor, pad: int) -> Tensor:
    if pad == 0:
        return images
    batch, channels, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).flatten(2)  # [B, H, W·C]
    padded = F.pad(rows, (pad * channels, pad * channels, pad, pad))
    # A row of a crop lies in one piece of memory, wherever it begins. Copying rows is ten times quicker than pixels.
    pieces = padded.numel() // channels - width + 1
    windows = padded.as_strided((pieces, width * channels), (channels, 1))
    line = torch.arange(batch * height, device=images.device).view(batch, height)
    line = line + torch.arange(batch, device=images.device).view(batch, 1) * 2 * pad + offsets[:, :1] + pad
    start = line * (width + 2 * pad) + offsets[:, 1:] + pad
    crop = empty((batch * height, width * channels), images.dtype, images.device)
    torch.index_select(windows, 0, start.flatten(), out=crop)
    return crop.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _erase(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Normalised pixels, filled in place with 0 in the boxes: the ImageNet mean (published training's fill)."""
    _, _, height, width = pixels.shape
    if pixels.device.type != "cpu":
        return pixels.masked_fill_(inside_boxes(boxes, height, width).unsqueeze(1), 0.0)
    # A mask of the whole batch takes ten times longer here than the few boxes themselves.
    spans = []
    for axis, cells in enumerate((height, width)):
        inside = within(boxes[:, axis], boxes[:, axis + 2], cells)
        start = inside.byte().argmax(dim=1)
        spans += [start, start + inside.sum(dim=1)]
    for image, (top, bottom, left, right) in zip(pixels, torch.stack(spans, dim=1).tolist(), strict=True):
        if top < bottom and left < right:
            image[:, top:bottom, left:right] = 0.0
    return pixels


def _flip(
    images: Tensor, part_maps: Tensor | None, probability: float, schema: PartSchema | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Mirror some of the images; their left parts become right ones."""
    chosen = (torch.rand(len(images), generator=generator) < probability).to(images.device).view(-1, 1, 1, 1)
    images = torch.where(chosen, images.flip(3), images)
    if part_maps is None:
        return images, None
    if schema is None:
        raise ConfigError("A flip exchanges left and right parts: it needs the part schema of the labels.")
    return images, torch.where(chosen, part_maps[:, list(schema.flip)].flip(3), part_maps)
