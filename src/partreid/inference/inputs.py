"""Images of every kind: iterating over them, naming them, and reading their pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from partreid.datasets.images import from_pil, read_image
from partreid.datasets.readers.common import LeftOut, folder_files, subfolders
from partreid.errors import DataError
from partreid.files import posix_name
from partreid.types import ReIDImage

ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor | ReIDImage
"""A file, a PIL image, a uint8 array [H, W, 3], a uint8 tensor [3, H, W], or an entry of a data set."""

ImagesLike: TypeAlias = ImageLike | Iterable[ImageLike]
"""One image, a folder, an array [N, H, W, 3], a tensor [N, 3, H, W], or any number of images and folders."""

ChannelOrder = Literal["rgb", "bgr"]
"""Order of the channels of arrays and tensors: OpenCV's is "bgr". Files and PIL images say theirs themselves."""


def walk(images: ImagesLike) -> Iterator[ImageLike]:
    """Single images, one at a time, in a fixed order. Nothing is read ahead, and no complete list is made.

    A folder stands for the images in it, sorted by name, then for those in its subfolders, sorted by name. Hidden files
    and folders, lists, labels and notes are ignored. A warning at the end of the folder names other files that are not
    images. Only one folder's names are held at a time.

    Args:
        images: one image, a folder, an array [N, H, W, 3], a tensor [N, 3, H, W], or an iterable of images and folders.

    Raises:
        DataError: a folder has no image or cannot be read; or the images are a set, which has no order.

    Example:
        >>> [image.shape for image in walk(np.zeros((2, 8, 4, 3), np.uint8))]
        [(8, 4, 3), (8, 4, 3)]
    """
    if isinstance(images, set | frozenset):
        raise DataError("A set of images has no order, so rows cannot be assigned to images. Give sorted(images).")
    if isinstance(images, str | Path | Image.Image | ReIDImage | bytes | bytearray | io.IOBase):
        images = [images]  # of bytes and open files too loading says what was expected
    elif isinstance(images, np.ndarray):
        names = images.ndim == 1 and images.dtype.kind in "UO"  # a column of paths
        images = images.tolist() if names else images if images.ndim == 4 else [images]
    elif isinstance(images, Tensor):
        images = images if images.ndim == 4 else [images]
    elif not isinstance(images, Iterable):
        images = [images]  # loading it says what was expected
    for image in images:
        if isinstance(image, str | Path) and os.path.isdir(image):  # noqa: PTH112 - a third of Path's time
            folder, left_out, found = Path(image), LeftOut(), False
            for path in _tree(folder, (), left_out):
                found = True
                yield path
            if not found:
                raise DataError(f"Folder {folder} holds no image ({left_out.instead()}), nor do the folders in it.")
            left_out.tell()
        else:
            yield image


def image_name(image: ImageLike, position: int) -> str:
    """The name of an image: its file, with "/" on every system, or its position in the stream if it has no file.

    Example:
        >>> image_name(Path("a.jpg"), 4), image_name(np.zeros((8, 4, 3), np.uint8), 4)
        ('a.jpg', '#4')
    """
    if isinstance(image, ReIDImage):
        return posix_name(image.path)
    return posix_name(image) if isinstance(image, str | Path) else f"#{position}"


def in_rgb(images: Iterable[ImageLike], order: ChannelOrder) -> Iterator[ImageLike]:
    """The same images, arrays and tensors with their channels in the order red, green, blue.

    Args:
        images: single images, from :func:`walk`. order: the order of their channels.

    Example:
        >>> next(in_rgb([np.array([[[1, 2, 3]]], np.uint8)], "bgr")).tolist()
        [[[3, 2, 1]]]
    """
    for image in images:
        array = _from_tensor(image) if isinstance(image, Tensor) else image
        if order.lower() == "bgr" and isinstance(array, np.ndarray) and array.ndim == 3 and array.shape[2] == 3:
            # A copy, because whoever gives frames may fill the same array again. To turn the channels of it takes 90
            # times as long; ``resize`` turns what is left of them.
            yield array.copy()[:, :, ::-1]
        else:
            yield array


def load_image(image: ImageLike) -> np.ndarray:
    """One image as uint8 [H, W, 3] RGB, upright; arrays are as they are.

    Raises:
        DataError: it cannot be read, or is not such an array.
    """
    image = _from_tensor(image) if isinstance(image, Tensor) else image
    if isinstance(image, ReIDImage | str | Path):
        return read_image(image.path if isinstance(image, ReIDImage) else image)
    if isinstance(image, Image.Image):
        return from_pil(image)
    right = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3
    if not isinstance(image, np.ndarray) or not right or image.shape[2] != 3 or np.ma.is_masked(image):
        raise DataError(f"Expected a file, a PIL image or a uint8 array [H, W, 3] in RGB order, got {_what(image)}.")
    return image


def _from_tensor(image: Tensor) -> np.ndarray | Tensor:
    """A uint8 tensor [3, H, W] or [H, W, 3] as an array [H, W, 3]; any other as it is."""
    if image.dtype != torch.uint8 or image.ndim != 3 or 3 not in (image.shape[0], image.shape[2]):
        return image
    return (image.permute(1, 2, 0) if image.shape[0] == 3 else image).cpu().numpy()


def _what(image: object) -> str:
    """What came in the place of an image, and how it becomes one where that is certain."""
    if isinstance(image, bytes | bytearray | io.IOBase):
        return f"{type(image).__name__}. Of a file's bytes take Image.open(io.BytesIO(data))"
    if isinstance(image, Tensor):
        came = f"a tensor of {str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"
        if image.is_floating_point():
            return f"{came}. Of numbers from 0 to 1 take (255 * image).round().to(torch.uint8); do not normalise it"
        return f"{came}. Expected uint8 [3, H, W] of a tensor"
    if not isinstance(image, np.ndarray):
        return type(image).__name__
    if np.ma.is_masked(image):
        return "one that is masked in part. Fill what is behind the mask: image.filled(0)"
    came = f"{image.dtype} {image.shape}"
    if image.dtype.kind == "f":
        return f"{came}. Of numbers from 0 to 1 take (255 * image).round().astype(np.uint8)"
    if image.dtype == np.uint8 and image.ndim == 2:
        return f"{came}. Of a grey image take np.stack([image] * 3, axis=2)"
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 4:
        return f"{came}. Leave the fourth channel out: image[:, :, :3]"
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[0] == 3:
        return f"{came}. Put the channels last: image.transpose(1, 2, 0)"
    return came


def _tree(folder: Path, above: tuple[str, ...], left_out: LeftOut) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    try:
        names, others = folder_files(folder)
        inner = subfolders(folder)
    except OSError as error:
        raise DataError(f"Cannot look into folder {folder}: {error.strerror or error}.") from None
    left_out.add(folder, others)
    for name in sorted(names):
        yield folder / name
    del names, others  # nothing of this folder is held while those in it are walked through
    for subfolder in inner:
        yield from _tree(subfolder, (*above, real), left_out)
