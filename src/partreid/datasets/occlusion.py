"""Queries hidden on purpose: other people or things pasted over them, to measure what occlusion costs.

A new data set is written: the queries as they are, the same queries under each kind of occluder, and the gallery of the
original set. The seed decides everything.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from partreid.base_config import ConfigModel
from partreid.datasets.batch_config import PasteConfig
from partreid.datasets.images import read_image, resize
from partreid.datasets.paste import CUT_THRESHOLD, placed, placement
from partreid.errors import DataError, LabelError
from partreid.files import atomic_folder
from partreid.labels.fields import read_pose_fields
from partreid.progress import Advance
from partreid.types import ReIDDataset, ReIDImage

TABLE = "dataset.csv"
"""The table of the set that is written, within its folder."""

_ORIGINAL = "original"  # a link to the set that the images come from
_PLACES = PasteConfig(aside=(0.15, 0.6), down=(-0.2, 0.5), scale=(1.0, 1.8))
_TRIES = 1000  # people and places tried for one query
_PATCH = 0.25  # side of the piece of another image that covers a thing, as a fraction: too small to show a person

Pixels = NDArray[np.uint8]


class OcclusionConfig(ConfigModel):
    """How queries are hidden."""

    occluders: tuple[Literal["people", "objects"], ...] = ("people", "objects")
    """A query set for each: "people", cut out of gallery images of others along their pose fields; "objects",
    boxes that reach the lower edge or a side."""
    least: Annotated[float, Field(gt=0, lt=1)] = 0.35
    """Smallest fraction of a query's pixels that is hidden."""
    most: Annotated[float, Field(gt=0, lt=1)] = 0.60
    """Largest fraction of a query's pixels that is hidden."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of who and what is pasted, and where."""

    @model_validator(mode="after")
    def _is_a_range(self) -> OcclusionConfig:
        if self.least > self.most:
            raise ValueError(f"least = {self.least} must not exceed most = {self.most}")
        return self


def write_occluded_queries(
    dataset: ReIDDataset,
    out: str | Path,
    config: OcclusionConfig | None = None,
    *,
    advance: Advance = lambda count: None,
) -> Path:
    """Write a data set with the queries of ``dataset``, whole and hidden.

    Args:
        dataset: with queries and a gallery; people are cut out of gallery images that have label files.
        out: folder to write, which must not exist. Its gallery is a link to that of ``dataset``.
        config: the occluders and how much they hide. advance: called for every image.

    Returns:
        The table of the new set, for ``read_dataset``: query sets ``query`` (whole), ``people``, ``objects``.

    Raises:
        DataError: there are no queries, ``out`` exists or cannot be written, or an image cannot be read.
        LabelError: people are asked for, and no gallery image has a label of pose fields.
    """
    config, out = config or OcclusionConfig(), Path(out)
    queries, root = dataset.query, dataset.root.resolve()
    if out.exists():
        raise DataError(f"{out} is already there. Choose another folder, or remove it.")
    donors = [image for image in dataset.gallery if image.label is not None]
    if "people" in config.occluders and not donors:
        raise LabelError(
            f"To cut people out, gallery images of {dataset.name} need labels, and none has one. Make some with "
            "`partreid labels make DATA --split gallery --limit 2000`, or ask for objects only."
        )
    rows = [_row(image, Path(_ORIGINAL) / image.path.resolve().relative_to(root), split)
            for split, images in (("query", queries), ("gallery", dataset.gallery)) for image in images]  # fmt: skip
    with atomic_folder(out, error=DataError) as folder:
        _link(folder / _ORIGINAL, root)
        for kind in config.occluders:
            (folder / kind).mkdir()
            for number, query in enumerate(queries):
                random = np.random.default_rng([config.seed, kind == "people", number])
                pixels = read_image(query.path)
                if kind == "people":
                    hidden = hide_behind_person(pixels, _others(donors, query, random), config, random)
                else:
                    hidden = hide_behind_object(pixels, next(_others(dataset.gallery, query, random)), config, random)
                name = Path(kind) / f"{number:05d}_{query.path.stem}.png"  # stems need not be unique
                Image.fromarray(hidden).save(folder / name)
                rows.append(_row(query, name, f"query_{kind}"))
                advance(1)
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, fieldnames=("path", "pid", "split", "camid"))
            table.writeheader()
            table.writerows(rows)
    return out / TABLE


