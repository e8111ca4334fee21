"""Pictures of every kind: walked through one by one, named, and turned into pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from partreid.datasets.images import read_image
from partreid.datasets.readers.common import PICTURE_SUFFIXES, picture_names, subfolders
from partreid.errors import DataError
from partreid.types import ReIDImage

Picture: TypeAlias = "str | Path | Image.Image | np.ndarray | ReIDImage"
"""A file, a PIL picture, a uint8 RGB array [H, W, 3], or an entry of a data set."""

Pictures: TypeAlias = "Picture | Iterable[Picture]"
"""One picture, a folder, an array [N, H, W, 3], or any number of pictures and folders one after the other."""


def walk(pictures: Pictures) -> Iterator[Picture]:
    """Single pictures, one at a time, in a fixed order: nothing is read ahead, and no list of all is made.

    A folder stands for the pictures in it, sorted by name, then for those in its subfolders, sorted by name; hidden
    files and folders and other files are passed over. Only one folder's names are held at a time.

    Args:
        pictures: one picture, a folder, an array [N, H, W, 3], or an iterable of pictures and folders.

    Raises:
        DataError: a folder holds no picture, or cannot be looked into.

    Example:
        >>> [picture.shape for picture in walk(np.zeros((2, 8, 4, 3), np.uint8))]
        [(8, 4, 3), (8, 4, 3)]
    """
    if isinstance(pictures, str | Path | Image.Image | ReIDImage):
        pictures = [pictures]
    elif isinstance(pictures, np.ndarray):
        pictures = pictures if pictures.ndim == 4 else [pictures]
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
    """One picture as uint8 [H, W, 3] RGB.

    Raises:
        DataError: it cannot be read, or is no such array.
    """
    if isinstance(picture, ReIDImage):
        return read_image(picture.path)
    if isinstance(picture, str | Path):
        return read_image(picture)
    if isinstance(picture, Image.Image):
        return _from_pil(picture)
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        what = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise DataError(f"Expected a file, a PIL picture or a uint8 array [H, W, 3] in RGB order, got {what}.")
    return picture


def _from_pil(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith(("I", "F")):
        raise DataError(f"Expected a PIL picture with 8 bits a channel, got mode {picture.mode}.")
    try:
        return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads an opened file only now
        raise DataError(f"A PIL picture cannot be decoded: {error}.") from None


def _walk_folder(folder: Path) -> Iterator[Path]:
    found = False
    for path in _tree(folder, ()):
        found = True
        yield path
    if not found:
        raise DataError(
            f"Folder {folder} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))}), nor do the folders in it."
        )


def _tree(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    try:
        names, inner = sorted(picture_names(folder)), subfolders(folder)
    except OSError as error:
        raise DataError(f"Cannot look into folder {folder}: {error.strerror or error}.") from None
    for name in names:
        yield folder / name
    del names  # nothing of this folder is held while those in it are walked through
    for subfolder in inner:
        yield from _tree(subfolder, (*above, real))
