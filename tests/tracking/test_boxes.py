"""Tables of boxes as trackers and data sets write them: what is read, what is left out, what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from partreid.errors import ConfigError, DataError
from partreid.tracking._box_units import check_units
from partreid.tracking.boxes import BoxForm, TrackBoxes, read_boxes

CSV = "frame,track,x1,y1,x2,y2\n"
BOX = [10.0, 20.0, 40.0, 80.0]  # what each of READ says of its first row


def write(folder: Path, text: str, name: str = "boxes.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,7,11,21,30,60,1,-1,-1,-1\n", ("7",)),
        ("1 7 11 21 30 60 -1 -1 -1 -1 \n2 7 12 21 30 60 -1 -1 -1 -1 \n", ("7",)),  # of several YOLO trackers
        ("1\t7\t11\t21\t30\t60\t1\n", ("7",)),
        ("1;7;11;21;30;60;1\n", ("7",)),
        ("\n1.0,7e0,1.1e1,21,30,60,1,\n", ("7",)),  # np.savetxt, a blank line, a comma too many
        (",Frame,Track,X1,Y1,X2,Y2\n0,0,7.0,10,20,40,80\n", ("7",)),  # pandas, with its index
        ("frame;track;x1;y1;x2;y2\n0;ann;10;20;40;80\n", ("ann",)),
        ("# frame track x1 y1 x2 y2\n0 7 10 20 40 80\n", ("7",)),  # np.savetxt with a header
        ("x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,frame_index\n10,20,40,80,0,0.9,7,0\n", ("7",)),
        ("frame,id,bb_left,bb_top,bb_width,bb_height,conf\n1,7,11,21,30,60,1\n", ("7",)),
        ("frame,id,left,top,width,height\n0,7,10,20,30,60\n", ("7",)),  # frame 0 says where they count from
        ("track id,frame-idx,xmin,ymin,xmax,ymax\n7,0,10,20,40,80\n", ("7",)),
        (CSV + "0,7.0,10,20,40,80\n1,7,10,20,40,80\n2,007,10,20,40,80\n", ("7",)),
        (CSV + "0,7,10,20,40,80,,\n", ("7",)),  # a spreadsheet's empty columns
        ("1,0,11,21,30,60,-0.4\n", ("0",)),  # id 0 is a track; scores of some detectors are negative
        ("1,7,11,21,30,60,1,12.5,8.25,0\n", ("7",)),  # MOT15: places in the world
        ("1,7,11,21,30,60,0.9,-1,-1\n", ("7",)),
        ("1,7,11,21,30,60,0.9,0,0,0\n", ("7",)),
    ],
)
def test_tables_of_other_tools(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        boxes = read_boxes(write(tmp_path, text))
    assert boxes.names == names
    assert boxes.frames[0] == 0
    assert boxes.corners[0].tolist() == BOX


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,id,left,top,width,height,conf\n1,7,11,21,30,60,1\n", r"from 0 or from 1 is not known.*--first-frame"),
        ("frame_number,id,x1,y1,x2,y2\n1,7,11,21,30,60\n", "--first-frame"),
        ("frame,track,x1,x1,y1,x2,y2\n", "names the column 'x1' twice"),
        ("frame,id,x,y,w,h\n0,1,5,5,3,3\n", "expected a first line"),  # a corner, or the centre?
        ("0 2 Pedestrian 0 0 -2.52 1106.1 166.5 1204.4 323.8 1.7\n", "expected a first line"),  # KITTI
        ("# frame,id\n1,1,11,21,30,60,1\n", "expected a first line"),
        ("1 0.5 0.5 0.2 0.4 7\n", "line 1: expected the number of a track.*'0.5'"),  # YOLO
        ("frame;track;x1;y1;x2;y2\n0;1;10,5;20;40;80\n", "line 2: .*'10,5'. Write a point"),
        (CSV + "0,1,1_0,2,30,40\n", "finite number, got '1_0'"),
        (CSV + "0,1,10,5,20,5,40,80\n", "line 2: expected 6 values.*got 8. Is there a comma"),
        ("1,1,11,21,30,60,0,0.91\n", "line 1: the eighth column is a class.*got 0.91"),
        ("1,1,11,21,30,60,1,1,5\n", "line 1: expected the visible fraction"),
        ("1,1,11,21,30,60,1,0,1.0\n", "MOTChallenge has no class 0.*--person-class"),
        ("1,1,11,21,30,60,1,4,0,2\n", "line 1: expected -1 in the eighth.*--person-class"),  # VisDrone
        ("1,7,301,11,64,64,1,2,1.0\n", r"no box that shows a person: 1 box .*\(2: 1; persons: 1\)"),
        ("1,7,301,11,64,64,1,1,0\n", "no box that shows a person: 1 box of visibility 0"),
        (CSV[:-1] + ",class\n0,1,1,2,30,40,0\n1,1,1,2,30,40,2\n", "class 0, 2, and it is not known which is a person"),
        (CSV[:-1] + ",class\n0,1,1,2,30,40,car\n", "class car, and it is not known"),
        (CSV + "0,1,0.03,0.28,0.13,0.63\n1,1,0.03,0.28,0.13,1\n", "line 2.*fractions of the frame. Multiply"),
        ("1,1,0.1,0.2,0.2,0.7,1,-1,-1,-1\n", "line 1.*0.1, 0.2, 0.2, 0.7.*fractions of the frame"),
        ("1,1,11,21,30,60,1\n1,1.0,80,21,30,60,1\n", "track 1 has two boxes in frame 0.*lines 1 and 2"),
    ],
)
def test_what_is_not_certain_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path, text))


@pytest.mark.parametrize("none", ["-1", "-1.0", "nan", "NaN", "None", "null", "", "NaT", "<NA>", "N/A"])
@pytest.mark.parametrize("header", [CSV, ""], ids=["csv", "mot"])
def test_boxes_of_no_track_are_nobody(none: str, header: str, tmp_path: Path) -> None:
    path = write(tmp_path, header + f"1,7,11,21,30,60\n2,{none},11,21,30,60\n2,{none},71,21,99,60\n3,8,11,21,30,60\n")
    with pytest.raises(DataError, match=f"line {3 if header else 2}: the box belongs to no track.*--skip-damaged"):
        read_boxes(path)
    told: list[str] = []
    assert read_boxes(path, on_error=told.append).names == ("7", "8")
    assert [message.partition(":")[0][-6:] for message in told] == (
        [f"line {i}" for i in ((3, 4) if header else (2, 3))]
    )
    with pytest.raises(DataError, match="no box of a track"):
        read_boxes(write(tmp_path, f"{header}1,{none},11,21,30,60\n"), on_error=told.append)


@pytest.mark.parametrize(
    "text",
    [
        "1,1,11,21,30,60,1,1,0.9\n1,2,50,21,30,60,1,3,1\n1,3,80,21,30,60,0,7,0.2\n2,1,11,21,30,60,1,1,0\n"
        "2,-1,1,1,9,9,0,-1,-1\n3,1,11,21,30,60,1,1,-1\n",
        "frame,id,bb_left,bb_top,bb_width,bb_height,conf,class,visibility\n1,1,11,21,30,60,1,pedestrian,0.9\n"
        "1,2,50,21,30,60,1,car,1\n1,3,80,21,30,60,0,static,0.2\n2,1,11,21,30,60,1,pedestrian,0\n"
        "2,,1,1,9,9,0,,\n3,1,11,21,30,60,,pedestrian,\n",
    ],
    ids=["mot", "csv"],
)
def test_what_is_left_out_is_told_in_both_formats(text: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="left out 2 boxes of confidence 0") as told:
        boxes = read_boxes(write(tmp_path, text))
    assert (boxes.names, boxes.frames.tolist()) == (("1",), [0, 2])
    said = " ".join(str(warning.message) for warning in told)
    assert "1 box of other classes than a person" in said
    assert "1 box of visibility 0" in said
    assert "no box is left of 2 tracks (2, 3)" in said


def test_classes_that_are_persons(tmp_path: Path) -> None:
    rows = "1,1,11,21,30,60,1,{},1\n1,2,50,21,30,60,1,{},1\n"
    gt = write(tmp_path, rows.format(1, 2), "gt.txt")
    with pytest.warns(UserWarning, match=r"other classes than a person \(2: 1"):
        assert read_boxes(gt).names == ("1",)
    write(tmp_path, "bicycle\nPerson\n", "labels.txt")  # CVAT's names of the classes
    with pytest.warns(UserWarning, match=r"labels\.txt says that 2 is a person"):
        assert read_boxes(gt).names == ("2",)
    write(tmp_path, "bicycle\ncar\n", "labels.txt")
    with pytest.raises(DataError, match=r"labels\.txt is called a person"):
        read_boxes(gt)
    (tmp_path / "labels.txt").unlink()
    assert read_boxes(gt, person_classes=["1", "2"]).names == ("1", "2")
    named = write(tmp_path, "frame,id,bb_left,bb_top,bb_width,bb_height,class\n1,1,11,21,30,60,1\n1,2,50,21,30,60,3\n")
    with pytest.warns(UserWarning, match=r"other classes than a person \(3: 1; persons: 1\)"):
        assert read_boxes(named).names == ("1",)
    with pytest.raises(DataError, match="no column of classes"):
        read_boxes(write(tmp_path, "1,1,11,21,30,60,1\n"), person_classes=[1])
    for given in (0, [0], "0", [np.float64(0)]):
        with pytest.warns(UserWarning, match="left out"):
            assert read_boxes(write(tmp_path, rows.format(0, 5)), person_classes=given).names == ("1",)  # type: ignore[arg-type]
    visdrone = write(tmp_path, "1,1,11,21,30,60,1,1,0,0\n1,2,50,21,30,60,1,4,0,0\n")
    with pytest.warns(UserWarning, match="left out"):
        assert read_boxes(visdrone, person_classes=[1]).names == ("1",)  # the ninth is no visibility there


def test_confidences_that_are_all_0_say_nothing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="every confidence is 0"):
        assert read_boxes(write(tmp_path, "1,1,11,21,30,60,0\n2,1,11,21,30,60,0\n")).frames.tolist() == [0, 1]
    with pytest.warns(UserWarning, match="1 box of confidence 0"):
        assert read_boxes(write(tmp_path, "1,1,11,21,30,60,-1\n2,1,11,21,30,60,0\n")).frames.tolist() == [0]


def test_what_the_user_says_goes_first(tmp_path: Path) -> None:
    mot = write(tmp_path, "0,1,11,21,30,60,1\n2,1,11,21,41,81,1\n")
    with pytest.raises(DataError, match="line 1: expected the number of a frame from 1, got 0.*--first-frame 0"):
        read_boxes(mot)
    boxes = read_boxes(mot, first_frame=0)  # pixels of a detector, then, which counts from 0 too
    assert (boxes.frames.tolist(), boxes.corners[0].tolist()) == ([0, 2], [11, 21, 41, 81])
    assert read_boxes(mot, first_frame=0, form="xyxy").corners[1].tolist() == [11, 21, 41, 81]
    table = write(tmp_path, CSV + "1,1,10,20,30,60\n")
    boxes = read_boxes(table, first_frame=1, form="xywh")
    assert (boxes.frames.tolist(), boxes.corners[0].tolist()) == ([0], [10, 20, 40, 80])
    for wrong in ({"first_frame": 2}, {"first_frame": True}, {"form": "yolo"}):
        with pytest.raises(ConfigError):
            read_boxes(table, **wrong)  # type: ignore[arg-type]


def test_tracks_between_the_frames_that_are_used(tmp_path: Path) -> None:
    rows = "".join(
        f"{frame},{track},1,1,30,60\n" for frame, track in [(0, "a"), (1, "b"), (3, "b"), (4, "c"), (5, "d")]
    )
    boxes = read_boxes(write(tmp_path, CSV + rows))
    with pytest.warns(UserWarning, match=r"Left out 2 tracks \(b, d\) without a box in frames 0, 4, 8"):
        some = boxes.every(4)
    assert (some.names, some.lines.tolist()) == (("a", "c"), [2, 5])  # type: ignore[union-attr]
    assert boxes.where(2).endswith("boxes.txt, line 4)")
    assert boxes.only([4, 0]).names == ("a", "d")
    with pytest.raises(DataError, match="rows from 0 to 4"):
        boxes.only([5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": np.array([1, 0])},
        {"frames": np.array([0.0, 1.0])},
        {"tracks": np.array([0, 2])},
        {"tracks": np.array([0])},
        {"corners": np.zeros((2, 3))},
        {"names": ("a", "-1")},
        {"names": ("1", "1.0")},
        {"names": ("a", None)},
    ],
)
def test_boxes_that_do_not_fit_together(wrong: dict[str, object]) -> None:
    right = {"frames": np.array([0, 1]), "tracks": np.array([0, 1]), "corners": np.zeros((2, 4)), "names": ("a", "b")}
    TrackBoxes(**right)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        TrackBoxes(**{**right, **wrong})  # type: ignore[arg-type]


# What follows: whether boxes are in the pixels of the frames.


def people(form: BoxForm, written: BoxForm, *, tracks: int, frames: int, corner: bool, moves: bool) -> str:
    """A table whose columns are ``form`` and whose numbers are ``written``: people of 40 to 64 × 100 to 170 pixels in
    640 × 360, in its upper left corner or anywhere."""
    random = np.random.default_rng(tracks + frames)
    rows = []
    for track in range(tracks):
        size = np.array([40, 100]) * random.uniform(1, 1.6)
        place = random.uniform(20, (90, 60) if corner else (560, 180))
        for frame in range(frames):
            at = np.round(place + moves * frame * np.array([4, 1]) + random.normal(0, 0.5, 2), 1)
            second = np.round(size + random.normal(0, 0.5, 2), 1) + (at if written == "xyxy" else 0)
            rows.append(f"{frame + (form == 'xywh')},{track},{at[0]},{at[1]},{second[0]},{second[1]}\n")
    return (CSV if form == "xyxy" else "") + "".join(rows)


@pytest.mark.parametrize("corner", [True, False])
@pytest.mark.parametrize(("tracks", "frames"), [(1, 30), (4, 30), (30, 30)])
@pytest.mark.parametrize("form", ["xyxy", "xywh"])
def test_corners_and_sizes_are_told_apart(
    form: BoxForm, tracks: int, frames: int, corner: bool, tmp_path: Path
) -> None:
    other: BoxForm = "xywh" if form == "xyxy" else "xyxy"
    right = people(form, form, tracks=tracks, frames=frames, corner=corner, moves=True)
    check_units(read_boxes(write(tmp_path, right)), 640, 360)
    path = write(tmp_path, people(form, other, tracks=tracks, frames=frames, corner=corner, moves=True))
    with pytest.raises(DataError, match=rf"line \d+.*look like.*--boxes {other}"):
        check_units(read_boxes(path), 640, 360)
    check_units(read_boxes(path, form=other), 640, 360)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,21,101,85,229,1\n", "--boxes xyxy"),  # corners of a person of 64 × 128
        ("1,1,100,50,160,200,1\n", "--boxes xyxy"),
        (CSV + "0,1,20,60,100,128\n", "--boxes xywh"),  # a person of 100 × 128
        (CSV + "0,1,300,100,64,128\n1,1,20,60,100,128\n", "--boxes xywh"),
    ],
)
def test_a_person_who_stands_still(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        check_units(read_boxes(write(tmp_path, text)), 640, 360)


@pytest.mark.parametrize(
    "text",
    [
        "1,1,11,11,64,128,1\n",
        "1,1,301,101,64,128,1\n",
        "1,1,-80,20,200,500,1\n",  # close by and half out of the frame, as in MOTChallenge's ground truth
        "".join(f"{i + 1},1,{600 - 2 * i},120,90,230,1\n" for i in range(9)),
        CSV + "0,1,300,100,364,228\n",
        CSV + "0,1,-20,-5,364,428\n",
    ],
)
def test_right_boxes_pass_without_a_word(text: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_units(read_boxes(write(tmp_path, text)), 640, 360)


def test_what_nothing_tells_is_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="taken for x1, y1, x2, y2; nothing tells"):
        check_units(read_boxes(write(tmp_path, CSV + "0,1,20,100,84,228\n")), 640, 360)


def test_boxes_of_other_frames(tmp_path: Path) -> None:
    rows = [(100 * i, 40 * i, 100 * i + 60, 40 * i + 150) for i in range(12)]
    path = write(tmp_path, CSV + "".join(f"{i},1,{','.join(map(str, row))}\n" for i, row in enumerate(rows)))
    check_units(read_boxes(path), 1280, 720)
    with pytest.raises(DataError, match="of 12 boxes lie outside the frame of 640×360"):
        check_units(read_boxes(path), 640, 360)
    with pytest.raises(DataError, match="line 2.*1 of 1 boxes reach far beyond"):  # thousandths of the frame
        check_units(read_boxes(write(tmp_path, CSV + "0,1,431,278,531,633\n", "other.txt")), 640, 360)
    with pytest.warns(UserWarning, match="upper left quarter of the frame of 3840×2160"):
        check_units(read_boxes(path), 3840, 2160)


FIVE = [np.array([0, 1]), np.array([0, 0]), np.array([BOX, BOX])]


def test_boxes_of_lists_are_boxes() -> None:
    boxes = TrackBoxes([0, 1], [0, 0], [BOX, BOX], [7])  # type: ignore[arg-type,list-item]
    assert boxes.names == ("7",)
    assert boxes.every(2).frames.tolist() == [0]
    assert boxes.every(10**30).frames.tolist() == [0]
    with pytest.raises(DataError, match="whole n"):
        boxes.every(True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: np.array(3)}, "Expected whole numbers frames"),
        ({0: None}, "Expected whole numbers frames"),
        ({2: np.full((2, 4), "a")}, "numbers corners"),
        ({2: np.ma.masked_array(np.ones((2, 4)), mask=np.eye(2, 4))}, "corners: some values are masked"),
        ({0: np.array([-1, 0])}, "counted from 0, got -1"),
        ({0: np.array([1, 1])}, "track a has two boxes in frame 1"),
        ({3: ("a", "b")}, "'b' has none"),
        ({4: np.array([1])}, r"lines \[N\]"),
    ],
)
def test_boxes_that_are_none(change: dict[int, object], message: str) -> None:
    values: list[object] = [*FIVE, ("a",), None]
    for place, value in change.items():
        values[place] = value
    with pytest.raises(DataError, match=message):
        TrackBoxes(*values)  # type: ignore[arg-type]


def test_a_table_is_of_one_video(tmp_path: Path) -> None:
    """Frames of two would go into one track where they do not clash."""
    rows = "a.mp4,0,1,10,20,40,80\nb.mp4,3,1,10,20,40,80\n"
    with pytest.raises(DataError, match=r"line 3: the boxes are of several videos: 'b.mp4', and before 'a.mp4'"):
        read_boxes(write(tmp_path, f"video,{CSV}{rows}", "b.csv"))
    assert len(read_boxes(write(tmp_path, f"camera,{CSV}2,0,1,10,20,40,80\n2.0,1,1,10,20,40,80\n", "c.csv"))) == 2


def test_a_label_is_a_class(tmp_path: Path) -> None:
    text = f"{CSV.strip()},label\n0,1,10,20,40,80,person\n0,2,10,20,40,80,dog\n"
    with pytest.warns(UserWarning, match="dog: 1"):
        assert read_boxes(write(tmp_path, text, "b.csv")).names == ("1",)
    with pytest.warns(UserWarning) as told:
        assert read_boxes(write(tmp_path, text, "b.csv"), person_classes=["dog", "persn"]).names == ("2",)
    assert any("no box of the class persn; there are dog, person" in str(one.message) for one in told)


def test_the_first_frame_is_a_whole_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"number 0 or 1, got 1\.0"):
        read_boxes(write(tmp_path, f"{CSV}1,1,10,20,40,80\n"), first_frame=1.0)  # type: ignore[arg-type]
