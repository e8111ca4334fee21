"""Market-1501, DukeMTMC-reID, and any folder in that layout: ``bounding_box_train``, ``query``, ``bounding_box_test``.

File names begin with ``<pid>_c<camera>``. Id -1 is junk and dropped; id 0 is a distractor and stays.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from partreid.datasets.readers.common import (
    QUERY,
    Layout,
    LeftOut,
    Splits,
    folder_files,
    list_images,
    query_set,
    subfolders,
)
from partreid.errors import DataError, warn
from partreid.types import LabelNaming, ReIDImage
from partreid.types._id_values import is_unknown

TRAIN, GALLERY = "bounding_box_train", "bounding_box_test"
DISTRACTORS = "images"
"""Folder of the 500,000 further distractors of Market-1501, put beside the others."""

JUNK = -1
_NAME = re.compile(r"(-?\d+)_c(\d+)")


def fits_market_layout(root: Path) -> bool:
    """Whether ``root`` holds a training or a gallery folder of that layout."""
    return any((root / folder).is_dir() for folder in (TRAIN, GALLERY))


def read_market_layout(root: Path) -> Splits:
    """Read Market-1501 or another set in its layout.

    The training folder may be missing, or the query and the gallery folder both. Folders ``query_*`` are further
    query sets: ``query_holistic`` becomes ``queries["holistic"]``. Where ``pictures.csv`` lies in ``root`` (columns
    path, occlusion, ...), occlusion is taken from it.

    Raises:
        DataError: a folder is missing or empty, or a name does not fit.
    """
    occlusion = _read_occlusion(root)
    train = _read_split(root / TRAIN, occlusion) if (root / TRAIN).is_dir() else ()
    queries = _query_folders(root)
    if not queries and not (root / GALLERY).is_dir():
        return Splits(train)
    return Splits(
        train,
        gallery=_read_split(root / GALLERY, occlusion),
        queries={name: _read_split(root / folder, occlusion) for name, folder in (queries or {QUERY: QUERY}).items()},
    )


def parse_name(path: Path) -> tuple[int, int]:
    """(pid, camid) from the base name; cameras are counted from 1 in the name and from 0 here.

    Raises:
        DataError: the name does not fit.
    """
    match = _NAME.match(path.name)
    pid, camera = (int(match[1]), int(match[2])) if match else (JUNK - 1, 0)
    if pid < JUNK or camera < 1:
        raise DataError(
            f"{path}: expected a name that begins with <pid>_c<camera>, cameras counted from 1, such as "
            "0002_c1s1_000451_03.jpg. Rename the file or move it away."
        )
    return pid, camera - 1


def _read_with_distractors(root: Path) -> Splits:
    splits = read_market_layout(root)
    return replace(splits, gallery=(*splits.gallery, *_read_split(root / DISTRACTORS, {})))


def _query_folders(root: Path) -> dict[str, str]:
    """Query set name -> folder, the default first."""
    folders = [folder for folder in subfolders(root) if folder.name.lower().startswith(QUERY)]
    found = [folder.name for folder in folders if folder.name == QUERY or folder.name.startswith(f"{QUERY}_")]
    left_out = LeftOut()  # query-occluded, Query: names that are nearly right
    left_out.add(root, [f"{one.name}/" for one in folders if one.name not in found and folder_files(one)[0]])
    left_out.tell()
    if f"{QUERY}_{QUERY}" in found:
        raise DataError(f"{root / QUERY}_{QUERY}: a further query set needs a name of its own. Rename the folder.")
    return {query_set(name): name for name in found}


def _read_split(folder: Path, occlusion: Mapping[str, float]) -> tuple[ReIDImage, ...]:
    paths = list_images(folder)
    images = []
    for path in paths:
        pid, camid = parse_name(path)
        if pid != JUNK:
            images.append(ReIDImage(path, pid, camid, occlusion=occlusion.get(f"{folder.name}/{path.name}")))
    if folder.name != GALLERY:  # there it is what the set means
        tell_junk(len(paths) - len(images), folder)
    return tuple(images)


def tell_junk(count: int, source: Path) -> None:
    """Warn of images that are dropped as junk, where there are any."""
    if count:
        what = "1 image" if count == 1 else f"{count} images"
        warn(f"left out: {what} of {source} with id {JUNK}, which is junk: nobody knows who it is.")


def _read_occlusion(root: Path) -> dict[str, float]:
    """Occlusion in [0, 1] by the image's path within ``root``, from the renderer's table where it exists."""
    table = root / "pictures.csv"
    if not table.is_file():
        return {}
    found: dict[str, float] = {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"path", "occlusion"} <= set(rows.fieldnames or ()):
            raise DataError(f"{table}: expected the columns path and occlusion, found {rows.fieldnames}.")
        for row in rows:
            value = parse_occlusion(row["occlusion"], f"{table}, line {rows.line_num}")
            if value is not None:
                found[Path(row["path"]).as_posix()] = value
    return found


def parse_occlusion(text: object, where: str) -> float | None:
    """A fraction in [0, 1], None where it is not known.

    Raises:
        DataError: anything else.
    """
    if is_unknown(text):
        return None
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise DataError(f"{where}: expected occlusion as a number in [0, 1], got {text!r}.")
    return value


FOLDER = Layout(
    key="folder",
    name="",
    holds=f"{TRAIN}, {QUERY} and {GALLERY}",
    fits=fits_market_layout,
    read=read_market_layout,
)
"""Any folder in Market layout that is no known set."""

MARKET1501 = replace(
    FOLDER,
    key="market1501",
    name="Market-1501",
    folders=("market1501v150915", "market1501"),
    counts={"train": (751, 12936), "query": (750, 3368), "gallery": (751, 15913)},
)

MARKET1501_500K = replace(
    MARKET1501,
    key="market1501_500k",
    name="Market-1501-500k",
    holds=f"{FOLDER.holds}, and the distractors in {DISTRACTORS}",
    read=_read_with_distractors,
    counts={split: MARKET1501.counts[split] for split in ("train", "query")},
    on_request=True,
)

WITHDRAWN = (
    "{name} is made from DukeMTMC, which its authors withdrew in 2019 over the consent of the people in it. "
    "Consider another data set, and check what your institution allows."
)

DUKEMTMC = replace(
    FOLDER,
    key="dukemtmc",
    name="DukeMTMC-reID",
    folders=("dukemtmcreid", "dukemtmc"),
    counts={"train": (702, 16522), "query": (702, 2228), "gallery": (1110, 17661)},
    notice=WITHDRAWN.format(name="DukeMTMC-reID"),
)

OCCLUDED_DUKE = replace(
    FOLDER,
    key="occluded_duke",
    name="Occluded-Duke",
    folders=("occludedduke", "occludeddukemtmc", "occludeddukemtmcreid"),
    counts={"train": (702, 15618), "query": (519, 2210), "gallery": (1110, 17661)},
    md5={
        "train": "09412368e174fd0f950d9d9baa843525",
        "query": "db29e536889800c0c93b28e7907fb0f4",
        "gallery": "3c299c6de9943382cc2325ac4afcf177",
    },
    notice=WITHDRAWN.format(name="Occluded-Duke"),
    label_naming=LabelNaming(name="{name}.confidence_fields.npy"),
)
