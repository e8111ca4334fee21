"""Your own data as a table, CSV or Parquet: a row per image with path, pid, split and, if known, camid and occlusion.

Other columns are ignored, except those that seem to be one of these under another name, which are refused. Paths are
relative to the table's folder. Id -1 is junk and dropped, as in Market-1501; a warning gives the number of these rows.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from partreid.datasets.readers.common import QUERY, Layout, Splits, plain_name, query_set, require_files
from partreid.datasets.readers.market1501 import JUNK, parse_occlusion, tell_junk
from partreid.errors import DataError, nearest, needs_extra
from partreid.types import ReIDImage
from partreid.types._id_values import is_unknown

SUFFIXES = (".csv", ".parquet")
_NEEDED = ("path", "pid", "split")
_COLUMNS = (*_NEEDED, "camid", "occlusion")
_CAMERAS = frozenset(("camera", "cameraid", "cam", "camid"))
_SPLITS = ("train", "gallery", QUERY)
_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0*)?")

Rows = Iterable[tuple[str, Mapping[str, object]]]
"""(where it stands, for messages; the row)."""


def read_table(path: Path) -> Splits:
    """Read a table.

    Raises:
        DataError: a column is missing, a row does not fit, is there twice or contradicts another, or an image is
            missing or lies outside the table's folder.
        MissingDependencyError: a Parquet file, and pyarrow is not installed.
    """
    splits: dict[str, list[ReIDImage]] = {}
    seen: dict[tuple[str, Path], str] = {}
    persons: dict[Path, tuple[ReIDImage, str]] = {}
    junk = 0
    for where, row in _rows_of_csv(path) if path.suffix.lower() == ".csv" else _rows_of_parquet(path):
        split, image = _split(row["split"], where), _image(row, path.parent, where)
        if (split, image.path) in seen:
            raise DataError(f"{where}: {row['path']} is in split {split} twice, first in {seen[split, image.path]}.")
        seen[split, image.path] = where
        first, first_where = persons.setdefault(image.path, (image, where))
        if (first.pid, first.camid) != (image.pid, image.camid):
            raise DataError(f"{where}: {row['path']} has another pid or camid than in {first_where}. Correct one.")
        if image.pid == JUNK:
            junk += 1
        else:
            splits.setdefault(split, []).append(image)
    if seen and not splits:
        raise DataError(f"{path}: every row has pid {JUNK}, which is junk and dropped. Give the persons' numbers.")
    if not seen:
        raise DataError(f"{path} has no rows. Expected a row for each image: {', '.join(_NEEDED)}.")
    require_files(persons, source=path)
    tell_junk(junk, path)
    ordered = {name: sorted(splits[name], key=lambda image: image.path) for name in sorted(splits)}
    queries = {query_set(name): images for name, images in ordered.items() if name.startswith(QUERY)}
    return Splits(ordered.get("train", ()), ordered.get("gallery", ()), queries)


def _rows_of_csv(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            _check_columns(path, rows.fieldnames or ())
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if None in row or None in row.values():
                    raise DataError(f"{where}: expected {len(rows.fieldnames or ())} values, as in the first line.")
                yield where, row
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}. Save it again.") from None


def _rows_of_parquet(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    with needs_extra("tables", f"Reading {path.name}"):
        from pyarrow import ArrowException, parquet
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            table = file.read(columns=[name for name in _COLUMNS if name in file.schema_arrow.names])
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}. Save it again.") from None
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}, row {number}", row


def _check_columns(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        found = ", ".join(map(repr, names)) or "an empty file"
        mend = f"Add {', '.join(missing)}."
        if len(names) == 1 and all(name in names[0] for name in _NEEDED):
            mend = "Save it with commas between the columns."
        raise DataError(
            f"{path}: expected the columns {', '.join(_NEEDED)} (camid where known), commas between; found {found}. "
            f"{mend}"
        )
    for name in names:
        plain = plain_name(name)
        meant = "camid" if plain in _CAMERAS else next((one for one in _COLUMNS if one == plain), "")
        if meant and meant not in names:
            raise DataError(
                f"{path}: the column {name!r} is not read. If it is {meant}, call it so (docs/data.md); else rename or "
                "remove it."
            )
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a column is there twice: {', '.join(sorted(names))}. Keep one.")


def _split(value: object, where: str) -> str:
    split = str(value or "").strip()
    if split in _SPLITS or (split.startswith(f"{QUERY}_") and query_set(split) not in ("", QUERY)):
        return split
    raise DataError(
        f"{where}: expected split to be train, gallery, query or query_<name>, got {split!r}. {nearest(split, _SPLITS)}"
    )


def _image(row: Mapping[str, object], root: Path, where: str) -> ReIDImage:
    text = str(row["path"] or "").strip()
    if not text:
        raise DataError(f"{where}: path is empty. Expected the image's path within {root}.")
    base = Path(os.path.abspath(root))  # noqa: PTH100 - links stay as they are
    inside = Path(os.path.relpath(base / text, base))
    if inside.parts[:1] in ((), ("..",)):
        raise DataError(
            f"{where}: {text} lies outside the table's folder, {base}. Move the table to a folder above all images."
        )
    pid, camid = _whole(row["pid"], "pid", where, JUNK), _whole(row.get("camid"), "camid", where, 0)
    if pid is None:
        raise DataError(f"{where}: pid is empty. Give every image its person's number.")
    occlusion = parse_occlusion(_present(row.get("occlusion")), where)
    # People meet the camera as the table writes it.
    return ReIDImage(root / inside, pid, camid, occlusion=occlusion, camera="" if camid is None else str(camid))


def _whole(value: object, name: str, where: str, lowest: int) -> int | None:
    """A whole number, None where there is none; pandas writes ``3.0`` into columns with gaps."""
    if (value := _present(value)) is None:
        return None
    text = _WHOLE.fullmatch(str(value))
    number = int(text[1]) if text else lowest - 1
    if not lowest <= number < 2**63:
        raise DataError(f"{where}: expected {name} to be a whole number from {lowest}, got {value!r}. Number them.")
    return number


def _present(value: object) -> object:
    """None for an empty cell: nothing, NaN, blank text, or what programs write for it."""
    return None if is_unknown(value) else value.strip() if isinstance(value, str) else value


def _fits(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


TABLE = Layout(key="table", name="", holds="a row per image", fits=_fits, read=read_table)
