"""Frames of a video as images in a folder; the numbers in their names identify the frames."""

from __future__ import annotations

import configparser
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from partreid.datasets.readers.common import list_images, own_name
from partreid.errors import ConfigError, DataError, warn
from partreid.objects import Guided

SEQINFO = "seqinfo.ini"
"""MOTChallenge's description of a sequence, beside the folder of its frames."""

_NO_NAMES = frozenset(("img1", "img", "imgs", "images", "frames", "jpg", "png", "rgb", "color"))
"""Usual names of folders of frames. They do not name the video, so the folder above gives its name."""


@dataclass(frozen=True, repr=False)
class FrameFolder(Guided):
    """Images of a folder as frames.

    Attributes:
        folder: their folder. files: in the order of their numbers. numbers: of each, from 0.
        rate: frames per second; None = unknown. size: (width, height) from seqinfo.ini; None = unknown.

    Example:
        >>> FrameFolder.open("MOT17-02/img1", fps=30).numbers[:3]  # doctest: +SKIP
        (0, 1, 2)
    """

    folder: Path
    files: tuple[Path, ...]
    numbers: tuple[int, ...]
    rate: float | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def open(
        cls, path: str | Path, *, fps: float | None = None, first: int | None = None, in_order: bool = False
    ) -> FrameFolder:
        """The frames in a folder. For a sequence of MOTChallenge, its seqinfo.ini applies.

        A frame's number is the only number that differs between the names. Frame 0 has number 0 or 1 if the first image
        has it, and 1 in a sequence of MOTChallenge. Warnings report missing frames and files that are not frames.

        Args:
            path: the folder, or that of a sequence. fps: frames per second; None = that of seqinfo.ini.
            first: the number of frame 0, for a folder that does not begin with 0 or 1.
            in_order: number the images in the order of their names, whatever numbers the names contain.

        Raises:
            DataError: there is no image, names have no number or several differing ones, two images have the same
                number, or the number of frame 0 is unknown; the message names the files.
            ConfigError: ``fps`` is not above 0, or ``first`` is not a whole number of at least 0.
        """
        if fps is not None and not (isinstance(fps, Real) and fps is not True and math.isfinite(fps) and fps > 0):
            raise ConfigError(f"Frames per second are a number above 0, got {fps!r:.80}.")
        if first is not None and (not isinstance(first, Integral) or isinstance(first, bool) or first < 0):
            raise ConfigError(f"The first frame's number is a whole number of at least 0, got {first!r:.80}.")
        folder, info = _sequence(Path(path))
        files = list_images(folder)
        extension = info.get("imext", "").strip().lower()
        files = [
            file for file in files if file.suffix.lower().removeprefix(".") == extension.removeprefix(".")
        ] or files
        keys = _keys(folder, files, in_order=in_order)
        order = sorted(range(len(files)), key=lambda i: keys[i])
        files, keys = [files[i] for i in order], [keys[i] for i in order]
        if same := next((i for i in range(1, len(files)) if keys[i] == keys[i - 1]), 0):
            raise DataError(
                f"{files[same].parent}: {files[same - 1].name} and {files[same].name} are the same frame. Keep one "
                f"kind of image there; {SEQINFO} may say which (imExt)."
            )
        if in_order:
            numbers = tuple(range(len(files)))
        else:
            found = [int(key[0]) for key in keys]
            base = _first(files[0], found[0], 1 if info else first)
            numbers = tuple(number - base for number in found)
        told = _number(info, "framerate", folder)
        notes = _notes(files, numbers, in_order=in_order, length=_number(info, "seqlength", folder))
        if fps and told and fps != told:
            notes.append(f"{folder}: {fps:g} frames a second as asked for, though {SEQINFO} says {told:g}")
        for note in notes:
            warn(f"{note}.")
        width, height = _number(info, "imwidth", folder), _number(info, "imheight", folder)
        size = (int(width), int(height)) if width and height else None
        return cls(folder, tuple(files), numbers, fps or told, size)

    def seconds(self, number: int) -> float | None:
        """Seconds from frame 0 to this frame; None = unknown."""
        return None if self.rate is None else number / self.rate


def video_name(path: str | Path) -> str:
    """The name of a video: its file without the suffix, or the full name of its folder. For a sequence of MOTChallenge,
    or if the folder is called "frames" or similar, it is the name of the parent folder.

    Example:
        >>> video_name("films/hall.mp4"), video_name("MOT17-02/img1")
        ('hall', 'MOT17-02')
    """
    path = Path(path)
    name = own_name(path)
    if path.is_file() or (not path.is_dir() and path.suffix):
        return Path(name).stem
    above = own_name(path.absolute().parent)
    return above if above and (name.lower() in _NO_NAMES or _is_part(path)) else name