def hide_behind_person(
    image: Pixels, others: Iterator[ReIDImage], config: OcclusionConfig, random: np.random.Generator
) -> Pixels:
    """Paste a person over an image [H, W, 3], beside its middle and somewhat nearer to the camera.

    Raises:
        DataError: none of many tries hides as much as requested.
    """
    height, width = image.shape[:2]
    for _, other in zip(range(_TRIES), others, strict=False):
        assert other.label is not None
        fields = torch.from_numpy(read_pose_fields(other.label)).amax(dim=0)[None, None]
        where = placement(torch.from_numpy(random.random((1, 4))).float(), _PLACES)
        mask = placed(fields, where, image.shape[:2])[0, 0] > CUT_THRESHOLD
        if config.least <= float(mask.float().mean()) <= config.most:
            pixels = torch.from_numpy(resize(read_image(other.path), (height, width)).copy()).permute(2, 0, 1)
            moved = placed(pixels[None].float(), where, image.shape[:2])[0].round().to(torch.uint8)
            return np.where(mask.numpy()[:, :, None], moved.permute(1, 2, 0).numpy(), image)
    raise DataError(
        f"Nobody hides {config.least:.0%} to {config.most:.0%} of an image of {height}×{width} pixels, tried {_TRIES} "
        "places. Widen the range, or label more gallery images."
    )


def hide_behind_object(image: Pixels, other: ReIDImage, config: OcclusionConfig, random: np.random.Generator) -> Pixels:
    """Paste a box over an image [H, W, 3], standing at the lower edge or reaching in from a side.

    Its surface is a small piece of the other image, enlarged.
    """
    height, width = image.shape[:2]
    share = random.uniform(config.least, config.most)
    tall = random.uniform(share, 1)  # fraction of the height; the width follows
    rows, columns = round(height * tall), round(width * share / tall)
    edge = random.choice(["bottom", "left", "right"])
    top = height - rows if edge == "bottom" else int(random.integers(0, height - rows + 1))
    left = {"left": 0, "right": width - columns}.get(edge, int(random.integers(0, width - columns + 1)))
    surface = read_image(other.path)
    sides = [max(1, round(side * _PATCH)) for side in surface.shape[:2]]
    y, x = (int(random.integers(0, whole - side + 1)) for whole, side in zip(surface.shape, sides, strict=False))
    result = image.copy()
    patch = np.ascontiguousarray(surface[y : y + sides[0], x : x + sides[1]])
    result[top : top + rows, left : left + columns] = resize(patch, (rows, columns))
    return result


def _link(place: Path, root: Path) -> None:
    """Make a link to a folder; Windows lets only developers."""
    try:
        place.symlink_to(root, target_is_directory=True)
    except OSError as problem:
        raise DataError(
            f"Cannot make a link to {root}: {problem.strerror or problem}. Choose a folder on a disk that has links. "
            "On Windows, switch on the developer mode, which allows them."
        ) from None


def _others(images: Sequence[ReIDImage], query: ReIDImage, random: np.random.Generator) -> Iterator[ReIDImage]:
    """Images of other persons, drawn again and again."""
    if all(image.pid == query.pid for image in images):
        raise DataError(f"Every gallery image that could hide {query.path} shows the same person. Add others.")
    while True:
        image = images[int(random.integers(len(images)))]
        if image.pid != query.pid:
            yield image


def _row(image: ReIDImage, path: Path, split: str) -> dict[str, object]:
    camera = "" if image.camid is None else image.camid
    return {"path": path.as_posix(), "pid": image.pid, "split": split, "camid": camera}
