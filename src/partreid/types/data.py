"""Images and data sets, as readers return them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TypeAlias

from partreid.errors import DataError, ShapeError
from partreid.objects import Guided, guided, html_table
from partreid.types._id_values import as_id, is_unknown

Identity: TypeAlias = tuple[str, int]
"""A person among several sets: (the set's name, the set's own person id)."""


@dataclass(frozen=True)
class ReIDImage(Guided):
    """One image of a data set.

    Attributes:
        path: the image's file.
        pid: the set's own person id; -1 for junk, an image of no particular person.
        camid: the set's own camera, 0-based; None (or NaN) where cameras are unknown.
        label: file with pose fields or a label map, or None.
        occlusion: hidden fraction of the person, in [0, 1]; None = unknown.
        dataset: the set's name; empty for an image that belongs to none.
        camera: the set's name of the camera, if it is not the number counted from 1.

    Raises:
        DataError: the person is not a whole number, the camera not a whole number of at least 0, or the hidden fraction
            not in [0, 1].
    """

    path: Path
    pid: int
    camid: int | None = None
    label: Path | None = None
    occlusion: float | None = None
    dataset: str = ""
    camera: str = field(default="", compare=False)

    @property
    def camera_name(self) -> str:
        """The camera's name as the set writes it; "" if cameras are unknown.

        File names count cameras from 1, ``camid`` counts from 0; your own tables keep their numbers.

        Example:
            >>> ReIDImage(Path("0002_c1s1_000451_03.jpg"), 2, 0).camera_name
            '1'
        """
        return "" if self.camid is None else self.camera or str(self.camid + 1)

    def __post_init__(self) -> None:
        if type(self.pid) is not int:  # of another type of numbers
            object.__setattr__(self, "pid", self._number("pid"))
        if self.camid is not None and (type(self.camid) is not int or self.camid < 0):
            object.__setattr__(self, "camid", self._number("camid"))
        if self.occlusion is not None and not (type(self.occlusion) is float and 0 <= self.occlusion <= 1):
            object.__setattr__(self, "occlusion", self._fraction(self.occlusion))

    def _fraction(self, value: object) -> float | None:
        """The hidden fraction as Python's own number, None where an unknown one has another name."""
        if is_unknown(value):
            return None
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
            raise DataError(f"{self.path}: expected occlusion as a number in [0, 1], got {value!r:.80}.")
        return float(value)

    def _number(self, name: str) -> int | None:
        """A field as Python's own whole number, None where an unknown camera has another name."""
        came: object = getattr(self, name)
        try:
            number = as_id(came)
        except ShapeError as error:
            raise DataError(f"{self.path}: {name}: {error}") from None
        if number is None and name == "camid":
            return None
        if not isinstance(number, int):
            raise DataError(f"{self.path}: expected {name} to be a whole number, got {came!r:.80}. Number them.")
        if name == "camid" and number < 0:
            raise DataError(f"{self.path}: cameras are counted from 0, got {number}. Give None where it is unknown.")
        return number

    @property
    def identity(self) -> Identity:
        """The person among several sets."""
        return self.dataset, self.pid

    @property
    def view(self) -> int | Path:
        """The camera, or the file if cameras are unknown. A query and its match must have different views.

        A gallery image of the query's person and view is junk.
        """
        return self.path if self.camid is None else self.camid


@guided
def identities(images: Iterable[ReIDImage]) -> tuple[Identity, ...]:
    """The identities on images in ascending order: ``pid_index``, the training class, is the position in it.

    Raises:
        DataError: an image is junk (its person is below 0), because junk images do not show one person.
    """
    found = set()
    for image in images:
        if image.pid < 0:
            raise DataError(
                f"{image.path} has pid {image.pid}, so it is junk and shows nobody in particular. Leave it out."
            )
        found.add(image.identity)
    return tuple(sorted(found))


@dataclass(frozen=True, repr=False)
class LabelNaming(Guided):
    """The names of a set's published label files.

    Attributes:
        name: of the file, from ``{stem}`` and ``{name}``, the image's name without and with its suffix.
        leaves_out_id_folder: whether their path lacks the image's own folder, which is named after the person.
    """

    name: str = "{stem}.npy"
    leaves_out_id_folder: bool = False


