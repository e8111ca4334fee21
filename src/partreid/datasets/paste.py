"""Hiding people in training: another person of the batch, or a piece of another image, pasted over an image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.datasets.batch_config import PasteConfig
from partreid.errors import LabelError

CUT_THRESHOLD = 0.3
"""Of E: a person is cut out somewhat wider than Eq. 10 labels him, skin and clothes included."""


def paste(
    images: Tensor,
    part_maps: Tensor | None,
    pid_index: Tensor,
    config: PasteConfig,
    generator: torch.Generator,
    *,
    probability: float = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """Paste over some of the images. Hidden parts are also hidden in the part maps.

    Args:
        images: uint8 [B, 3, H, W]. part_maps: [B, K, h, w] tensor E at corner-aligned nodes, or None.
        pid_index: [B] identities; no person is pasted over an image of the same person.
        config: what and where. generator: of the random numbers, on the CPU.
        probability: fraction of the images.

    Returns:
        Images and part maps.

    Raises:
        LabelError: a person is to be cut out, and there are no part maps.
    """
    if part_maps is None and config.people:
        raise LabelError(
            "Pasting people needs human parsing labels to cut them out. Make them with `partreid labels make`, or "
            "paste boxes only: --set augment.pasting.people=0."
        )
    batch, device = len(images), images.device
    chance, kind, where = (torch.rand(batch, n, generator=generator) for n in (1, 1, 4))
    source = torch.randperm(batch, generator=generator)
    boxes = random_boxes(batch, 1.0, (config.box_min, config.box_max), generator=generator)
    people = kind[:, 0] < config.people
    chosen = (chance[:, 0] < probability).nonzero()[:, 0]
    if not len(chosen):
        return images, part_maps
    covered, left = images.clone(), None if part_maps is None else part_maps.clone()
    # On CPUs a few at a time: what they become on the way then stays in the processor's cache.
    for some in torch.split(chosen, 8 if device.type == "cpu" else batch):
        rows, donors, *drawn = (
            values.to(device, non_blocking=True)
            for values in (some, source[some], people[some], boxes[some], where[some])
        )
        donor = _Donor(
            images.index_select(0, donors),
            None if part_maps is None else part_maps[donors].amax(dim=1, keepdim=True),
            pid_index[donors] != pid_index[rows],
            *drawn,
        )
        maps = None if part_maps is None else part_maps[rows]
        pasted, maps = _paste(images.index_select(0, rows), maps, donor, config)
        covered.index_copy_(0, rows, pasted)
        if left is not None and maps is not None:
            left.index_copy_(0, rows, maps)
    return covered, left


class _Donor(NamedTuple):
    """What is pasted over B images: images, their bodies, whether of other persons, what of them, and where."""

    images: Tensor  # [B, 3, H, W]
    body: Tensor | None  # [B, 1, h, w], the strongest part
    is_other: Tensor  # [B] bool
    people: Tensor  # [B] bool: the person; else a box
    boxes: Tensor  # [B, 4]
    where: Tensor  # [B, 4] random numbers of `placement`


def _paste(
    images: Tensor, part_maps: Tensor | None, donor: _Donor, config: PasteConfig
) -> tuple[Tensor, Tensor | None]:
    """Every donor over its image, unless they are the same person or too little would be left of him."""
    size, people = images.shape[2:], donor.people.view(-1, 1, 1)
    # Boxes come from another place of the image: legs where legs belong would be no obstacle, but another person.
    elsewhere = donor.images.roll((size[0] // 2, size[1] // 2), dims=(2, 3))
    pasted, over = elsewhere, inside_boxes(donor.boxes, *size)
    if donor.body is not None and config.people:
        grid = placement(donor.where, config)
        moved, mask = placed(donor.images.float(), grid, size), placed(donor.body, grid, size)
        pasted = torch.where(people.unsqueeze(1), moved.round().to(torch.uint8), elsewhere)
        over = torch.where(people, mask[:, 0] > CUT_THRESHOLD, over)
    over = over & donor.is_other.view(-1, 1, 1)
    if part_maps is None:
        return torch.where(over.unsqueeze(1), pasted, images), None
    nodes = F.interpolate(over.unsqueeze(1).float(), size=part_maps.shape[2:], mode="bilinear", align_corners=True)
    hidden = nodes[:, 0] > 0.5
    body = part_maps.amax(dim=1) > CUT_THRESHOLD
    share = (hidden & body).flatten(1).sum(dim=1) / body.flatten(1).sum(dim=1).clamp(min=1)
    kept = (share <= config.max_hidden).view(-1, 1, 1)
    images = torch.where((over & kept).unsqueeze(1), pasted, images)
    return images, part_maps.masked_fill((hidden & kept).unsqueeze(1), 0.0)


def random_boxes(batch: int, probability: float, sides: tuple[float, float], *, generator: torch.Generator) -> Tensor:
    """[B, 4] (top, left, bottom, right) as fractions of the image; an empty box where chance has it."""
    chance, side, place = (torch.rand(batch, n, generator=generator) for n in (1, 2, 2))
    side = sides[0] + side * (sides[1] - sides[0])
    side = side * (chance < probability)
    start = place * (1 - side)
    return torch.cat([start, start + side], dim=1)


def inside_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """[B, height, width] bool: whether a cell's centre lies in the image's box."""
    top, left, bottom, right = boxes.unbind(dim=1)
    return within(top, bottom, height).unsqueeze(2) & within(left, right, width).unsqueeze(1)


def within(start: Tensor, stop: Tensor, cells: int) -> Tensor:
    """[B, cells] bool: whether a cell's centre lies between ``start`` and ``stop``, [B] as fractions of the side."""
    centres = (torch.arange(cells, device=start.device) + 0.5) / cells
    return (centres >= start.unsqueeze(1)) & (centres < stop.unsqueeze(1))


def placement(where: Tensor, config: PasteConfig) -> Tensor:
    """[B, 2, 3] affine maps from the place in the image to the place in the donor, both in -1..1.

    ``where``: [B, 4] random numbers in 0..1, for the distance and side, the height and the scale of ``config``.
    """
    aside, down, scale = (
        low + drawn * (high - low)
        for drawn, (low, high) in zip(where[:, [0, 2, 3]].T, (config.aside, config.down, config.scale), strict=True)
    )
    aside = aside * torch.where(where[:, 1] < 0.5, -1, 1)
    maps = torch.zeros(len(where), 2, 3, device=where.device)
    maps[:, 0, 0] = maps[:, 1, 1] = 1 / scale
    maps[:, 0, 2] = -2 * aside / scale
    maps[:, 1, 2] = -2 * down / scale
    return maps


def placed(maps: Tensor, placement: Tensor, size: tuple[int, ...]) -> Tensor:
    """``maps`` [B, C, h, w] seen at the pixels' centres of the moved image; 0 beyond their own image."""
    grid = F.affine_grid(placement, [len(maps), 1, *size], align_corners=False)
    # Images have their values at the pixels' centres, part maps at nodes that include the corners.
    corners = maps.shape[2:] != size
    moved = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=corners)
    return moved.masked_fill((grid.abs() > 1).any(dim=3).unsqueeze(1), 0.0)
