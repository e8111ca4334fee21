"""Text files with a row of values between spaces for each box: of an image each in a folder, or of a whole video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from partreid.errors import DataError

NAMES = ("classes.txt", "obj.names", "labels.txt")
"""Files beside YOLO's, and CVAT's, that name the classes, a line for each."""


def text_files(path: Path) -> list[Path]:
    """The file itself, or those of a folder that may hold boxes, by name."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.glob("*.txt") if file.name not in NAMES and not file.name.startswith("."))


def text_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the values of each line that holds any.

    Raises:
        DataError: it is no text.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if cells := line.split():
                    yield number, cells
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{file} cannot be read as text in UTF-8: {error}. Save it again.") from None
