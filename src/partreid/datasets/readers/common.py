"""The class of layouts, and tools for all readers: listing images in a fixed order, and checking counts and names."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from partreid.datasets.images import IMAGE_SUFFIXES
from partreid.errors import DataError, warn
from partreid.objects import Guided
from partreid.types import LabelNaming, ReIDDataset, ReIDImage

_COMPANIONS = frozenset({
    ".npy", ".npz", ".json", ".jsonl", ".txt", ".csv", ".tsv", ".parquet", ".xml", ".yaml", ".yml", ".toml", ".ini",
    ".md", ".rst", ".html", ".htm", ".pdf", ".mat", ".m", ".py", ".sh", ".db", ".log", ".h5", ".hdf5", ".pkl",
    ".pickle", ".pt", ".pth", ".onnx", ".safetensors", ".md5", ".sha256", ".xmp", ".aae", ".identifier",
})  # fmt: skip
"""Suffixes of labels, lists, notes and what systems put beside images: nobody misses them among the images."""

_NAMED = 5
"""Of many files that are left out so many are named."""

_NOTES = frozenset({"readme", "license", "licence", "copying", "authors", "changelog", "makefile"})

QUERY = "query"
"""Name of the default query set."""


@dataclass(frozen=True)
class Splits:
    """The result of a reader, before the set's name and its labels are filled in. Fields as in ``ReIDDataset``."""

    train: Iterable[ReIDImage] = ()
    gallery: Iterable[ReIDImage] = ()
    queries: Mapping[str, Iterable[ReIDImage]] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Layout(Guided):
    """The layout of a data set on disk.

    Attributes:
        key: its name on the command line. name: for messages and results; empty takes the folder's name.
        holds: the content of its folder, for messages. fits: whether a folder (or table) has this content. read: the
        reader.
        folders: possible names of its folder, needed if other sets look alike; see :func:`plain_name`.
        counts: published (identities, images) by split.
        md5: of the sorted file names of a split, joined by line feeds.
        notice: a warning, given once when it is read. label_naming: of its published labels.
        separate_test_ids: training and test persons are numbered separately, so equal ids do not mean the same person.
        on_request: a variant of another layout, which is used only if its key is given.
    """

    key: str
    name: str
    holds: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Splits]
    folders: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    md5: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    label_naming: LabelNaming = field(default_factory=LabelNaming)
    separate_test_ids: bool = False
    on_request: bool = False

    def recognises(self, path: Path) -> bool:
        """Whether this set is at ``path``, by its content and, if needed, by its name."""
        return (not self.folders or plain_name(own_name(path)) in self.folders) and self.fits(path)

    def open(self, path: Path) -> ReIDDataset:
        """The set at ``path``, without labels.

        Raises:
            DataError: a folder or file is missing or does not fit.
        """
        name = self.name or (path.stem if path.is_file() else own_name(path))
        splits = self.read(path)

        def named(images: Iterable[ReIDImage]) -> tuple[ReIDImage, ...]:
            return tuple(replace(image, dataset=name) for image in images)

        root, queries = path.parent if path.is_file() else path, {k: named(v) for k, v in splits.queries.items()}
        return ReIDDataset(name, root, named(splits.train), named(splits.gallery), queries, self.label_naming)

    def count_differences(self, dataset: ReIDDataset) -> list[str]:
        """One sentence for each split whose numbers of identities and images differ from the published ones."""
        found = {name: (len({image.pid for image in split}), len(split)) for name, split in dataset.splits.items()}
        return [
            f"{self.name} {split}: expected {expected[0]} identities in {expected[1]} images, found {there[0]} in "
            f"{there[1]}. Results will not compare with published ones."
            for split, expected in self.counts.items()
            if (there := found.get(split, (0, 0))) != expected
        ]


def query_set(split: str) -> str:
    """The name of a query set from its folder's or split's: ``query_holistic`` is ``holistic``."""
    return split.removeprefix(f"{QUERY}_")


def own_name(path: Path) -> str:
    """The name of a file or folder, of "." too; a link goes by its own name."""
    return os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - Path.resolve would follow links


