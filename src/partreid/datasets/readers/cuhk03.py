"""CUHK03-NP: CUHK03 with the new protocol's split (767 training, 700 test persons), detected or labelled boxes.

Two layouts are read: the widely used download that is split already, in Market layout, and the images of the original
set, ``{pair}_{pid}_{view}_{index}.png``, with the split in a JSON or MATLAB file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from partreid.datasets.readers.common import QUERY, Layout, Splits, own_name, plain_name, require_files
from partreid.datasets.readers.market1501 import FOLDER, fits_market_layout, read_market_layout
from partreid.errors import DataError, needs_extra
from partreid.json_files import read_json
from partreid.types import ReIDImage

_NAME = re.compile(r"([1-9]\d*)_(\d+)_([12])_\d+\.")
_SPLITS = ("train", "query", "gallery")


def _fits(root: Path, kind: str) -> bool:
    if (root / f"images_{kind}").is_dir():
        return True
    inside_cuhk03 = plain_name(own_name(root / "..")).startswith("cuhk03")
    return own_name(root) == kind and inside_cuhk03 and fits_market_layout(root)


def _read(root: Path, kind: str) -> Splits:
    if fits_market_layout(root):
        return read_market_layout(root)
    names = _new_protocol(root, kind)
    train, query, gallery = (_images(root / f"images_{kind}", names[split], root) for split in _SPLITS)
    return Splits(train, gallery=gallery, queries={QUERY: query})


def _images(folder: Path, names: Iterable[str], root: Path) -> list[ReIDImage]:
    """Images by base name: persons are numbered from 1 in each pair of cameras, so the pair is part of the id."""
    images = []
    for name in names:
        match = _NAME.match(name)
        if not match or len(match[2]) > 3:
            raise DataError(
                f"{root}: the split names {name!r}, expected <pair>_<pid>_<view>_<index>.png such as 1_001_1_01.png."
            )
        images.append(ReIDImage(folder / name, int(match[1]) * 1000 + int(match[2]), int(match[3]) - 1))
    require_files((image.path for image in images), source=root)
    return images


def _new_protocol(root: Path, kind: str) -> dict[str, list[str]]:
    """Base names of each split, from whichever file is there."""
    as_json, as_mat = root / f"splits_new_{kind}.json", root / f"cuhk03_new_protocol_config_{kind}.mat"
    if not as_json.is_file() and not as_mat.is_file():
        raise DataError(
            f"{root} holds images_{kind} but no split: expected {as_json.name} or {as_mat.name}. The latter comes with "
            "the new protocol (Zhong et al., CVPR 2017)."
        )
    source = as_json if as_json.is_file() else as_mat
    try:
        names = _from_json(source) if source is as_json else _from_mat(source)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(f"{source} is no split of the new protocol ({error!r}). Download or make it again.") from None
    # Whoever made the list wrote the folders of his own machine.
    return {split: [re.split(r"[\\/]", path)[-1] for path in paths] for split, paths in names.items()}


def _from_json(source: Path) -> dict[str, list[str]]:
    (split,) = read_json(source, error=DataError)
    return {name: [str(path) for path, *_ in split[name]] for name in _SPLITS}


def _from_mat(source: Path) -> dict[str, list[str]]:
    with needs_extra("tables", f"Reading {source.name}"):
        from scipy.io import loadmat
    content: dict[str, Any] = loadmat(str(source))
    files = [str(cell[0]) for cell in content["filelist"].ravel()]
    # MATLAB counts from 1.
    return {name: [files[int(i) - 1] for i in content[f"{name}_idx"].ravel()] for name in _SPLITS}


def _layout(kind: str, train: int, gallery: int) -> Layout:
    return Layout(
        key=f"cuhk03_{kind}",
        name=f"CUHK03-NP-{kind}",
        holds=f"images_{kind} and the new protocol's split; or, as CUHK03-NP/{kind}, {FOLDER.holds}",
        fits=partial(_fits, kind=kind),
        read=partial(_read, kind=kind),
        counts={"train": (767, train), "query": (700, 1400), "gallery": (700, gallery)},
    )


CUHK03 = (_layout("detected", 7365, 5332), _layout("labeled", 7368, 5328))
