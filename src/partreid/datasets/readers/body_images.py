"""Sets of occluded and whole images in folders of their own: Occluded-REID, Partial-REID, P-DukeMTMC.

The person is the number before the first ``_`` of the file name. Occluded images count as camera 0, whole ones as
camera 1, and people meet them by the folder: "occluded", "whole", "partial"; a camera in the name is ignored.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from partreid.datasets.readers.common import QUERY, Layout, Splits, list_images, subfolders
from partreid.datasets.readers.market1501 import WITHDRAWN
from partreid.errors import DataError
from partreid.types import LabelNaming, ReIDImage

WHOLE, OCCLUDED, PARTIAL = "whole_body_images", "occluded_body_images", "partial_body_images"
_NAME = re.compile(r"(\d+)_")


def _read_folder(folder: Path, camid: int) -> tuple[ReIDImage, ...]:
    images = []
    for path in list_images(folder, in_id_folders=True):
        match = _NAME.match(path.name)
        if not match:
            raise DataError(
                f"{path}: expected a name that begins with <pid>_, such as 001_01.tif. Rename the file or move it away."
            )
        images.append(ReIDImage(path, int(match[1]), camid, camera=folder.name.partition("_")[0]))
    return tuple(images)


def _read_test(root: Path, query: str = OCCLUDED) -> Splits:
    return Splits(gallery=_read_folder(root / WHOLE, 1), queries={QUERY: _read_folder(root / query, 0)})


def _fits_occluded_reid(root: Path) -> bool:
    has_folders = (root / WHOLE).is_dir() and (root / OCCLUDED).is_dir() and not (root / PARTIAL).is_dir()
    # train and test of P-DukeMTMC look alike, and Partial-REID has no folder for each person.
    return has_folders and root.name not in ("train", "test") and bool(subfolders(root / OCCLUDED))


def _fits_partial_reid(root: Path) -> bool:
    if not (root / WHOLE).is_dir():
        return False
    return (root / PARTIAL).is_dir() or ((root / OCCLUDED).is_dir() and not subfolders(root / OCCLUDED))


def _read_partial_reid(root: Path) -> Splits:
    if not (root / PARTIAL).is_dir():
        return _read_test(root)
    splits = _read_test(root, PARTIAL)
    occluded = {"occluded": _read_folder(root / OCCLUDED, 0)} if (root / OCCLUDED).is_dir() else {}
    return replace(splits, queries={**splits.queries, **occluded})


def _fits_p_dukemtmc(root: Path) -> bool:
    return (root / "train" / WHOLE).is_dir() or (root / "test" / WHOLE).is_dir()


def _read_p_dukemtmc(root: Path) -> Splits:
    train = (*_read_folder(root / "train" / OCCLUDED, 0), *_read_folder(root / "train" / WHOLE, 1))
    return replace(_read_test(root / "test"), train=train)


OCCLUDED_REID = Layout(
    key="occluded_reid",
    name="Occluded-REID",
    holds=f"{OCCLUDED} and {WHOLE} with a folder for each person",
    fits=_fits_occluded_reid,
    read=_read_test,
    counts={"query": (200, 1000), "gallery": (200, 1000)},
    label_naming=LabelNaming(leaves_out_id_folder=True),
)

PARTIAL_REID = Layout(
    key="partial_reid",
    name="Partial-REID",
    holds=f"{PARTIAL} or {OCCLUDED}, and {WHOLE}",
    fits=_fits_partial_reid,
    read=_read_partial_reid,
    counts={"query": (60, 300), "gallery": (60, 300)},
)

P_DUKEMTMC = Layout(
    key="p_dukemtmc",
    name="P-DukeMTMC-reID",
    holds=f"train and test, each with {OCCLUDED} and {WHOLE}",
    fits=_fits_p_dukemtmc,
    read=_read_p_dukemtmc,
    counts={"train": (665, 12927), "query": (634, 2163), "gallery": (634, 9053)},
    notice=WITHDRAWN.format(name="P-DukeMTMC-reID"),
    label_naming=LabelNaming(leaves_out_id_folder=True),
)
