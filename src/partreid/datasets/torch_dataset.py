"""Pictures and their part maps as tensors, and as batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from partreid.datasets.images import read_image, resize
from partreid.labels.fields import read_part_maps
from partreid.parts import PartSchema
from partreid.types import ReIDImage


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures as they were read, before augmentation and normalisation.

    Attributes:
        images: uint8 [B, 3, H, W], RGB.
        part_maps: float32 [B, K, h, w], the tensor E at label nodes, or None where labels are not read.
        labelled: [B] bool, False where a picture has no label file.
        index: [B] position in the list of pictures.
    """

    images: Tensor
    part_maps: Tensor | None
    labelled: Tensor
    index: Tensor

    def to(self, device: torch.device) -> PictureBatch:
        """The batch on another device."""
        part_maps = None if self.part_maps is None else self.part_maps.to(device, non_blocking=True)
        return PictureBatch(
            self.images.to(device, non_blocking=True), part_maps, self.labelled.to(device), self.index.to(device)
        )


Item = tuple[Tensor, Tensor | None, bool, int]


class PictureDataset(Dataset[Item]):
    """Reads one picture and, if asked, its label, both at a common size.

    Args:
        images: what to read.
        size: (H, W) of the pictures.
        schema: read labels grouped so; None reads none.
        label_nodes: (h, w) to which part maps are resampled (bilinear, corners aligned); label files of a set
            may differ in size as its pictures do.
    """

    def __init__(
        self,
        images: Sequence[ReIDImage],
        *,
        size: tuple[int, int],
        schema: PartSchema | None = None,
        label_nodes: tuple[int, int] = (17, 9),
    ) -> None:
        self.images = images
        self.size = size
        self.schema = schema
        self.label_nodes = label_nodes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        entry = self.images[index]
        pixels = np.ascontiguousarray(resize(read_image(entry.path), self.size).transpose(2, 0, 1))
        if self.schema is None:
            return torch.from_numpy(pixels), None, False, index
        return torch.from_numpy(pixels), self._part_maps(entry, self.schema), entry.label is not None, index

    def _part_maps(self, entry: ReIDImage, schema: PartSchema) -> Tensor:
        if entry.label is None:
            return torch.zeros(len(schema), *self.label_nodes)
        part_maps = torch.from_numpy(read_part_maps(entry.label, schema))
        if part_maps.shape[1:] == self.label_nodes:
            return part_maps
        return F.interpolate(part_maps[None], size=self.label_nodes, mode="bilinear", align_corners=True)[0]


def collate(items: Sequence[Item]) -> PictureBatch:
    """Items of a :class:`PictureDataset` as one batch."""
    part_maps = [maps for _, maps, _, _ in items if maps is not None]
    return PictureBatch(
        images=torch.stack([pixels for pixels, _, _, _ in items]),
        part_maps=torch.stack(part_maps) if part_maps else None,
        labelled=torch.tensor([labelled for _, _, labelled, _ in items]),
        index=torch.tensor([index for _, _, _, index in items]),
    )
