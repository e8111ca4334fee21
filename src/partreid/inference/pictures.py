"""Pictures of every kind: walked through one by one, named, and turned into pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from partreid.datasets.images import from_pil, read_image
from partreid.datasets.readers.common import LeftOut, folder_files, subfolders
from partreid.errors import DataError
from partreid.types import ReIDImage

Picture: TypeAlias = "str | Path | Image.Image | np.ndarray | ReIDImage"
"""A file, a PIL picture, a uint8 RGB array [H, W, 3], or an entry of a data set."""

Pictures: TypeAlias = "Picture | Iterable[Picture]"
"""One picture, a folder, an array [N, H, W, 3], or any number of pictures and folders one after the other."""


def walk(pictures: Pictures) -> Iterator[Picture]:
    """Single pictures, one at a time, in a fixed order: nothing is read ahead, and no list of all is made.

    A folder stands for the pictures in it, sorted by name, then for those in its subfolders, sorted by name. Hidden
    files and folders are passed over, and lists, labels and notes; a warning at the folder's end names other files that
    are no pictures. Only one folder's names are held at a time.

    Args:
        pictures: one picture, a folder, an array [N, H, W, 3], or an iterable of pictures and folders.

    Raises:
        DataError: a folder holds no picture, or cannot be looked into; or the pictures are a set, which has no order.

    Example:
        >>> [picture.shape for picture in walk(np.zeros((2, 8, 4, 3), np.uint8))]
        [(8, 4, 3), (8, 4, 3)]
    """
    if isinstance(pictures, set | frozenset):
        raise DataError("A set of pictures has no order, so nobody knows whose row is which. Give sorted(pictures).")
    if isinstance(pictures, str | Path | Image.Image | ReIDImage | bytes | bytearray | io.IOBase):
        pictures = [pictures]  # of bytes and open files too loading says what was expected
    elif isinstance(pictures, np.ndarray):
        names = pictures.ndim == 1 and pictures.dtype.kind in "UO"  # a column of paths
        pictures = pictures.tolist() if names else pictures if pictures.ndim == 4 else [pictures]
    elif not isinstance(pictures, Iterable):
        pictures = [pictures]  # loading it says what was expected
    for picture in pictures:
        if isinstance(picture, str | Path) and os.path.isdir(picture):  # noqa: PTH112 - a third of Path's time
            yield from _walk_folder(Path(picture))
        else:
            yield picture


def picture_name(picture: Picture, position: int) -> str:
    """What a picture is called: its file, or its place in the stream where it has none.

    Example:
        >>> picture_name(Path("a.jpg"), 4), picture_name(np.zeros((8, 4, 3), np.uint8), 4)
        ('a.jpg', '#4')
    """
    if isinstance(picture, ReIDImage):
        return str(picture.path)
    return str(picture) if isinstance(picture, str | Path) else f"#{position}"


def load_picture(picture: Picture) -> np.ndarray:
    """One picture as uint8 [H, W, 3] RGB, upright; arrays are as they are.

    Raises:
        DataError: it cannot be read, or is no such array.
    """
    if isinstance(picture, ReIDImage):
        return read_image(picture.path)
    if isinstance(picture, str | Path):
        return read_image(picture)
    if isinstance(picture, Image.Image):
        return from_pil(picture)
    wrong = not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3
    if wrong or picture.shape[2] != 3 or np.ma.is_masked(picture):
        raise DataError(
            f"Expected a file, a PIL picture or a uint8 array [H, W, 3] in RGB order, got {_what(picture)}."
        )
    return picture


def _what(picture: object) -> str:
    """What came in the place of a picture, and how it becomes one where that is certain."""
    if isinstance(picture, bytes | bytearray | io.IOBase):
        return f"{type(picture).__name__}. Of a file's bytes take Image.open(io.BytesIO(data))"
    if not isinstance(picture, np.ndarray):
        return type(picture).__name__
    if np.ma.is_masked(picture):
        return "one that is masked in part. Fill what is behind the mask: picture.filled(0)"
    came = f"{picture.dtype} {picture.shape}"
    if picture.dtype.kind == "f":
        return f"{came}. Of numbers from 0 to 1 take (255 * picture).round().astype(np.uint8)"
    if picture.dtype == np.uint8 and picture.ndim == 2:
        return f"{came}. Of a grey picture take np.stack([picture] * 3, axis=2)"
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 4:
        return f"{came}. Leave the fourth channel out: picture[:, :, :3]"
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[0] == 3:
        return f"{came}. Put the channels last: picture.transpose(1, 2, 0)"
    return came


def _walk_folder(folder: Path) -> Iterator[Path]:
    found, left_out = False, LeftOut()
    for path in _tree(folder, (), left_out):
        found = True
        yield path
    if not found:
        raise DataError(f"Folder {folder} holds no picture ({left_out.instead()}), nor do the folders in it.")
    left_out.tell()


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