def video_path(path: str | Path) -> Path:
    """The canonical path of a video: absolute, with links resolved; for a sequence, that of its frames.

    Raises:
        DataError: the path cannot be followed.
    """
    try:
        return (_sequence(Path(path))[0] if Path(path).is_dir() else Path(path)).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"Cannot follow the path {str(path)!r:.200}: {error}.") from None


def _is_part(folder: Path) -> bool:
    """Whether a folder holds the frames of the sequence above it."""
    info = _read(folder.absolute().parent / SEQINFO)
    return bool(info) and info.get("imdir", "img1").strip().strip("/") == own_name(folder)


def _sequence(path: Path) -> tuple[Path, dict[str, str]]:
    """The folder of the frames, and what seqinfo.ini says."""
    if info := _read(path / SEQINFO):
        inner = path / info.get("imdir", "img1").strip().strip("/")
        return inner if inner.is_dir() else path, info
    return path, _read(path.absolute().parent / SEQINFO) if _is_part(path) else {}


def _read(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if not file.is_file():
            return {}
        parser.read_string(file.read_text(encoding="utf-8-sig"))
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError, OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{file} is no {SEQINFO} of MOTChallenge: {error}. Mend it, or move it away.") from None


def _number(info: dict[str, str], key: str, folder: Path) -> float | None:
    text = info.get(key, "").strip()
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not (math.isfinite(value) and value > 0):
        raise DataError(f"{SEQINFO} of {folder}: expected a number above 0 as {key}, got {text[:40]!r}. Mend it.")
    return value


def _keys(folder: Path, files: Sequence[Path], *, in_order: bool) -> list[tuple[int | str, ...]]:
    """What each image is sorted by: the number of its frame, or all of its name where only the order counts."""
    names = [re.split("([0-9]+)", file.stem) for file in files]
    if in_order:  # words and numbers take turns, so that 2 comes before 10
        return [tuple(int(part) if i % 2 else part for i, part in enumerate(name)) for name in names]
    hint = "Move what is no frame elsewhere, or take all images in the order of their names: --in-order (in_order=)."
    words = [tuple(name[::2]) for name in names]
    usual = Counter(words).most_common(1)[0][0]
    if odd := [file.name for file, word in zip(files, words, strict=True) if word != usual]:
        raise DataError(
            f"{folder}: {odd[0]} and {files[words.index(usual)].name} are not named alike, as frames of one video are. "
            f"{hint}"
        )
    if len(usual) == 1:
        raise DataError(f"{folder}: {files[0].name} has no number in its name, to say which frame it is. {hint}")
    numbers = [tuple(map(int, name[1::2])) for name in names]
    changing = [i for i, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
    if len(changing) > 1:
        raise DataError(
            f"{folder}: more than one number differs between names such as {files[0].name} and {files[-1].name}, and "
            f"one of them must be the frame's. {hint}"
        )
    return [(number[changing[0] if changing else -1],) for number in numbers]


def _first(file: Path, lowest: int, first: int | None) -> int:
    """The number that frame 0 has."""
    if lowest in (0, 1):
        return lowest
    if first is None:
        raise DataError(
            f"{file.parent} begins with {file.name}. Say whether its numbers count from 0 or from 1 (first= of "
            "FrameFolder.open), or take the images in the order of their names (in_order=)."
        )
    if lowest < first:
        raise DataError(f"{file.parent} begins with {file.name}, below the number of the first frame, {first}.")
    return first


def _notes(files: Sequence[Path], numbers: Sequence[int], *, in_order: bool, length: float | None) -> list[str]:
    """Notes on the order, on missing frames, and on files that are no frames."""
    folder, there = files[0].parent, set(numbers)
    notes = [f"{folder}: images are frames in the order of their names"] if in_order else []
    if length is not None and not in_order and numbers[-1] >= length:
        notes.append(f"{folder}: {SEQINFO} says that there are {length:g} frames, but they go on to {files[-1].name}")
    last = max(numbers[-1] + 1, 0 if length is None or in_order else int(length))
    if (missing := last - len(there)) > 0:
        gap = next(number for number in range(last) if number not in there)
        notes.append(f"{folder}: {missing} of {last} frames are missing, the first is frame {gap} (counted from 0)")
    used = {file.name for file in files}
    others = Counter(
        file.suffix.lower() or file.name
        for file in sorted(folder.iterdir())
        if file.name not in used and not file.name.startswith(".") and not file.is_dir()
    )
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        notes.append(f"{folder}: other files are no frames: {kinds}")
    return notes
