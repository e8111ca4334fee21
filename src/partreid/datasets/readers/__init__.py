"""Readers: from files on disk to a :class:`~partreid.types.ReIDDataset`. There is one module per family of layouts."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from partreid.datasets.readers.body_images import OCCLUDED_REID, P_DUKEMTMC, PARTIAL_REID
from partreid.datasets.readers.common import Layout, list_images, say_once, subfolders
from partreid.datasets.readers.cuhk03 import CUHK03
from partreid.datasets.readers.market1501 import DUKEMTMC, FOLDER, MARKET1501, MARKET1501_500K, OCCLUDED_DUKE
from partreid.datasets.readers.msmt17 import MSMT17
from partreid.datasets.readers.person_folders import PERSONS
from partreid.datasets.readers.table import TABLE
from partreid.errors import ConfigError, DataError, LabelError, nearest, warn
from partreid.labels.locate import AUTO, choose_label_folder, find_label
from partreid.objects import Guided, guided
from partreid.types import ReIDDataset, ReIDImage

__all__ = [
    "DATA_VARIABLE", "LAYOUTS", "FoundDataset", "Layout", "choose_labels", "find_datasets", "list_images",
    "locate_dataset", "queries_without_match", "read_dataset", "read_datasets", "with_labels",
]  # fmt: skip

LAYOUTS: tuple[Layout, ...] = (
    MARKET1501, DUKEMTMC, OCCLUDED_DUKE, OCCLUDED_REID, P_DUKEMTMC, PARTIAL_REID, *CUHK03, *MSMT17, MARKET1501_500K,
    PERSONS,
)  # fmt: skip
"""Every known set. Beside them there are any folder in Market layout and tables."""

_BY_KEY = {layout.key: layout for layout in LAYOUTS}

DATA_VARIABLE = "PARTREID_DATA"
"""Environment variable that names the folder in which a bare name is looked for."""

SHIPPED = "pedestrians"
"""The name of the rendered set inside the package."""

_DEPTH = 2
"""How many folders deep sets are looked for: ``data/market1501/Market-1501-v15.09.15``."""

_NAMED = re.compile(r"(\w+)=(.+)", re.DOTALL)


@dataclass(frozen=True, repr=False)
class FoundDataset(Guided):
    """A data set on disk: its layout, and the folder or table."""

    layout: Layout
    path: Path

    @property
    def spec(self) -> str:
        """The text that selects it on the command line."""
        return str(self.path) if self.layout in (FOLDER, TABLE) else f"{self.layout.key}={self.path}"

    def open(self) -> ReIDDataset:
        """Read it without labels and without checking its content.

        Raises:
            DataError: a folder or file is missing or does not fit.
        """
        return self.layout.open(self.path)


Unmatched = Literal["raise", "drop", "keep"]
"""What becomes of query sets none of whose queries has a match in the gallery: they cannot be evaluated."""


@guided
def read_dataset(
    spec: str | Path, *, labels: str | None = AUTO, unmatched: Unmatched = "raise", limit_ids: int | None = None
) -> ReIDDataset:
    """Read a data set of any known layout.

    Args:
        spec: the set's folder or one that contains exactly one set, a table (.csv, .parquet), ``name=PATH`` if there
            are several sets or variants, a name that is searched in $PARTREID_DATA, or "pedestrians", the rendered set
            inside the package.
        labels: label folder within ``<root>/masks``, or several with commas between (the first existing one);
            ``"auto"`` = the only one, None = none.
        unmatched: how to treat a query set without any match in the gallery: as an error; or it is dropped with a
            warning, which is enough for training; or it is kept.
        limit_ids: use only this many identities, for quick trials (:meth:`~partreid.types.ReIDDataset.subset`).

    Raises:
        DataError: there is no such set, several, or its content does not fit.
        LabelError: the label folder is missing or not the only one, or two images share a label file.

    Example:
        >>> read_dataset("market1501=/data").train[0].identity  # doctest: +SKIP
        ('Market-1501', 2)
    """
    found = locate_dataset(spec)
    if found.layout.notice:
        say_once(found.layout.notice)
    dataset = found.open()
    for difference in found.layout.count_differences(dataset):
        warn(difference)
    dataset = _with_matches(dataset, found.path, unmatched)
    return choose_labels(dataset if limit_ids is None else dataset.subset(ids=limit_ids), labels)


DataLike: TypeAlias = str | Path | ReIDDataset
"""A data set, or what :func:`read_dataset` finds one by."""


@guided
def read_datasets(
    specs: DataLike | Sequence[DataLike],
    *,
    labels: str | None = AUTO,
    unmatched: Unmatched = "raise",
    limit_ids: int | None = None,
) -> list[ReIDDataset]:
    """Read one set, or several that are used together, with labels for those that have training images.

    Arguments and errors as in :func:`read_dataset`; a data set that was read already stays as it is. Also:

    Raises:
        DataError: one is not a data set, or two have the same name, so that their persons and results could not be
            distinguished.
    """
    specs = [specs] if isinstance(specs, DataLike) else specs
    if not isinstance(specs, Sequence) or (wrong := [one for one in specs if not isinstance(one, DataLike)]):
        got = repr(wrong[0] if isinstance(specs, Sequence) else specs)
        raise DataError(f"Expected a data set, its folder or its name, or a list of these, got {got:.80}.")
    read = partial(read_dataset, labels=None, unmatched=unmatched, limit_ids=limit_ids)
    datasets = [spec if isinstance(spec, ReIDDataset) else read(spec) for spec in specs]
    roots: dict[str, Path] = {}
    for dataset in datasets:
        if dataset.name in roots:
            raise DataError(
                f"Two of the data sets are called {dataset.name!r}: {roots[dataset.name]} and {dataset.root}. Give "
                "each set once; rename the folder or table of one where they differ (a link to it does)."
            )
        roots[dataset.name] = dataset.root
    return [
        choose_labels(dataset, labels) if dataset.train and dataset is not spec else dataset
        for spec, dataset in zip(specs, datasets, strict=True)
    ]


@guided
def find_datasets(root: str | Path) -> tuple[FoundDataset, ...]:
    """The sets in ``root``: itself, or folders up to two levels below, without variants on request.

    Raises:
        DataError: there is no such folder or table.
    """
    return _search(_existing(Path(root)), _recognised)


def locate_dataset(spec: str | Path) -> FoundDataset:
    """The layout and the place of a data set; ``spec`` as in :func:`read_dataset`.

    Raises:
        DataError: there is no such set, or several fit.
    """
    text, path = str(spec), Path(spec)
    named = _NAMED.fullmatch(text)
    if path.exists():
        return _only(find_datasets(path), path)
    if named:
        return _locate_named(named[1], Path(named[2]).expanduser())
    if text == SHIPPED:
        from partreid.datasets.synthetic.shipped import shipped_split  # it needs the readers

        return _only(find_datasets(shipped_split()), path)
    if text in _BY_KEY:
        folder = os.environ.get(DATA_VARIABLE)
        if not folder:
            raise DataError(
                f"To find {text!r} by its bare name, set the environment variable {DATA_VARIABLE} to the folder of "
                f"your data sets, or give the folder: {text}=PATH."
            )
        return _locate_named(text, Path(folder))
    raise DataError(
        f"Data set {text} does not exist: no such folder or table, and no known name. Check the path, or "
        f"take {SHIPPED!r}, the rendered set inside the package."
    )


def queries_without_match(dataset: ReIDDataset, query_set: str) -> list[ReIDImage]:
    """Queries whose person is not in the gallery in another view; evaluation skips them."""
    views: defaultdict[int, set[int | Path]] = defaultdict(set)
    for image in dataset.gallery:
        views[image.pid].add(image.view)
    return [image for image in dataset.queries[query_set] if not views[image.pid] - {image.view}]


def choose_labels(dataset: ReIDDataset, labels: str | None) -> ReIDDataset:
    """The same set with the label files that ``labels`` chooses; as :func:`read_dataset`."""
    folder = choose_label_folder(dataset.root, labels)
    return dataset if folder is None else with_labels(dataset, folder)


def with_labels(dataset: ReIDDataset, folder: str) -> ReIDDataset:
    """The same set with the label files of ``<root>/masks/<folder>``; warns where training images have none."""

    def label(images: tuple[ReIDImage, ...]) -> tuple[ReIDImage, ...]:
        naming = dataset.label_naming
        return tuple(replace(i, label=find_label(i.path, dataset.root, folder, naming)) for i in images)

    train, gallery = label(dataset.train), label(dataset.gallery)
    queries = {name: label(images) for name, images in dataset.queries.items()}
    labelled = replace(dataset, train=train, gallery=gallery, queries=queries)
    # A label file is found by its image's name without the suffix: it may not be that of two images.
    owners: dict[Path, Path] = {}
    for image in (image for split in labelled.splits.values() for image in split):
        if image.label is not None and owners.setdefault(image.label, image.path) != image.path:
            raise LabelError(
                f"{owners[image.label]} and {image.path} share the label file {image.label}, so one of them has "
                "another image's. Rename one of the two, and make its label again."
            )
    missing = [image.path for image in train if image.label is None]
    if missing:
        warn(
            f"{len(missing)} of {len(train)} training images of {dataset.name} have no label in {folder!r}, the "
            f"first is {missing[0].name}. Finish them with `partreid labels make`."
        )
    return labelled


def _with_matches(dataset: ReIDDataset, path: Path, unmatched: Unmatched) -> ReIDDataset:
    """The set, checked for query sets without any match as ``unmatched`` says."""
    if unmatched not in get_args(Unmatched):
        raise ConfigError(f"Unknown unmatched {unmatched!r}. {nearest(str(unmatched), get_args(Unmatched))}")
    kept = dict(dataset.queries)
    for name, query in dataset.queries.items() if unmatched != "keep" else ():
        if len(queries_without_match(dataset, name)) < len(query):
            continue
        present = {image.pid for image in dataset.gallery}
        known = sum(image.pid in present for image in query)
        view, advice = "from another camera", "Check the ids of both."
        if query[0].camid is None:
            view = "in another file"
        elif known:
            advice = (
                f"{known} of them are there in the same camera only, which counts as junk. Where there is only one "
                "camera, or nobody knows them, give a table without the column camid (docs/data.md)."
            )
        problem = (
            f"Query set {name!r} of {path} has no match in the gallery: no query's identity is in it {view} "
            f"({len(query)} queries, {len(dataset.gallery)} gallery images). {advice}"
        )
        if unmatched == "raise":
            raise DataError(problem)
        warn(f"{problem} It is left out, and not evaluated.")
        del kept[name]
    return replace(dataset, queries=kept)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"Data set folder {path} does not exist. Check the path.")
    return path


def _recognised(path: Path) -> list[Layout]:
    """The layouts that a folder or table has, without variants on request."""
    if path.is_file():
        return [TABLE] * TABLE.fits(path)
    known = [layout for layout in LAYOUTS if not layout.on_request and layout.recognises(path)]
    return known or [FOLDER] * FOLDER.fits(path)


def _search(path: Path, accepted: Callable[[Path], list[Layout]], depth: int = _DEPTH) -> tuple[FoundDataset, ...]:
    try:
        here = tuple(FoundDataset(layout, path) for layout in accepted(path))
        if here or depth == 0 or not path.is_dir():
            return here
        deeper = subfolders(path)
    except PermissionError:  # a disk's lost+found, somebody else's folder
        return ()
    return tuple(found for folder in deeper for found in _search(folder, accepted, depth - 1))


def _locate_named(key: str, path: Path) -> FoundDataset:
    if key not in _BY_KEY:
        raise DataError(f"No data set is called {key!r}. {nearest(key, _BY_KEY)}")
    layout = _BY_KEY[key]
    found = _search(_existing(path), lambda folder: [layout] * layout.recognises(folder))
    if not found:  # a folder of another name, unless it is another known set's
        found = _search(path, lambda folder: [layout] * (layout.fits(folder) and _recognised(folder) in ([FOLDER], [])))
    return _only(found, path, layout)


def _only(found: tuple[FoundDataset, ...], path: Path, wanted: Layout | None = None) -> FoundDataset:
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{path} holds several data sets. Choose one of them: {', '.join(one.spec for one in found)}")
    if path.is_file():
        raise DataError(f"{path} is a file, but no table. Expected a folder, a .csv or a .parquet file.")
    folders = ", ".join(folder.name for folder in subfolders(path)[:10]) or "no folder"
    if wanted is not None:
        raise DataError(f"{path} has no {wanted.name} ({wanted.key}): expected {wanted.holds}; found {folders}.")
    raise DataError(
        f"{path} holds no data set of a known layout: expected {FOLDER.holds}, a table (.csv, .parquet), or the folder "
        f"of a known set ({', '.join(_BY_KEY)}); found {folders}. If each of these is a person: {PERSONS.key}={path}."
    )
