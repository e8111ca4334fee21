"""Images that need not be a data set, for making and inspecting labels."""

from __future__ import annotations

from pathlib import Path

from partreid.datasets.readers import choose_labels, find_datasets, read_dataset
from partreid.datasets.readers.common import LeftOut, folder_files, own_name, subfolders
from partreid.errors import DataError
from partreid.labels.locate import AUTO, MASKS
from partreid.objects import guided
from partreid.types import ReIDDataset, ReIDImage

NOBODY = -1
"""The pid of images that nobody has sorted by person."""


@guided
def read_images(spec: str | Path, *, labels: str | None = AUTO) -> ReIDDataset:
    """A data set, or else the images of a folder and its subfolders as ``train``, without persons.

    Arguments and errors as in :func:`~partreid.datasets.readers.read_dataset`; also:

    Raises:
        DataError: the folder holds no image.
    """
    path = Path(spec)
    if not path.is_dir() or find_datasets(path):
        return read_dataset(spec, labels=labels, unmatched="keep")
    left_out = LeftOut()
    paths = _walk(path, set(), left_out)
    if not paths:
        raise DataError(f"{path} holds no data set and no image ({left_out.instead()}). Check the path.")
    left_out.tell()
    name = own_name(path)
    images = tuple(ReIDImage(path, NOBODY, dataset=name) for path in paths)
    return choose_labels(ReIDDataset(name, path, images, gallery=(), queries={}), labels)


def _walk(folder: Path, seen: set[Path], left_out: LeftOut) -> list[Path]:
    """The images of a folder, then those of its subfolders, each by name; links are followed once."""
    if folder.resolve() in seen:
        return []
    seen.add(folder.resolve())
    images, others = folder_files(folder)
    left_out.add(folder, others)
    here = [folder / name for name in sorted(images)]
    return here + [p for deeper in subfolders(folder) if deeper.name != MASKS for p in _walk(deeper, seen, left_out)]
