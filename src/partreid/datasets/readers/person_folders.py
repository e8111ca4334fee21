"""Images with one folder per person, and nothing else, which is enough for training."""

from __future__ import annotations

from pathlib import Path

from partreid.datasets.readers.common import Layout, LeftOut, Splits, folder_files, list_images, subfolders
from partreid.errors import DataError
from partreid.labels.locate import MASKS
from partreid.types import ReIDImage


def _people(root: Path) -> list[Path]:
    return [folder for folder in subfolders(root) if folder.name != MASKS]


def _fits(root: Path) -> bool:
    return root.is_dir() and sum(bool(folder_files(folder)[0]) for folder in _people(root)) >= 2


def _read(root: Path) -> Splits:
    """Every folder is a person: by its number where all names are whole numbers, else counted from 1 by name.

    Raises:
        DataError: two folders have the same number, or one holds no image.
    """
    folders = _people(root)
    numbered = all(folder.name.isdecimal() for folder in folders)
    pids = [int(folder.name) if numbered else place for place, folder in enumerate(folders, start=1)]
    if len(set(pids)) < len(pids):
        twice = next(folder for place, folder in enumerate(folders) if pids[place] in pids[:place])
        raise DataError(f"{twice}: another folder of {root} has this person's number too. Join the two, or rename one.")
    left_out = LeftOut()
    left_out.add(root, folder_files(root)[0])  # images of nobody
    left_out.tell()
    return Splits(
        ReIDImage(path, pid) for pid, folder in zip(pids, folders, strict=True) for path in list_images(folder)
    )


PERSONS = Layout(
    key="persons",
    name="",
    holds="a folder of images for each person; for training only",
    fits=_fits,
    read=_read,
    on_request=True,  # folders of cameras or days look the same
)
