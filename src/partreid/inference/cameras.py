"""Finding the camera of an image, which adapted models need (``partreid.inference.adapting``)."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from os.path import abspath
from pathlib import Path
from typing import TypeAlias

import numpy as np

from partreid.datasets.readers.market1501 import parse_name
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.files import nameable, posix_name
from partreid.inference.inputs import ImageLike
from partreid.runners.adaptation import camera_text
from partreid.types import ReIDImage

Camera: TypeAlias = str | int
"""A camera's name or number."""

CameraOf: TypeAlias = Callable[[ImageLike], Camera | None]
"""Says which camera an image is of; None where it is unknown."""

Cameras: TypeAlias = Camera | Sequence[Camera | None] | CameraOf | None
"""One camera for all images, one for each in their order, or what says it of an image; None = entries of data sets say
theirs."""


def own_camera(image: ImageLike) -> str | None:
    """The camera of an entry of a data set, as the set writes it; None for any other image.

    Example:
        >>> own_camera(ReIDImage(Path("0002_c1s1_000451_03.jpg"), 2, 0)), own_camera(Path("0002_c1s1_000451_03.jpg"))
        ('1', None)
    """
    return (image.camera_name or None) if isinstance(image, ReIDImage) else None


def with_cameras(images: Iterator[ImageLike], cameras: Cameras) -> Iterator[tuple[ImageLike, str | None]]:
    """Each image with its camera's name, one at a time.

    Args:
        images: single images. cameras: their cameras; None uses those of entries of a data set.

    Raises:
        ShapeError: the numbers of cameras and images differ. DataError: a camera is neither text nor number.
    """
    if cameras is None:
        yield from ((image, own_camera(image)) for image in images)
    elif callable(cameras):
        yield from ((image, camera_text(cameras(image))) for image in images)
    elif np.ndim(cameras) == 0:  # type: ignore[arg-type]  # a column of any library has dimensions
        name = camera_text(cameras)
        yield from ((image, name) for image in images)
    else:
        names = [camera_text(camera) for camera in cameras]  # type: ignore[union-attr]
        number = 0
        for number, image in enumerate(images, 1):
            if number > len(names):
                raise ShapeError(f"Expected a camera for each image, got {len(names)}, and more images than that.")
            yield image, names[number - 1]
        if number < len(names):
            raise ShapeError(f"Expected a camera for each of {number} images, got {len(names)}.")


def cameras_from(rule: str) -> CameraOf:
    """A function from an image to its camera, made from a rule.

    Args:
        rule: "name" = from names such as 0002_c1s1_000451_03.jpg, as in data sets; "folder" = the name of the folder of
            the image; a table (``.csv``) with the columns path and camera; or a regular expression with a group
            ``camera``: ``(?P<camera>\\d+)``.

    Raises:
        ConfigError: it is none of these. DataError: the table cannot be read. The function raises a DataError that
            names the image if the rule does not give its camera.

    Example:
        >>> cameras_from("name")(Path("0002_c1s1_000451_03.jpg")), cameras_from("folder")("gate/7.jpg")
        ('1', 'gate')
        >>> cameras_from(r"cam(?P<camera>[a-z]+)")("7_camwest.jpg")
        'west'
    """
    if rule == "name":
        return lambda image: str(parse_name(_path(image))[1] + 1)
    if rule == "folder":
        return lambda image: Path(abspath(_path(image))).parent.name  # noqa: PTH100 - links keep their names
    if rule.endswith(".csv"):
        return _of_table(rule)
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigError(f"{rule!r:.200} is no regular expression: {error}.") from None
    if "camera" not in pattern.groupindex:
        raise ConfigError(
            "Expected name, folder, a table FILE.csv, or a regular expression with a group (?P<camera>...), got "
            f"{rule!r:.200}."
        )
    return lambda image: _matched(pattern, _path(image))


def _path(image: ImageLike) -> Path:
    if isinstance(image, ReIDImage):
        return image.path
    if isinstance(image, str | Path):
        return Path(image)
    raise DataError(f"Only a file's name tells its camera, got {type(image).__name__}. Give cameras=[...] instead.")


def _matched(pattern: re.Pattern[str], path: Path) -> str:
    match = pattern.search(posix_name(path))
    if match is None or not match["camera"]:
        raise DataError(f"The pattern {pattern.pattern!r} finds no camera in the name {path}. Give another.")
    return match["camera"]


def _of_table(rule: str) -> CameraOf:
    path = nameable(rule, error=DataError)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if not {"path", "camera"} <= set(rows.fieldnames or ()):
                raise DataError(f"{path}: expected the columns path and camera, got {rows.fieldnames}.")
            found = {abspath(path.parent / row["path"]): row["camera"] for row in rows if row["path"]}  # noqa: PTH100
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None

    def camera(image: ImageLike) -> str | None:
        file = abspath(_path(image))  # noqa: PTH100
        if file not in found:
            raise DataError(f"{path} does not name {file}. Its paths start from the folder that it lies in.")
        return found[file]

    return camera