def plain_name(name: str) -> str:
    """A folder's name in lower case without separators: ``Occluded_Duke`` and ``occluded-duke`` are one."""
    return "".join(c for c in name.lower() if c.isalnum())


def list_images(folder: Path, *, in_id_folders: bool = False) -> list[Path]:
    """The image files in ``folder``, sorted by name; a warning names what is left out, see :class:`LeftOut`.

    Args:
        folder: where they lie. in_id_folders: also those one folder deeper, sorted by folder, then by name.

    Raises:
        DataError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"Folder {folder} does not exist; this layout needs it. Check the data set's path.")
    inner, left_out = subfolders(folder), LeftOut()
    found = []
    for parent in [folder, *(inner if in_id_folders else ())]:
        images, others = folder_files(parent)
        found += [Path(parent, name) for name in sorted(images)]
        left_out.add(parent, others)
    if not in_id_folders:
        left_out.add(folder, [f"{deeper.name}/" for deeper in inner if folder_files(deeper)[0]])
    if not found:
        raise DataError(f"Folder {folder} holds no image ({left_out.instead()}). Was it unpacked?")
    left_out.tell()
    return found


class LeftOut:
    """Files and folders that were left out although they may be intended as images; they are counted, and the first few
    are named.

    Hidden files, and the lists, labels and notes that lie beside images, are no part of it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, folder: Path, names: Iterable[str]) -> None:
        """Files of a folder, or with a slash at the end folders of images in one whose layout has none."""
        for name in sorted(names):
            self.count += 1
            if len(self._first) < _NAMED:
                self._first.append(os.path.join(folder, name))  # noqa: PTH118 - a Path would lose the slash

    def _names(self) -> str:
        more = f" and {self.count - len(self._first)} more" if self.count > len(self._first) else ""
        return ", ".join(self._first) + more

    def instead(self) -> str:
        """What was expected, and what was found."""
        return f"{', '.join(sorted(IMAGE_SUFFIXES))}" + (f"; found {self._names()}" if self.count else "")

    def tell(self) -> None:
        """Warn if something was left out; the same text only once in a process."""
        if self.count:
            what = "1 file that is no image" if self.count == 1 else f"{self.count} files that are no images"
            what = what.replace("file", "folder") if all(name.endswith("/") for name in self._first) else what
            text = f"left out: {what} partreid can read here: {self._names()}"
            warnings.warn(text, LeftOutWarning, stacklevel=1)  # always this line, so that two walks tell once


class LeftOutWarning(UserWarning):
    """Files in a folder of images were left out."""


def subfolders(folder: Path) -> list[Path]:
    """The folders in ``folder``, sorted by name; hidden ones are passed over, links are followed."""
    with os.scandir(folder) as entries:
        return [folder / n for n in sorted(e.name for e in entries if _is_folder(e) and not e.name.startswith("."))]


def require_files(paths: Iterable[Path], *, source: Path) -> None:
    """Check that the images which a list names are there.

    Raises:
        DataError: naming the first of those that are missing.
    """
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in listed:  # a listing per folder is much quicker than a question per file
            listed[path.parent] = {p.name for p in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name not in listed[path.parent] and not path.is_file():
            missing.append(path)
    if missing:
        raise DataError(
            f"{source} names {len(missing)} images that do not exist, the first is {missing[0]}. Unpack them there, "
            "or take them out of the list."
        )


@functools.cache
def say_once(notice: str) -> None:
    """Warn, but only once in a process."""
    warn(notice)


def folder_files(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the image files directly in ``folder``, and of what is left out, in no order; see :class:`LeftOut`."""
    images, others = [], []
    with os.scandir(folder) as entries:  # a broken link is listed, so that reading it says what is wrong
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name.lower())  # noqa: PTH122 - of very many names
            if entry.name.startswith(".") or _is_folder(entry):
                continue
            if suffix in IMAGE_SUFFIXES and _is_file(entry):
                images.append(entry.name)
            elif suffix not in _COMPANIONS and stem not in _NOTES:
                others.append(entry.name)
    return images, others


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link that leads to none; a pipe would be waited for without end."""
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:  # links in a circle
        return True
