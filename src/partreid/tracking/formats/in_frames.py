"""Which frame each row of a table is of, where the table names images, and where boxes lie in its pixels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.images import IMAGE_SUFFIXES, read_image
from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows
from partreid.tracking.frame_folder import FrameFolder
from partreid.tracking.video import iter_frames

Frames = Path | FrameFolder | None
"""What a table belongs to: a video file or a folder of images; None = it was not told."""


def open_images(path: Path, rows: BoxRows, first_frame: int | None, *, loose: bool) -> FrameFolder:
    """The images of a folder as frames; with ``loose`` also images that are none, if the rows name any of them.

    Raises:
        DataError: as :meth:`FrameFolder.open`.
    """
    try:
        return FrameFolder.open(path, first=first_frame)
    except DataError:
        if not loose or not rows.images:
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the order means nothing, and there is no time
            folder = replace(FrameFolder.open(path, in_order=True), rate=None)
        if not _in_folder(_bases(rows), folder):
            raise
        return folder


def named_frames(rows: BoxRows, frames: Frames, first_frame: int | None) -> tuple[NDArray[np.int64], int, str, bool]:
    """[N] the frame of each row of a table that names images, -1 where there is none of that name; the number of the
    first frame; what is to be said of it; and whether images of the folder are meant by their names.

    Images of a folder are found by their names, with or without folder and suffix, or by the same number. Where none
    is, names without a suffix, and those of a video, are told by the number at their end.

    Raises:
        DataError: images of several folders have one name, or names tell no frame.
    """
    bases = _bases(rows)
    names = list(bases)
    if len(set(bases.values())) < len(bases):
        one = next(name for name in names if list(bases.values()).count(bases[name]) > 1)
        raise DataError(
            f"{rows.path} names several images {bases[one]!r}, in other folders. Give a table for each folder."
        )
    if isinstance(frames, FrameFolder):
        found = _in_folder(bases, frames)
        if found:
            numbers = np.array([found.get(name, -1) for name in rows.images], np.int64)
            return numbers, first_frame or 0, _by_value(rows, bases, found, frames), True
        if any(Path(base).suffix.lower() in IMAGE_SUFFIXES for base in bases.values()):
            raise DataError(
                f"{rows.path} names images such as {names[0]!r:.60}, and none of its {len(names)} is in "
                f"{frames.folder}, which holds {frames.files[0].name} and others. Give the images of the boxes."
            )
    if (
        first_frame is None
        and isinstance(frames, Path)
        and all(b.startswith(f"{frames.stem}_") for b in bases.values())
    ):
        first_frame = 1  # ultralytics calls the text of a video's first frame VIDEO_1.txt
    return *_by_number(rows, bases, first_frame), False


def _in_folder(bases: Mapping[str, str], frames: FrameFolder) -> dict[str, int]:
    """The numbers of the frames whose images are named."""
    files = {file.name: number for file, number in zip(frames.files, frames.numbers, strict=True)}
    stems: dict[str, int | None] = {}
    for name, number in files.items():
        stem = _plain(name)
        stems[stem] = None if stem in stems else number  # None: of several, so of none
    found = {name: files.get(base, stems.get(_plain(base))) for name, base in bases.items()}
    return {name: number for name, number in found.items() if number is not None}


def _bases(rows: BoxRows) -> dict[str, str]:
    """The images that rows name, without folders."""
    return {name: PurePosixPath(name.replace("\\", "/")).name for name in dict.fromkeys(rows.images)}


def _by_value(rows: BoxRows, bases: Mapping[str, str], found: Mapping[str, int], frames: FrameFolder) -> str:
    """What is to be said where a number is taken for an image's name: it may be one of another list."""
    files = dict(zip(frames.numbers, frames.files, strict=True))
    name = next((name for name in found if bases[name].isdecimal() and bases[name] != files[found[name]].stem), None)
    return "" if name is None else f"{rows.path}: the number {name} is taken for the image {files[found[name]].name}"


def _plain(base: str) -> str:
    """A name without its suffix; of a number without zeros before it."""
    stem = _without_suffix(base)
    return str(int(stem)) if stem.isdecimal() and len(stem) < 1000 else stem


def _without_suffix(base: str) -> str:
    return Path(base).stem if Path(base).suffix.lower() in IMAGE_SUFFIXES else base


def _by_number(rows: BoxRows, bases: Mapping[str, str], first_frame: int | None) -> tuple[NDArray[np.int64], int, str]:
    parts = {name: re.fullmatch(r"(.*?)(\d+)", _without_suffix(base)) for name, base in bases.items()}
    starts = {match[1] if match else None for match in parts.values()}
    if None in starts or len(starts) > 1 or any(len(match[2]) > 15 for match in parts.values() if match):
        some = ", ".join(repr(name) for name in list(bases)[:3])
        raise DataError(
            f"{rows.path} says which image a box is of by names such as {some:.120}, which do not end in the number "
            "of a frame. Give the folder of these images (frames=), or boxes of one video."
        )
    numbers = {name: int(match[2]) for name, match in parts.items() if match}
    lowest = min(numbers.values())
    first = 0 if first_frame is None and lowest == 0 else first_frame
    name = min(numbers, key=lambda name: numbers[name])
    if first is None:
        raise DataError(
            f"{rows.path} says which frame a box is of by names such as {name!r:.60}; whether they count from 0 or "
            "from 1 is not known. Say it with --first-frame 0 or 1 (first_frame=)."
        )
    if lowest < first:
        raise DataError(f"{rows.path}: {name!r:.60} is below the number of the first frame, {first}.")
    note = f"{rows.path}: {name!r:.60} is taken for frame {lowest - first} (counted from 0)"
    return np.array([numbers[name] - first for name in rows.images], np.int64), first, note


def frame_sizes(rows: BoxRows, numbers: NDArray[np.int64], frames: Frames, *, each: bool) -> dict[int, tuple[int, int]]:
    """(width, height) of the frames that rows of fractions are of: the first frame's, or with ``each`` its own.

    Raises:
        DataError: the frames are not given, or an image cannot be read.
    """
    used = sorted(set(numbers[numbers >= 0].tolist()))
    if frames is None:
        raise DataError(
            f"{rows.path} holds fractions of the image: its size in pixels is needed. Give the frames: read_boxes(..., "
            "frames=VIDEO)."
        )
    if isinstance(frames, FrameFolder):
        files = dict(zip(frames.numbers, frames.files, strict=True))
        if frames.size is not None:
            return dict.fromkeys(used, frames.size)
        wanted = [number for number in used if number in files]
        read = {number: _size(read_image(files[number])) for number in (wanted if each else wanted[:1])}
    else:
        read = {frame.number: _size(frame.pixels) for frame in _first(frames)}
    if not read:
        raise DataError(f"{rows.path}: no frame of the boxes is there. Do they belong to these frames?")
    return {number: read.get(number, next(iter(read.values()))) for number in used}


def _first(video: Path) -> list:  # type: ignore[type-arg]
    frames = iter_frames(video, on_error=lambda message: None)
    return [frame for frame, _ in zip(frames, range(1), strict=False)]


def _size(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]
