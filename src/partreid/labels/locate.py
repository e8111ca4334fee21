"""The places of label files: ``<root>/masks/<label folder>/<the image's folder within root>/<name>``."""

from __future__ import annotations

from pathlib import Path

from partreid.errors import LabelError, nearest
from partreid.types import LabelNaming, ReIDDataset

MASKS = "masks"
"""Folder within a data set's root that holds the label folders."""

PUBLISHED_FOLDER = "pifpaf_maskrcnn_filtering"
"""Name of the label folder that was published with the method."""

AUTO = "auto"
"""Means the only label folder."""

_NAMES = ("{stem}.npy", "{name}.npy", "{name}.confidence_fields.npy", "{stem}.png")
"""Possible names of a label file, in order of preference. Ours have the first form."""


def label_folders(root: str | Path) -> tuple[str, ...]:
    """Names of the label folders in ``<root>/masks``, sorted, without hidden folders (of editors or systems)."""
    masks = Path(root) / MASKS
    if not masks.is_dir():
        return ()
    return tuple(sorted(p.name for p in masks.iterdir() if p.is_dir() and not p.name.startswith(".")))


def choose_label_folder(root: str | Path, labels: str | None = AUTO) -> str | None:
    """The label folder to use.

    Args:
        root: the data set's folder.
        labels: a folder's name, several with commas between (the first existing one is used, because sets that are
            trained on together may have different ones), ``"auto"`` for the only one (None if there is none), or None.

    Raises:
        LabelError: several folders and ``"auto"``, or no folder of that name.
    """
    if labels is None:
        return None
    folders = label_folders(root)
    if labels == AUTO:
        if len(folders) > 1:
            raise LabelError(
                f"{Path(root) / MASKS} holds labels from several sources: {', '.join(folders)}. "
                f"Say which to use: in training --set labels={folders[0]}, elsewhere --labels {folders[0]}."
            )
        return folders[0] if folders else None
    wanted = [name.strip() for name in labels.split(",")]
    for name in wanted:
        if name in folders:
            return name
    there = nearest(wanted[0], folders) if folders else "There are none; make some with `partreid labels make`."
    raise LabelError(f"No label folder {' or '.join(map(repr, wanted))} in {Path(root) / MASKS}. {there}")


def label_path(image_path: str | Path, root: str | Path, labels_folder: str) -> Path:
    """The path for writing the label of an image: the first place where :func:`find_label` searches."""
    return _label_candidates(image_path, root, labels_folder)[0]


def published_label_path(image_path: str | Path, dataset: ReIDDataset, labels_folder: str) -> Path:
    """The path of an image's label among the published label files of its set.

    Args:
        image_path: the image, within the set's folder. dataset: the set; its layout knows the naming.
        labels_folder: in ``<root>/masks``.

    Raises:
        LabelError: the image does not lie within the set's folder.
    """
    naming = dataset.label_naming
    image_path = Path(image_path)
    folder = _label_folder(image_path, dataset.root, labels_folder)
    folder = folder.parent if naming.leaves_out_id_folder else folder
    return folder / naming.name.format(stem=image_path.stem, name=image_path.name)


def _label_candidates(
    image_path: str | Path, root: str | Path, labels_folder: str, naming: LabelNaming | None = None
) -> tuple[Path, ...]:
    image_path = Path(image_path)
    folder = _label_folder(image_path, root, labels_folder)
    folders = (folder, folder.parent) if naming is not None and naming.leaves_out_id_folder else (folder,)
    stem, name = image_path.stem, image_path.name
    return tuple(base / pattern.format(stem=stem, name=name) for base in folders for pattern in _NAMES)


def find_label(
    image_path: str | Path, root: str | Path, labels_folder: str, naming: LabelNaming | None = None
) -> Path | None:
    """The label file of an image, or None if there is none.

    It may be called ``<stem>.npy``, ``<name>.npy``, ``<name>.confidence_fields.npy`` or ``<stem>.png``; if the
    published labels of its set omit the person's folder, it may also be there.

    Args:
        image_path: the image, within ``root``. root: the data set's folder. labels_folder: in ``<root>/masks``.
        naming: how its set's published labels are called.

    Raises:
        LabelError: the image does not lie within ``root``.
    """
    return next((p for p in _label_candidates(image_path, root, labels_folder, naming) if p.is_file()), None)


def _label_folder(image_path: Path, root: str | Path, labels_folder: str) -> Path:
    try:
        folder = image_path.parent.relative_to(root)
    except ValueError:
        raise LabelError(f"Image {image_path} does not lie within the data set's folder {root}.") from None
    return Path(root) / MASKS / labels_folder / folder
