"""Market-1501, and every folder in its layout: ``bounding_box_train``, ``query``, ``bounding_box_test``.

File names begin with ``<pid>_c<camera>``. Id -1 is junk and dropped; id 0 is a distractor and stays.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from partreid.datasets.readers.common import check_counts, list_pictures
from partreid.errors import DataError
from partreid.labels.locate import AUTO, choose_label_folder, find_label
from partreid.types import ReIDDataset, ReIDImage

OFFICIAL_FOLDER = "Market-1501-v15.09.15"
OFFICIAL_COUNTS = {"train": (751, 12936), "query": (750, 3368), "gallery": (751, 15913)}
"""(identities, pictures) of the real set, junk left out."""

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
JUNK = -1
_NAME = re.compile(r"(-?\d+)_c(\d+)")


def looks_like_market1501(root: Path) -> bool:
    """Whether ``root`` holds a training and a gallery folder of that layout, itself or in the official folder."""
    return any((base / folder).is_dir() for base in (root, root / OFFICIAL_FOLDER) for folder in (TRAIN, GALLERY))


def read_market1501(root: str | Path, *, labels: str | None = AUTO) -> ReIDDataset:
    """Read Market-1501 or another set in its layout.

    Folders ``query_*`` are further query sets: ``query_holistic`` becomes ``queries["holistic"]``. Where
    ``pictures.csv`` lies in ``root`` (columns path, occlusion, ...), occlusion is taken from it.

    Args:
        root: the folder that holds ``bounding_box_train``, or the one that holds ``Market-1501-v15.09.15``.
        labels: label folder within ``<root>/masks``; ``"auto"`` takes the only one there is, None takes none.

    Raises:
        DataError: a folder is missing or empty, a name does not fit, there is one training identity only, or a
            query set has no match in the gallery.
        LabelError: the label folder is missing or not the only one.
    """
    root = Path(root)
    if (root / OFFICIAL_FOLDER).is_dir() and not (root / TRAIN).is_dir():
        root = root / OFFICIAL_FOLDER
    folder = choose_label_folder(root, labels)
    occlusion = _read_occlusion(root)
    train = _read_split(root, TRAIN, folder, occlusion)
    gallery = _read_split(root, GALLERY, folder, occlusion)
    queries = {name: _read_split(root, f, folder, occlusion) for name, f in _query_folders(root).items()}
    official = root.name == OFFICIAL_FOLDER
    dataset = ReIDDataset(
        name="Market-1501" if official else root.resolve().name,
        root=root,
        train=train,
        gallery=gallery,
        queries=queries,
    )
    _check(dataset, folder)
    if official:
        check_counts("Market-1501", OFFICIAL_COUNTS, {"train": train, "query": dataset.query, "gallery": gallery})
    return dataset


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


def _query_folders(root: Path) -> dict[str, str]:
    """Query set name -> folder, the default first."""
    others = sorted(p.name for p in root.glob(f"{QUERY}_*") if p.is_dir())
    return {QUERY: QUERY} | {name.removeprefix(f"{QUERY}_"): name for name in others}


def _read_split(
    root: Path, split: str, labels_folder: str | None, occlusion: Mapping[str, float]
) -> tuple[ReIDImage, ...]:
    images = []
    for path in list_pictures(root / split):
        pid, camid = parse_name(path)
        if pid == JUNK:
            continue
        images.append(
            ReIDImage(
                path=path,
                pid=pid,
                camid=camid,
                label=find_label(path, root, labels_folder) if labels_folder else None,
                occlusion=occlusion.get(f"{split}/{path.name}"),
            )
        )
    return tuple(images)


def _read_occlusion(root: Path) -> dict[str, float]:
    """Occlusion in [0, 1] by the picture's path within ``root``, from the renderer's table where it exists."""
    table = root / "pictures.csv"
    if not table.is_file():
        return {}
    found: dict[str, float] = {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"path", "occlusion"} <= set(rows.fieldnames or ()):
            raise DataError(f"{table}: expected the columns path and occlusion, found {rows.fieldnames}.")
        for line, row in enumerate(rows, start=2):
            text = row["occlusion"]
            if text in ("", None):
                continue
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 <= value <= 1:
                raise DataError(f"{table}, line {line}: expected occlusion as a number in [0, 1], got {text!r}.")
            found[Path(row["path"]).as_posix()] = value
    return found


def _check(dataset: ReIDDataset, labels_folder: str | None) -> None:
    if len(dataset.train_pids) < 2:
        raise DataError(
            f"{dataset.root / TRAIN}: expected pictures of at least two identities, found {len(dataset.train_pids)}. "
            "Telling persons apart cannot be learned from one."
        )
    cameras: dict[int, set[int]] = {}
    for image in dataset.gallery:
        cameras.setdefault(image.pid, set()).add(image.camid)
    for name, query in dataset.queries.items():
        if not any(cameras.get(image.pid, set()) - {image.camid} for image in query):
            raise DataError(
                f"Query set {name!r} of {dataset.root} has no match in the gallery: no query's identity is in "
                f"{GALLERY} from another camera ({len(query)} queries, {len(dataset.gallery)} gallery pictures). "
                "Check the ids and cameras in the file names."
            )
    missing = [image.path for image in dataset.train if image.label is None]
    if labels_folder and missing:
        warnings.warn(
            f"{len(missing)} of {len(dataset.train)} training pictures have no label in {labels_folder!r}, the first "
            f"is {missing[0].name}. Finish them with `partreid labels make`.",
            stacklevel=3,
        )
