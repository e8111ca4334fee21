"""What a check finds out about single files: images and labels, each read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.images import decode
from partreid.errors import LabelError, PartReIDError
from partreid.labels.fields import check_upright, read_label_map, read_pose_fields
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.types import ReIDImage

_LARGEST_K = 255


@dataclass(frozen=True)
class ImageFile:
    """An image file: the digest of its bytes and its (H, W), or why it cannot be read."""

    digest: bytes = b""
    error: str = ""
    size: tuple[int, int] = (0, 0)


def look_at_image(path: Path) -> ImageFile:
    """Read an image to its end."""
    try:
        data = path.read_bytes()
        height, width, _ = decode(data, source=path.name).shape
    except OSError as error:
        return ImageFile(error=f"{path.name}: {error.strerror or error}")
    except PartReIDError as error:
        return ImageFile(error=str(error))
    return ImageFile(hashlib.blake2b(data, digest_size=16).digest(), size=(height, width))


@dataclass(frozen=True)
class LabelFile:
    """A label file: its (h, w) and largest value, or why it cannot be read."""

    size: tuple[int, int] = (0, 0)
    strongest: float = 0
    error: str = ""

    @property
    def empty(self) -> bool:
        """Whether it can be read and shows no person."""
        return not self.error and self.strongest < LABEL_THRESHOLD


def look_at_label(path: Path) -> LabelFile:
    """Read pose fields or a label map."""
    values: NDArray[np.generic]
    try:
        values = read_pose_fields(path)
    except LabelError as no_fields:
        try:
            values = read_label_map(path, _LARGEST_K)
        except LabelError as no_map:
            return LabelFile(error=str(no_map if path.suffix == ".png" else no_fields))
    height, width = values.shape[-2:]
    return LabelFile((height, width), float(values.max()))


def fitting(image: ReIDImage, path: Path, label: LabelFile, content: ImageFile) -> LabelFile:
    """The label, as an error where it does not fit its image."""
    if label.error or content.error:
        return label
    try:
        check_upright(path, label.size, image.path, content.size)
    except LabelError as error:
        return LabelFile(error=str(error))
    return label