@dataclass(frozen=True, repr=False)
class ReIDDataset(Guided):
    """A data set: training images, and query sets to be searched in one gallery. Splits may be empty.

    Attributes:
        name: for messages and results. root: its folder.
        train: training images. gallery: gallery images (distractors included, junk already dropped).
        queries: query images by the name of the query set; the first is the default.
        label_naming: how its published labels are called.

    Raises:
        DataError: some images have a camera and some have none; an image is in a split twice, or is another person or
            camera in another split; a query set has the name of another split, or a name that files cannot have.
    """

    name: str
    root: Path
    train: tuple[ReIDImage, ...]
    gallery: tuple[ReIDImage, ...]
    queries: Mapping[str, tuple[ReIDImage, ...]]
    label_naming: LabelNaming = LabelNaming()

    def __post_init__(self) -> None:
        for taken in {"train", "gallery"} & self.queries.keys():
            raise DataError(f"{self.name}: a query set cannot be called {taken!r}, as that is another split.")
        for name in self.queries:
            if not name or name.startswith(".") or set(name) & set("/\\"):
                raise DataError(f"{self.name}: a query set names files of results, which cannot be called {name!r}.")
        self._check_paths()
        images = [image for split in self.splits.values() for image in split]
        unknown = [image for image in images if image.camid is None]
        if unknown and len(unknown) < len(images):
            raise DataError(
                f"{self.name}: expected a camera for every image or for none, but {len(unknown)} of {len(images)} "
                f"have none, the first is {unknown[0].path}. Fill them in, or leave all of them out."
            )

    def _check_paths(self) -> None:
        known: dict[Path, ReIDImage] = {}
        for name, split in self.splits.items():
            paths = {image.path for image in split}
            if len(paths) < len(split):
                path, count = Counter(image.path for image in split).most_common(1)[0]
                raise DataError(f"{self.name}: {path} is in {name} {count} times. An image counts once: list it once.")
            for image in split:
                first = known.setdefault(image.path, image)
                if (first.pid, first.camid) != (image.pid, image.camid):
                    raise DataError(
                        f"{self.name}: {image.path} has pid {first.pid}, camid {first.camid} in one split and pid "
                        f"{image.pid}, camid {image.camid} in {name}. Correct one."
                    )

    @property
    def splits(self) -> dict[str, tuple[ReIDImage, ...]]:
        """All splits by name: train, gallery, then the query sets."""
        return {"train": self.train, "gallery": self.gallery, **self.queries}

    @property
    def query(self) -> tuple[ReIDImage, ...]:
        """The default query set.

        Raises:
            DataError: there is none.
        """
        if not self.queries:
            raise DataError(f"{self.name} ({self.root}) has no query images, so it cannot be evaluated.")
        return next(iter(self.queries.values()))

    def subset(self, *, ids: int) -> ReIDDataset:
        """A smaller set for quick trials, with the given number of first identities of training and of test.

        Test identities are those that queries and gallery share; all query sets and the gallery are limited to them, so
        distractors and empty query sets are left out. Scores on such a set are higher than on the whole set. Its name
        shows this: ``Market-1501[100 ids]``. A set without more identities is returned unchanged.

        Raises:
            DataError: the number is not at least 1.
        """
        if isinstance(ids, bool) or not isinstance(ids, Integral) or ids < 1:
            raise DataError(f"Expected a number of identities of at least 1, got {ids!r:.80}.")
        count = int(ids)
        train = sorted({image.pid for image in self.train})
        tested = {image.pid for query in self.queries.values() for image in query}
        test = sorted(tested & {image.pid for image in self.gallery})
        if count >= max(len(train), len(test)):
            return self

        def of(images: tuple[ReIDImage, ...], pids: list[int]) -> tuple[ReIDImage, ...]:
            kept = set(pids[:count])
            return tuple(image for image in images if image.pid in kept)

        queries = {name: of(query, test) for name, query in self.queries.items()}
        return replace(
            self,
            name=f"{self.name}[{count} ids]",
            train=of(self.train, train),
            gallery=of(self.gallery, test),
            queries={name: query for name, query in queries.items() if query},
        )

    @property
    def train_identities(self) -> tuple[Identity, ...]:
        """The training identities, as :func:`identities`."""
        return identities(self.train)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {len(split)}" for name, split in self.splits.items())
        return f"ReIDDataset({self.name!r}, images of {splits}; in {self.root})"[:500]

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                len(split),
                len({image.pid for image in split}),
                len({image.camid for image in split} - {None}) or "?",
            )
            for name, split in self.splits.items()
        ]
        return html_table(f"{self.name} ({self.root})", ("split", "images", "persons", "cameras"), rows)
