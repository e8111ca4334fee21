"""Which format a table of boxes has, told by its content, and its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from partreid.errors import ConfigError, DataError, nearest
from partreid.json_files import read_json
from partreid.tracking._box_rows import BoxRows
from partreid.tracking.formats.coco import is_coco, read_coco
from partreid.tracking.formats.cvat import read_cvat
from partreid.tracking.formats.kitti import is_kitti, read_kitti
from partreid.tracking.formats.separated import COLUMNS, MOT, looks_like_rows, read_records, read_separated
from partreid.tracking.formats.text_folder import text_files, text_rows
from partreid.tracking.formats.yolo import is_yolo, read_yolo

BoxFormat = Literal["csv", "mot", "kitti", "yolo", "yolo-confidence", "yolo-track", "coco", "json", "cvat"]
"""Formats of tables: by columns with names, MOTChallenge's, KITTI's, YOLO's text, COCO's JSON, a list of JSON objects
with the names of columns, CVAT's XML."""

_WHAT = {
    "csv": "a first line that names columns",
    "mot": "rows of numbers as MOTChallenge's",
    "kitti": "KITTI's rows with a type",
    "yolo": "YOLO's rows of a class and four fractions",
    "coco": "COCO's JSON",
    "json": "a list of JSON objects",
    "cvat": "XML",
}


def read_rows(path: Path, format: BoxFormat | None = None) -> BoxRows:
    """All rows of a table.

    Args:
        path: the file, or a folder of text files. format: its format; None tells it by the content.

    Raises:
        DataError: there is no such file, it has no known format or another one than it should, or a row is not as the
            format has it.
        ConfigError: there is no such format.
    """
    if format is not None and format not in get_args(BoxFormat):
        raise ConfigError(f"Unknown format of boxes {format!r:.80}. {nearest(str(format), get_args(BoxFormat))}")
    if not path.exists():
        raise DataError(f"There is no file {str(path)!r}.")
    content = _json(path)
    seen = _seen(path, content)
    wanted = str(format or "").partition("-")[0]
    if wanted and wanted not in seen and seen:
        raise DataError(
            f"{path} should be {wanted}, but it looks like {seen[0]}: {_WHAT[seen[0]]}. Say --format {seen[0]}."
        )
    chosen = wanted or (seen[0] if seen else "csv")
    sixth: Any = {"yolo-confidence": "confidence", "yolo-track": "track"}.get(format or "")
    readers: dict[str, Callable[[], BoxRows]] = {
        "csv": lambda: read_separated(path),
        "mot": lambda: read_separated(path),
        "kitti": lambda: read_kitti(path),
        "yolo": lambda: read_yolo(path, sixth),
        "coco": lambda: read_coco(path, content),
        "json": lambda: read_records(path, content),
        "cvat": lambda: read_cvat(path),
    }
    if content is None and chosen in ("coco", "json"):
        raise DataError(f"{path} should be {chosen}, but it is not {_WHAT[chosen]}.")
    return readers[chosen]()


def _json(path: Path) -> Any:
    """The content of a file that begins as JSON does; None for any other."""
    if not path.is_file():
        return None
    with _opened(path) as file:
        start = file.read(200).lstrip(b"\xef\xbb\xbf \t\r\n")
    return read_json(path, error=DataError, nan=True) if start[:1] in (b"{", b"[") else None


def _seen(path: Path, content: Any) -> list[str]:
    """The formats that the content fits, the likeliest first."""
    if path.is_dir():
        return [_of_folder(path)]
    if content is not None:
        if is_coco(content):
            return ["coco"]
        if isinstance(content, list):
            return ["json"]
        inside = ", ".join(map(str, content))
        raise DataError(
            f"{path} is a JSON object with {inside[:80] or 'nothing'}; expected COCO's 'images' and 'annotations', or "
            "a list of boxes."
        )
    with _opened(path) as file:
        if file.read(200).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            return ["cvat"]
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            first = next((line for line in text if line.strip()), "")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}. Save it again.") from None
    cells = first.split()
    if is_kitti(cells):
        return ["kitti"]
    return [name for name in (looks_like_rows(first), "yolo" * is_yolo(cells)) if name]


def _of_folder(path: Path) -> str:
    files = text_files(path)
    for file in files:
        for _, cells in text_rows(file):
            if is_kitti(cells):
                return "kitti"
            if is_yolo(cells) or len(cells) > 7:  # of polygons and keypoints, which its reader refuses
                return "yolo"
            raise DataError(
                f"{path} is a folder, and {file.name} in it has neither YOLO's nor KITTI's rows: "
                f"{' '.join(cells)[:60]}. Give one file of {', '.join(COLUMNS)} or of MOTChallenge ({MOT})."
            )
    inside = sorted({file.suffix or "folders" for file in path.iterdir()})
    what = f"It holds {len(files)} .txt files without a box" if files else f"It holds {', '.join(inside) or 'nothing'}"
    raise DataError(
        f"{path} is a folder; expected YOLO's or KITTI's .txt files in it, one for each image. {what}. Of a run of "
        "ultralytics that is its folder 'labels'."
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
