"""Where label files lie: ``<root>/masks/<label folder>/<the picture's folder within root>/<name>``."""

from __future__ import annotations

from pathlib import Path

from partreid.errors import LabelError, nearest

MASKS = "masks"
"""Folder within a data set's root that holds the label folders."""

AUTO = "auto"
"""Take the only label folder there is."""


def label_folders(root: str | Path) -> tuple[str, ...]:
    """Names of the label folders in ``<root>/masks``, sorted; empty where there are none."""
    masks = Path(root) / MASKS
    return tuple(sorted(p.name for p in masks.iterdir() if p.is_dir())) if masks.is_dir() else ()


def choose_label_folder(root: str | Path, labels: str | None = AUTO) -> str | None:
    """The label folder to use.

    Args:
        root: the data set's folder.
        labels: a folder's name, ``"auto"`` for the only one there is (None where there is none), or None.

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
                f"Say which to use, for example labels={folders[0]!r}."
            )
        return folders[0] if folders else None
    if labels not in folders:
        there = nearest(labels, folders) if folders else "There are none; make some with `partreid labels make`."
        raise LabelError(f"No label folder {labels!r} in {Path(root) / MASKS}. {there}")
    return labels


def label_path(image_path: str | Path, root: str | Path, labels_folder: str) -> Path:
    """Where the label of a picture is written: the first of :func:`label_candidates`."""
    return label_candidates(image_path, root, labels_folder)[0]


def label_candidates(image_path: str | Path, root: str | Path, labels_folder: str) -> tuple[Path, ...]:
    """Every place where a picture's label may lie, the first to be preferred.

    ``<stem>.npy``, ``<name>.npy``, ``<name>.confidence_fields.npy`` (Occluded-Duke as published), ``<stem>.png``.

    Raises:
        LabelError: the picture does not lie within ``root``.
    """
    image_path, root = Path(image_path), Path(root)
    try:
        folder = image_path.parent.relative_to(root)
    except ValueError:
        raise LabelError(f"Picture {image_path} does not lie within the data set's folder {root}.") from None
    base = root / MASKS / labels_folder / folder
    name = image_path.name
    return tuple(
        base / f for f in (f"{image_path.stem}.npy", f"{name}.npy", f"{name}.confidence_fields.npy",
                           f"{image_path.stem}.png")
    )  # fmt: skip


def find_label(image_path: str | Path, root: str | Path, labels_folder: str) -> Path | None:
    """The label file of a picture, or None where there is none.

    Args:
        image_path: the picture, within ``root``. root: the data set's folder. labels_folder: in ``<root>/masks``.

    Raises:
        LabelError: the picture does not lie within ``root``.
    """
    return next((p for p in label_candidates(image_path, root, labels_folder) if p.is_file()), None)
