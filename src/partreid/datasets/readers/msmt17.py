"""MSMT17, first version and second (faces masked): images in folders, splits in lists of "path id" lines."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from partreid.datasets.readers.common import QUERY, Layout, Splits, require_files
from partreid.errors import DataError
from partreid.types import ReIDImage

_NAME = re.compile(r"[^_]*_[^_]*_(\d+)")
_FOLDERS = {1: ("train", "test"), 2: ("mask_train_v2", "mask_test_v2")}


def _fits(root: Path, version: int) -> bool:
    return all((root / name).is_dir() for name in _FOLDERS[version]) and any(root.glob("list_*.txt"))


def _read(root: Path, version: int, with_val: bool) -> Splits:
    train, test = (root / name for name in _FOLDERS[version])
    training = _read_list(root / "list_train.txt", train)
    if with_val:
        training += _read_list(root / "list_val.txt", train)
    return Splits(
        training,
        gallery=_read_list(root / "list_gallery.txt", test),
        queries={QUERY: _read_list(root / "list_query.txt", test)},
    )


def _read_list(source: Path, folder: Path) -> list[ReIDImage]:
    """The images of one list; the camera is the third field of the name, counted from 1."""
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {source}, which MSMT17 needs: {error}. Unpack the whole download.") from None
    images = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, pid = line.strip().rpartition(" ")
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        camera = _NAME.match(Path(name).name)
        if not (inside and pid.isdecimal() and camera and int(camera[1]) > 0):
            raise DataError(
                f"{source}, line {number}: expected a path within {folder.name} and an id, the camera as third field "
                f"of the file name, such as 0000/0000_000_01_0303morning_0015_0.jpg 0, got {line!r}. Take the list "
                "from the download."
            )
        images.append(ReIDImage(folder / name, int(pid), int(camera[1]) - 1))
    require_files((image.path for image in images), source=source)
    return images


def _layout(version: int, with_val: bool) -> Layout:
    suffix, images = ("_trainval", 32621) if with_val else ("", 30248)
    train, test = _FOLDERS[version]
    return Layout(
        key=f"msmt17{'' if version == 1 else '_v2'}{suffix}",
        name=f"MSMT17{'' if version == 1 else '-V2'}{suffix.replace('_', '-')}",
        holds=f"{train}, {test} and list_train.txt, list_val.txt, list_query.txt, list_gallery.txt",
        fits=partial(_fits, version=version),
        read=partial(_read, version=version, with_val=with_val),
        counts={"train": (1041, images), "query": (3060, 11659), "gallery": (3060, 82161)},
        separate_test_ids=True,
        on_request=with_val,
    )


MSMT17 = tuple(_layout(version, with_val) for with_val in (False, True) for version in _FOLDERS)
"""Both versions, then both with the validation images added to training."""
