"""Where a table of boxes has its columns: by the names in its first line, or in MOTChallenge's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from partreid.errors import DataError

COLUMNS = ("frame", "track", "x1", "y1", "x2", "y2")
"""Columns of a CSV file, by the names we give them."""

BoxForm = Literal["xyxy", "xywh"]
"""The four numbers of a box: two corners, or the upper left corner with width and height."""

MOT = "frame, id, left, top, width, height[, confidence, ...]"

_FRAME = ("frame", "frame_index", "frame_idx", "frame_id", "frame_number", "frame_num", "frame_no")
_FROM_0 = ("frame", "frame_index", "frame_idx")
_TRACK = ("track", "track_id", "tracker_id", "trackid", "id")
_BOX: tuple[tuple[BoxForm, tuple[str, ...]], ...] = (
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("x_min", "y_min", "x_max", "y_max")),
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("xywh", ("bb_left", "bb_top", "bb_width", "bb_height")),
    ("xywh", ("left", "top", "width", "height")),
)
_CONFIDENCE = ("confidence", "conf", "score")
_KIND = ("class_name", "class", "class_id", "cls", "category", "category_id", "label", "object_class")
_SOURCE = frozenset(
    ("video", "video_name", "video_id", "camera", "camera_id", "cam", "cam_id", "camid", "sequence", "seq")
)
_VISIBLE = ("visibility",)


@dataclass(frozen=True)
class BoxColumns:
    """Where the values of a row stand.

    Attributes:
        frame, track, box, confidence, kind, visible: positions; None where there is none. kind: the class.
        form: of the box. first_frame: the number of the first frame, 0 or 1; None where the names do not say it.
        sources: of what tells videos or cameras apart. count: how many the first line names.
        mot: MOTChallenge's order without names, where the meaning of the columns behind the seventh depends on how
            many there are.
        note: what was read as what, where it is not one of the two documented formats.
    """

    frame: int
    track: int
    box: tuple[int, int, int, int]
    form: BoxForm
    first_frame: int | None
    confidence: int | None
    kind: int | None
    visible: int | None
    sources: tuple[int, ...] = ()
    count: int = 0
    mot: bool = False
    note: str = ""

    @property
    def least(self) -> int:
        """How many values a row has at least."""
        return max(self.frame, self.track, *self.box) + 1


MOT_COLUMNS = BoxColumns(0, 1, (2, 3, 4, 5), "xywh", 1, 6, 7, 8, mot=True)


def named_columns(cells: Sequence[str], source: str) -> BoxColumns | None:
    """The columns that a first line names; None where it names too few.

    Raises:
        DataError: a name that is needed stands there twice.
    """
    names = [cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in cells]

    def find(known: Sequence[str]) -> int | None:
        name = next((name for name in known if name in names), None)
        if name is not None and names.count(name) > 1:
            raise DataError(f"{source}: the first line names the column {name!r} twice. Rename or remove one of them.")
        return None if name is None else names.index(name)

    form, box = next(((form, box) for form, box in _BOX if set(box) <= set(names)), ("xyxy", ()))
    frame, track, places = find(_FRAME), find(_TRACK), [find([name]) for name in box]
    if frame is None or track is None or not box:
        return None
    x1, y1, x2, y2 = (place for place in places if place is not None)
    used = [names[frame], names[track], *box]
    first: int | None = 0 if names[frame] in _FROM_0 and (form == "xyxy" or names[frame] != "frame") else None
    if box[0] == "bb_left" and names[frame] == "frame":
        first = 1  # MOTChallenge's own names
    note = "" if used == list(COLUMNS) else f"{source}: read the columns {', '.join(used)}"
    more = find(_CONFIDENCE), find(_KIND), find(_VISIBLE)
    sources = tuple(place for place, name in enumerate(names) if name in _SOURCE)
    return BoxColumns(frame, track, (x1, y1, x2, y2), form, first, *more, sources, count=len(names), note=note)
