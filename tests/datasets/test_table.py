"""Own data as CSV and Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from partreid.datasets.readers import read_dataset
from partreid.datasets.readers.table import read_table
from partreid.errors import DataError, MissingDependencyError
from tests.datasets.test_layouts import brief, lay, without

HEADER = "path,pid,camid,split"
ROWS = ("a/1.jpg,1,0,train", "a/2.jpg,2,1,train", "q/1.jpg,5,0,query", "g/b.jpg,5,1,gallery", "g/a.jpg,6,0,gallery")


def write(folder: Path, *lines: str, name: str = "people.csv", header: str = HEADER) -> Path:
    lay(folder, "a/1.jpg", "a/2.jpg", "q/1.jpg", "q/2 ü.jpg", "g/a.jpg", "g/b.jpg")
    (folder / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder / name


def test_a_table(tmp_path: Path) -> None:
    rows = (*ROWS, "q/2 ü.jpg,5,3,query_hidden", "./a/../g/a.jpg,6,0,query_hidden")
    dataset = read_dataset(write(tmp_path, *rows))
    assert (dataset.name, dataset.root) == ("people", tmp_path)
    assert brief(dataset.train) == [("1.jpg", 1, 0), ("2.jpg", 2, 1)]
    assert brief(dataset.gallery) == [("a.jpg", 6, 0), ("b.jpg", 5, 1)], "sorted by path"
    assert list(dataset.queries) == ["query", "hidden"]
    assert dataset.queries["hidden"][0].path == tmp_path / "g" / "a.jpg"
    assert dataset.train_identities == (("people", 1), ("people", 2))


def test_columns_may_be_more_in_any_order_and_camid_missing(tmp_path: Path) -> None:
    header = "\ufeffnote,split,occlusion,path,pid"
    dataset = read_dataset(write(tmp_path, "x,train,0.25,a/1.jpg,1.0", '"a\nb",train,,a/2.jpg,-1', header=header))
    assert [(i.pid, i.camid, i.occlusion) for i in dataset.train] == [(1, None, 0.25)]
    assert (dataset.gallery, dataset.queries) == ((), {})


def test_labels_lie_beside_the_table(tmp_path: Path) -> None:
    lay(tmp_path, "masks/mine/a/1.npy", "masks/mine/a/2.npy")
    assert [i.label for i in read_dataset(write(tmp_path, *ROWS)).train] == [
        tmp_path / "masks" / "mine" / "a" / f"{n}.npy" for n in (1, 2)
    ]


def test_links_and_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lay(tmp_path / "far", "z.jpg")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "far")
    table = write(tmp_path / "data", f"{tmp_path}/data/a/1.jpg,1,,train", "linked/z.jpg,2,,train")
    root = tmp_path / "data"
    assert [i.path for i in read_dataset(table).train] == [root / "a" / "1.jpg", root / "linked" / "z.jpg"]


def test_an_id_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    table = write(tmp_path, "a/1.jpg,7,0,train", "a/2.jpg,0007,1.0,train", "q/1.jpg, 7.0 ,00,train")
    assert {image.pid for image in read_dataset(table).train} == {7}
    assert [image.camid for image in read_dataset(table).train] == [0, 1, 0]


def test_people_whom_nobody_knows_are_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"left out: 2 images of .*people\.csv with id -1, which is junk"):
        assert (
            len(read_dataset(write(tmp_path, *ROWS[:4], "g/a.jpg,-1,0,gallery", "q/2 ü.jpg,-1.0,0,train")).train) == 2
        )


def test_a_image_is_the_same_by_a_relative_and_an_absolute_path(tmp_path: Path) -> None:
    for again in (f"{tmp_path}/a/1.jpg", "./a/1.jpg", "a/../a/1.jpg", f"{tmp_path}/./a//1.jpg"):
        with pytest.raises(DataError, match=r"line 3: .*1\.jpg is in split train twice, first in .*line 2"):
            read_dataset(write(tmp_path, "a/1.jpg,1,0,train", f"{again},1,0,train"))
        with pytest.raises(DataError, match=r"line 3: .*1\.jpg has another pid or camid than in .*line 2"):
            read_dataset(write(tmp_path, "a/1.jpg,1,0,train", f"{again},2,0,gallery"))


BAD = {
    "missing column": ((), "path,split", r"expected the columns path, pid, split .*found 'path', 'split'\. Add pid"),
    "column twice": ((), "path,pid,pid,split", "a column is there twice"),
    "empty file": ((), "", "found an empty file"),
    "no rows": ((), HEADER, "has no rows"),
    "too few values": (("a/1.jpg,1,0",), HEADER, "line 2: expected 4 values"),
    "too many values": (("a/1.jpg,1,0,train,x",), HEADER, "line 2: expected 4 values"),
    "unknown split": (("a/1.jpg,1,0,tran",), HEADER, "line 2: expected split .*got 'tran'. Did you mean 'train'"),
    "semicolons": ((), "path;pid;split", "Save it with commas between the columns"),
    "junk only": (("a/1.jpg,-1,0,train",), HEADER, "every row has pid -1"),
    "nameless query set": (("a/1.jpg,1,0,query_",), HEADER, "got 'query_'"),
    "query set of the default's name": (("a/1.jpg,1,0,query_query",), HEADER, "line 2: expected split .*'query_query'"),
    "query set that is a path": (("a/1.jpg,1,0,query_../../x",), HEADER, r"a query set names files .*'\.\./\.\./x'"),
    "duplicate row": ((ROWS[0], "", ROWS[1], ROWS[0]), HEADER, r"line 5: a/1\.jpg is in split train twice, .*line 2"),
    "contradiction": ((ROWS[0], "a/1.jpg,2,0,gallery"), HEADER, r"line 3: a/1\.jpg has another pid or camid .*line 2"),
    "outside": (("../1.jpg,1,0,train",), HEADER, r"line 2: \.\./1\.jpg lies outside"),
    "far outside": (("/etc/1.jpg,1,0,train",), HEADER, "lies outside"),
    "the folder itself": ((".,1,0,train",), HEADER, "lies outside"),
    "empty path": ((",1,0,train",), HEADER, "line 2: path is empty"),
    "missing file": ((ROWS[0], "a/9.jpg,1,0,train"), HEADER, r"names 1 images that do not exist, .*9\.jpg"),
    "word for a number": (("a/1.jpg,anna,0,train",), HEADER, "expected pid .* whole number from -1, got 'anna'"),
    "half a person": (("a/1.jpg,1.5,0,train",), HEADER, "got '1.5'"),
    "huge": (("a/1.jpg,99999999999999999999,0,train",), HEADER, "expected pid"),
    "below -1": (("a/1.jpg,-2,0,train",), HEADER, "expected pid .* got '-2'"),
    "no person": (("a/1.jpg, ,0,train",), HEADER, "line 2: pid is empty"),
    "camera": (("a/1.jpg,1,-1,train",), HEADER, "expected camid to be a whole number from 0, got '-1'"),
    "no camera": (("a/1.jpg,1,c1,train",), HEADER, "line 2: expected camid to be a whole number from 0, got 'c1'"),
    "no number": (("a/1.jpg,nan,0,train",), HEADER, "line 2: pid is empty"),
    "mixed cameras": ((ROWS[0], "a/2.jpg,2,,train"), HEADER, r"for every image or for none, but 1 of 2 .*2\.jpg"),
    "occlusion": (("a/1.jpg,1,2,train",), "path,pid,occlusion,split", "line 2: expected occlusion as a number in"),
    "no match": ((*ROWS[:2], "q/1.jpg,5,1,query", *ROWS[3:]), HEADER, "Query set 'query' .* from another camera"),
    "no gallery": (ROWS[:3], HEADER, "has no match in the gallery.*0 gallery images"),
    "open quotation": (('"a/1.jpg,1,0,train',), HEADER, "cannot be read as CSV"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(tmp_path: Path, case: str) -> None:
    rows, header, message = BAD[case]
    table = write(tmp_path, *rows, header=header)
    if case == "empty file":
        table.write_bytes(b"")
    with pytest.raises(DataError, match=message):
        read_dataset(table)


def test_another_encoding_is_an_error(tmp_path: Path) -> None:
    table = write(tmp_path, *ROWS)
    table.write_bytes(table.read_text().replace("a/1", "ä/1").encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        read_dataset(table)


def test_parquet_equals_csv(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    expected = read_dataset(write(tmp_path, *ROWS))
    paths, pids, camids, splits = zip(*(row.split(",") for row in ROWS), strict=True)
    columns = {"path": paths, "pid": [int(p) for p in pids], "camid": [float(c) for c in camids], "split": splits}
    parquet.write_table(pyarrow.table({**columns, "note": [None] * 5}), tmp_path / "people.parquet")
    assert read_dataset(tmp_path / "people.parquet") == expected
    without_cameras = {**columns, "camid": [None] * 5}
    parquet.write_table(pyarrow.table(without_cameras), tmp_path / "people.parquet")
    assert {i.camid for i in read_dataset(tmp_path / "people.parquet").train} == {None}
    parquet.write_table(pyarrow.table({**columns, "pid": [1, 2, None, 5, 6]}), tmp_path / "people.parquet")
    with pytest.raises(DataError, match=r"people\.parquet, row 3: pid is empty"):
        read_dataset(tmp_path / "people.parquet")
    parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "people.parquet")
    with pytest.raises(DataError, match="Add pid, split"):
        read_dataset(tmp_path / "people.parquet")
    (tmp_path / "people.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_dataset(tmp_path / "people.parquet")


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "people.parquet").touch()
    without(monkeypatch, "pyarrow")
    with pytest.raises(MissingDependencyError, match=r'needs pyarrow.*pip install "partreid\[tables\]"'):
        read_dataset(tmp_path / "people.parquet")


@pytest.mark.parametrize("name", ["camera", "Camid", "cam_id", "cam"])
def test_a_camera_under_another_name(name: str, tmp_path: Path) -> None:
    """It would count for no camera at all, and every image of the same one as a match."""
    table = tmp_path / "people.csv"
    table.write_text(f"path,pid,{name},split\na/1.jpg,1,0,train\n")
    with pytest.raises(DataError, match=f"column '{name}' is not read. If it is camid"):
        read_table(table)


@pytest.mark.parametrize("unknown", ["", "nan", "NaN", "None", "<NA>", "n/a"])
def test_one_unknown_however_it_is_written(unknown: str, tmp_path: Path) -> None:
    Image.new("RGB", (4, 8)).save(tmp_path / "1.jpg")
    table = tmp_path / "people.csv"
    table.write_text(f"path,pid,camid,occlusion,split\n1.jpg,1,{unknown},{unknown},train\n")
    (image,) = read_table(table).train
    assert (image.pid, image.camid, image.occlusion) == (1, None, None)
