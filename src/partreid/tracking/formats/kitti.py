"""KITTI's label files: of its tracking benchmark a file for each sequence, of its detection one for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows, as_number, frame_of, number_of, value_of
from partreid.tracking.formats.text_folder import text_files, text_rows

_OF_IMAGE = 15  # type, truncated, occluded, alpha, left, top, right, bottom, 7 of the box in space; a score behind
_OF_SEQUENCE = 2 + _OF_IMAGE  # frame and track before them


def is_kitti(cells: Sequence[str]) -> bool:
    """Whether the values of a line are KITTI's."""
    return _kind_at(cells) is not None


def _kind_at(cells: Sequence[str]) -> int | None:
    """Where the type stands, a word; None in a line that is not KITTI's."""
    place = {_OF_IMAGE: 0, _OF_IMAGE + 1: 0, _OF_SEQUENCE: 2, _OF_SEQUENCE + 1: 2}.get(len(cells))
    word = (
        place is not None
        and cells[place][:1].isalpha()
        and all(as_number(cell) == as_number(cell) for i, cell in enumerate(cells) if i != place)
    )
    return place if word else None


def read_kitti(path: Path) -> BoxRows:
    """All rows. Frames and pixels count from 0; a track of -1 is none, and the type is the class.

    How far an object is truncated and occluded is not used: these are levels, and none of them says that nobody is to
    be seen.

    Raises:
        DataError: a line is not KITTI's, or files of several sequences lie in a folder.
    """
    rows = BoxRows(path, "xyxy")
    for file in text_files(path):
        for number, cells in text_rows(file):
            where = f"{file}, line {number}"
            at = _kind_at(cells)
            if at is None:
                raise DataError(
                    f"{where}: expected KITTI's {_OF_SEQUENCE} values (frame, track, type, truncated, occluded, alpha, "
                    f"left, top, right, bottom, ...) or the {_OF_IMAGE} from the type on, and a score behind them if "
                    f"any; got {len(cells)}: {' '.join(cells)[:60]}."
                )
            if path.is_dir() and at:
                raise DataError(f"{file} is of a sequence, and others lie beside it. Give the file of one sequence.")
            score = value_of(cells[-1], where) if len(cells) == at + _OF_IMAGE + 1 else float("nan")
            rows.add(
                number,
                [number_of(cell, where) for cell in cells[at + 4 : at + 8]],
                frame=frame_of(cells[0], where, 0) if at else 0,
                image="" if at else file.stem,
                track=cells[1] if at else "",
                kind=cells[at],
                confidence=score,
                file=str(file) if path.is_dir() else "",
            )
    return rows
