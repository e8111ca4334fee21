"""Tables of boxes of other tools: each is told by its content, and read as its tool documents it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.errors import ConfigError, DataError
from partreid.tracking.boxes import boxes_of, read_boxes
from partreid.tracking.frame_folder import FrameFolder
from partreid.tracking.video_tracks import open_frames

BOX = [10.0, 20.0, 40.0, 80.0]
WIDTH, HEIGHT = 200, 100

KITTI = "{frame} {track} {kind} 0 {occluded} -1.57 10.0 20.0 40.0 80.0 1.7 0.6 0.8 5.0 1.0 5.0 -1.6{score}\n"
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><mode>interpolation</mode><original_size><width>200</width><height>100</height></original_size></task></meta>
{}</annotations>
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterable[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def images(folder: Path, *names: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)
    return folder


def said(told: pytest.WarningsRecorder) -> str:
    return " ".join(str(warning.message) for warning in told)


def kitti(*rows: tuple[int, int, str], score: str = "", occluded: int = 0) -> str:
    return "".join(KITTI.format(frame=f, track=t, kind=k, score=score, occluded=occluded) for f, t, k in rows)


# KITTI


@pytest.mark.parametrize("score", ["", " 0.9"])
def test_kitti_tracking(score: str, tmp_path: Path) -> None:
    text = kitti((0, 2, "Pedestrian"), (0, -1, "DontCare"), (0, 3, "Car"), (4, 2, "Pedestrian"), score=score)
    text += kitti((5, 7, "Person_sitting"), score=score, occluded=3)
    with pytest.warns(UserWarning, match=r"2 boxes of other classes than a person \(DontCare: 1, Car: 1"):
        boxes = read_boxes(write(tmp_path / "0000.txt", text))
    assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("2", "7"), [0, 4, 5], BOX)
    with pytest.raises(DataError, match="should be mot, but it looks like kitti: .*--format kitti"):
        read_boxes(tmp_path / "0000.txt", format="mot")
    with pytest.raises(DataError, match="0000.txt is of a sequence"):
        read_boxes(tmp_path)


def test_kitti_detection(tmp_path: Path) -> None:
    row = kitti((0, 0, "Pedestrian")).split(maxsplit=2)[2]
    write(tmp_path / "label_2" / "000003.txt", row + row.replace("Pedestrian", "DontCare"))
    write(tmp_path / "label_2" / "000005.txt", row)
    frames = images(tmp_path / "image_2", *(f"{i:06d}.png" for i in range(6)))
    with pytest.raises(DataError, match="line 1: the box belongs to no track.*no tracks.*partreid embed-boxes"):
        read_boxes(tmp_path / "label_2", frames=frames)
    boxes = read_boxes(tmp_path / "label_2", frames=frames, each=True)
    assert (boxes.names, boxes.frames.tolist()) == (("000003.png/0", "000005.png/0"), [3, 5])
    assert boxes.where(1).endswith("000005.txt, line 1)")
    write(tmp_path / "label_2" / "000006.txt", "1,1,1\n")
    with pytest.raises(DataError, match="000006.txt, line 1: expected KITTI's 17 values"):
        read_boxes(tmp_path / "label_2", frames=frames, each=True)


def test_rows_of_both_kinds(tmp_path: Path) -> None:
    row = kitti((0, 2, "Pedestrian"))
    with pytest.raises(DataError, match="line 2: some boxes are of an image, others of a frame"):
        read_boxes(write(tmp_path / "0000.txt", row + row.split(maxsplit=2)[2]))
    with pytest.raises(DataError, match="should be coco, but it is not COCO's JSON"):
        read_boxes(write(tmp_path / "0000.txt", "hello\n"), format="coco")


# YOLO: a box of 10 to 40 and 20 to 80 in 200 × 100.

YOLO = "0 0.125 0.5 0.15 0.6"


@pytest.mark.parametrize(
    ("rows", "track"),
    [
        ([f"{YOLO} 7", f"{YOLO} 7"], "7"),  # a track
        ([f"{YOLO} 0.9 7", f"{YOLO} 1 7"], "7"),  # confidence and track
        ([f"{YOLO} 1", YOLO], "1"),  # a frame without a track: no confidence is written, or it would be there too
    ],
)
def test_yolo_with_tracks(rows: list[str], track: str, tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", "000001.png", "000002.png")
    for number, row in enumerate(rows, start=1):
        write(tmp_path / "labels" / f"000{number:03d}.txt", row + "\n")
    boxes = read_boxes(tmp_path / "labels", frames=frames, on_error=lambda message: None)
    assert boxes.names == (track,)
    assert boxes.frames.tolist() == [0, 1][: 1 if rows[1] == YOLO else 2]
    np.testing.assert_allclose(boxes.corners[0], BOX)
    assert open_frames(frames, boxes) is boxes.table.folder


def test_yolo_without_tracks(tmp_path: Path) -> None:
    frames = images(tmp_path / "photos", "bus.jpg")
    images(frames, "zidane.jpg", size=(100, 200))
    write(tmp_path / "labels" / "bus.txt", f"{YOLO} 0.9\n{YOLO} 0.8\n")
    write(tmp_path / "labels" / "zidane.txt", f"{YOLO} 0.7\n")
    write(tmp_path / "labels" / "classes.txt", "person\ncar\n")
    boxes = read_boxes(tmp_path / "labels", frames=frames, each=True)
    assert boxes.names == ("bus.jpg/0", "bus.jpg/1", "zidane.jpg/0")
    np.testing.assert_allclose(boxes.corners[[0, 2]], [BOX, [5, 40, 20, 160]])  # each in its own image's pixels
    assert boxes.table.by_image
    write(tmp_path / "labels" / "bus.txt", f"1{YOLO[1:]} 0.9\n")
    with pytest.warns(UserWarning, match=r"1 box of other classes than a person \(car: 1"):
        assert len(read_boxes(tmp_path / "labels", frames=frames, each=True)) == 1
    with pytest.raises(DataError, match="fractions of the image: its size in pixels is needed"):
        read_boxes(write(tmp_path / "one" / "bus_0.txt", f"{YOLO} 0.9\n").parent, each=True)
    with pytest.raises(DataError, match="names are not frames|do not end in the number"):
        read_boxes(tmp_path / "labels", each=True)


def test_yolo_of_a_video(tmp_path: Path) -> None:
    """ultralytics calls the text of a video's first frame NAME_1.txt."""
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "hall.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    for number in (1, 12):
        write(tmp_path / "labels" / f"hall_{number}.txt", f"{YOLO} 7\n")
    boxes = read_boxes(tmp_path / "labels", frames=tmp_path / "hall.mp4")
    assert boxes.frames.tolist() == [0, 11]
    np.testing.assert_allclose(boxes.corners[0], BOX)
    other = write(tmp_path / "others" / "gate_3.txt", f"{YOLO} 7\n").parent
    with pytest.raises(DataError, match="'gate_3'; whether they count from 0 or from 1 is not known.*--first-frame"):
        read_boxes(other, frames=tmp_path / "hall.mp4")
    assert read_boxes(other, frames=tmp_path / "hall.mp4", first_frame=0).frames.tolist() == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{YOLO} 1\n", "sixth column may be a confidence or a track.*yolo-confidence or yolo-track"),
        (f"{YOLO} 0.5 0.5 0.6\n", "got 8 values.*polygon, or keypoints"),
        (f"{YOLO} 0.9 7.5\n", "line 1, track: expected the number of a frame"),
        (f"{YOLO}\n0 12 20 30 60\n", "line 2: expected YOLO's class.*got 5 values: 0 12 20 30 60"),
        ("1,7,11,21,30,60,1\n", "neither YOLO's nor KITTI's rows: 1,7,11.*Give one file"),
        (f"{YOLO} 7\n1{YOLO[1:]} 8\n", "class 0, 1, and it is not known which is a person.*--person-class 0"),
    ],
)
def test_yolo_that_is_not_certain(text: str, message: str, tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", "1.png")
    write(tmp_path / "labels" / "1.txt", text)
    with pytest.raises(DataError, match=message):
        read_boxes(tmp_path / "labels", frames=frames)


def test_what_the_sixth_column_is_can_be_said(tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", "1.png")
    write(tmp_path / "labels" / "1.txt", f"{YOLO} 1\n")
    assert read_boxes(tmp_path / "labels", frames=frames, format="yolo-track").names == ("1",)
    assert read_boxes(tmp_path / "labels", frames=frames, format="yolo-confidence", each=True).names == ("1.png/0",)
    with pytest.raises(ConfigError, match="YOLO's boxes have one form"):
        read_boxes(tmp_path / "labels", frames=frames, format="yolo-track", form="xywh")
    with pytest.raises(ConfigError, match="Unknown format of boxes 'yolov8'"):
        read_boxes(tmp_path / "labels", format="yolov8")  # type: ignore[arg-type]


# COCO


def coco(annotations: list[dict[str, Any]], **image: Any) -> dict[str, Any]:
    names = [{"id": i, "file_name": f"cam/{i + 1:06d}.png", **image} for i in range(3)]
    categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    return {"images": names, "annotations": annotations, "categories": categories}


def annotation(image: int, track: object = None, **more: Any) -> dict[str, Any]:
    given = {} if track is None else {"track_id": track}
    return {"image_id": image, "category_id": 1, "bbox": [10, 20, 30, 60], "iscrowd": 0, **given, **more}


def test_coco_with_tracks(tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", *(f"{i + 1:06d}.png" for i in range(3)))
    entries = [annotation(0, 7), annotation(2, 7), annotation(1, 8, category_id=3), annotation(1, 9, iscrowd=1)]
    entries.append({**annotation(2), "attributes": {"track_id": 5, "occluded": False}})  # CVAT's
    file = write(tmp_path / "gt.json", json.dumps(coco(entries, width=WIDTH, height=HEIGHT)))
    with pytest.warns(UserWarning) as told:
        boxes = read_boxes(file, frames=frames)
    assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("7", "5"), [0, 2, 2], BOX)
    assert "1 box of a group, or marked to be ignored" in said(told)
    assert "1 box of other classes than a person (car: 1; persons: person)" in said(told)
    assert boxes.where(0).endswith("gt.json, entry 0)")
    file = write(tmp_path / "gt.json", json.dumps(coco([annotation(0, 7, iscrowd=1)])))
    with pytest.raises(DataError, match="no box that shows a person: 1 box of a group"):
        read_boxes(file, frames=frames)


@pytest.mark.parametrize("name", [{"file_name": "000002.png"}, {"image_id": "000002"}, {"image_id": 2}])
def test_results_of_ultralytics(name: dict[str, Any], tmp_path: Path) -> None:
    """predictions.json of its val: the image is named, or its number stands for it."""
    frames = images(tmp_path / "hall", "000001.png", "000002.png")
    entry = {"image_id": 2, "category_id": 1, "bbox": [10, 20, 30, 60], "score": 0.9, **name}
    file = write(tmp_path / "predictions.json", json.dumps([entry, {**entry, "score": 0}]))
    boxes = read_boxes(file, frames=frames, each=True)
    assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("000002.png/0",), [1], BOX)


def test_a_number_for_a_name_is_told(tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", "000001.png", "000002.png")
    file = write(tmp_path / "results.json", json.dumps([{"image_id": 2, "bbox": [10, 20, 30, 60]}]))
    with pytest.warns(UserWarning, match="the number 2 is taken for the image 000002.png"):
        read_boxes(file, frames=frames, each=True)


def test_photos_are_not_counted(tmp_path: Path) -> None:
    """Names that are not there must not fall back to numbers in a folder without any."""
    frames = images(tmp_path / "photos", "bus.jpg", "zidane.jpg")
    write(tmp_path / "labels" / "frame_0.txt", f"{YOLO} 0.9\n")
    with pytest.raises(DataError, match="bus.jpg has no number in its name|not named alike"):
        read_boxes(tmp_path / "labels", frames=frames, each=True)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([annotation(9)], "entry 0: expected the id of an image in 'images', got 9"),
        ([annotation(0, bbox=[1, 2, 3])], r"entry 0: expected 'bbox' as x, y, width, height, got \[1, 2, 3\]"),
        ([annotation(0, bbox=[1, 2, 3, float("nan")])], "entry 0: expected 'bbox'"),
        ([annotation(0, score="high")], "entry 0: expected a number as 'score'"),
        ([annotation(0, 7), annotation(0, 7)], "track 7 has two boxes in frame 0.*in entries 0 and 1"),
        ([7], "entry 0: expected an annotation of COCO"),
        ([annotation(0, 1, file_name="a/9.png"), annotation(0, 2, file_name="b/9.png")], "several images '9.png'"),
    ],
)
def test_coco_that_is_wrong(entries: list[Any], message: str, tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", *(f"{i + 1:06d}.png" for i in range(3)))
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path / "gt.json", json.dumps(coco(entries))), frames=frames)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    frames = images(tmp_path / "hall", "000001.png", "000002.png")
    file = write(tmp_path / "gt.json", json.dumps(coco([annotation(0, 7), annotation(2, 7)])))
    with pytest.raises(DataError, match="entry 1: the box is of the image 'cam/000003.png', which is not in.*hall"):
        read_boxes(file, frames=frames)
    told: list[str] = []
    assert len(read_boxes(file, frames=frames, on_error=told.append)) == len(told) == 1
    with pytest.raises(DataError, match=r"none of its 2 is in .*other, which holds a1.png"):
        read_boxes(file, frames=images(tmp_path / "other", "a1.png"))
    boxes = read_boxes(file, frames=frames, on_error=told.append)
    with pytest.raises(DataError, match="were read with the images of"):
        open_frames(tmp_path / "other", boxes)


# CVAT


def track(number: int, label: str, *boxes: str) -> str:
    return f'<track id="{number}" label="{label}" source="manual">{"".join(boxes)}</track>\n'


def box(frame: int, outside: int = 0, more: str = "") -> str:
    place = 'xtl="10.0" ytl="20.0" xbr="40.0" ybr="80.0"'
    return f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="1" {place} z_order="0" {more}></box>'


def test_cvat_of_a_video(tmp_path: Path) -> None:
    shapes = [track(0, "person", box(3), box(4, outside=1)), track(1, "car", box(3)), track(2, "person", box(5))]
    shapes.append(track(3, "person", '<polygon frame="3" points="1,2;3,4;5,6"/>', box(4, more='rotation="30"')))
    file = write(tmp_path / "annotations.xml", CVAT.format("".join(shapes)))
    with pytest.warns(UserWarning) as told:
        boxes = read_boxes(file)
    assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("0", "2"), [3, 5], BOX)
    assert "1 box of visibility 0" in said(told)
    assert "left out what is no upright box: 1 polygon, 1 turned box" in said(told)
    assert boxes.table.sizes == {3: (200, 100), 4: (200, 100), 5: (200, 100)}


def test_cvat_of_images(tmp_path: Path) -> None:
    frames = images(tmp_path / "images", "bus.jpg", "zidane.jpg")
    shape = '<box label="person" occluded="0" xtl="10" ytl="20" xbr="40" ybr="80"/>'
    text = f'<image id="1" name="images/zidane.jpg" width="200" height="100">{shape}{shape}</image>'
    file = write(tmp_path / "annotations.xml", CVAT.format(text))
    boxes = read_boxes(file, frames=frames, each=True)
    assert (boxes.names, boxes.corners[0].tolist()) == (("zidane.jpg/0", "zidane.jpg/1"), BOX)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object/></annotation>", "is XML, but not CVAT's"),  # Pascal VOC
        ("<annotations><track id='1'>", "cannot be read as XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "has a DOCTYPE"),
        (CVAT.format(track(1, "person", '<box frame="1" xtl="1" ytl="x" xbr="2" ybr="3"/>')), "line 4: .*got 'x'"),
        (CVAT.format(track(1, "person", box(-1))), "line 4: expected the number of a frame"),
        (CVAT.format(""), "holds no box"),
        (
            CVAT.format(track(1, "person", box(1)) + f'<image name="1.png">{box(1)}</image>'),
            "of an image, others of a frame",
        ),
    ],
)
def test_cvat_that_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path / "a.xml", text))


# Lists of JSON objects, and CSV of the same tools


SUMMARY = {"name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 80.0}}


def test_summaries_of_ultralytics(tmp_path: Path) -> None:
    row = {**SUMMARY, "track_id": 7}
    car = {**row, "name": "car", "class": 2, "track_id": 8}
    for content in ([[row, car], [], [row]], [{**row, "frame": 0}, {**car, "frame": 0}, {**row, "frame": 2}]):
        boxes = read_boxes(write(tmp_path / "a.json", json.dumps(content)))
        assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("7",), [0, 2], BOX)
    packed = str(SUMMARY["box"])
    boxes = read_boxes(
        write(tmp_path / "a.csv", f'name,class,confidence,box,track_id,frame\nperson,0,0.9,"{packed}",7,1\n')
    )
    assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("7",), [1], BOX)
    with pytest.raises(DataError, match="do not say which frame a box is of. Add a column 'frame'"):
        read_boxes(write(tmp_path / "a.json", json.dumps([row])))
    turned = {**row, "box": {f"{axis}{i}": 1.0 for axis in "xy" for i in range(1, 5)}}
    with pytest.raises(DataError, match="entry 0: expected a box.*Oriented boxes"):
        read_boxes(write(tmp_path / "a.json", json.dumps([[turned]])))


def test_sinks_of_supervision(tmp_path: Path) -> None:
    row = {"x_min": 10.0, "y_min": 20.0, "x_max": 40.0, "y_max": 80.0, "class_id": 0, "confidence": 0.9,
           "tracker_id": 7, "class_name": "person", "embedding": [1.0, 2.0], "frame_index": 0}  # fmt: skip
    file = write(tmp_path / "sink.json", json.dumps([row, {**row, "frame_index": 1, "tracker_id": 8}]))
    assert read_boxes(file).names == ("7", "8")
    untracked = write(tmp_path / "sink.json", json.dumps([{**row, "tracker_id": ""}] * 2))
    with pytest.raises(DataError, match="entry 0: the box belongs to no track.*embed-boxes"):
        read_boxes(untracked)
    assert read_boxes(untracked, each=True).names == ("0/0", "0/1")
    cells = "10,20,40,80,0,0.9,7,person,0\n"
    header = "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,class_name,frame_index\n"
    assert read_boxes(write(tmp_path / "sink.csv", header + cells)).names == ("7",)


def test_tables_that_name_images(tmp_path: Path) -> None:
    frames = images(tmp_path / "photos", "bus.jpg", "zidane.jpg")
    table = write(tmp_path / "a.csv", "image,x1,y1,x2,y2\nphotos/zidane.jpg,10,20,40,80\nbus.jpg,1,2,3,80\n")
    boxes = read_boxes(table, frames=frames, each=True)
    assert boxes.names == ("bus.jpg/0", "zidane.jpg/0")
    with pytest.raises(DataError, match="do not end in the number of a frame. Give the folder"):
        read_boxes(table, each=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"info": 1}', "a JSON object with info; expected COCO's"),
        ("[1, 2]", "expected a list of JSON objects"),
        ("[]", "expected a first line that names"),
        ("[{]", "cannot be read"),
    ],
)
def test_other_json(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path / "a.json", content))


def test_folders_without_boxes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected YOLO's or KITTI's .txt files.*It holds nothing.*'labels'"):
        read_boxes(tmp_path)
    images(tmp_path, "1.png")
    with pytest.raises(DataError, match="It holds .png"):
        read_boxes(tmp_path)


# Every box alone


def test_each_box_keeps_its_number(tmp_path: Path) -> None:
    """It is that of the table, whatever is left out."""
    rows = ["1,-1,11,21,30,60,0.9", "1,-1,11,21,30,60,0", "1,-1,51,21,30,60,0.8", "3,4,11,21,30,60,0.7"]
    det = write(tmp_path / "det.txt", "\n".join(rows))
    boxes = read_boxes(det, each=True)
    assert boxes.names == ("0/0", "0/2", "2/0")
    assert boxes.spans()[:, 2].tolist() == [1, 1, 1]


# Live results


def test_live_results() -> None:
    tracked = SimpleNamespace(
        names={0: "person", 2: "car"},
        boxes=SimpleNamespace(xyxy=torch.tensor([BOX, BOX]), id=torch.tensor([7.0, 8.0]), conf=torch.tensor([0.9, 0.8]),
                              cls=torch.tensor([0.0, 2.0])),
    )  # fmt: skip
    nobody = SimpleNamespace(names={}, boxes=SimpleNamespace(xyxy=torch.zeros(0, 4), id=None, conf=None, cls=None))
    with pytest.warns(UserWarning, match=r"other classes than a person \(car: 2"):
        boxes = boxes_of(iter([tracked, nobody, tracked]))
    assert (boxes.names, boxes.frames.tolist(), boxes.corners[0].tolist()) == (("7",), [0, 2], BOX)
    detections = SimpleNamespace(xyxy=np.array([BOX]), confidence=None, class_id=None, tracker_id=None, data={})
    with pytest.raises(DataError, match="result 0, box 0: the box belongs to no track"):
        boxes_of([detections])
    assert boxes_of([detections], each=True).names == ("0/0",)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (SimpleNamespace(xyxy=[BOX]), "Expected an iterable of results"),
        ([SimpleNamespace(boxes=None)], "result 0: expected upright boxes"),
        ([SimpleNamespace(xyxy=[BOX[:3]])], r"result 0: expected boxes \[N, 4\]"),
        ([SimpleNamespace(xyxy=[[float("nan")] * 4])], "result 0: a box is not finite"),
        ([SimpleNamespace(xyxy=[BOX], tracker_id=[1, 2])], "result 0: expected 1 tracks"),
        ([SimpleNamespace(xyxy=[BOX], confidence=[[1, 2]])], "result 0: expected 1 confidences"),
        ([], "hold no box"),
    ],
)
def test_live_results_that_are_none(results: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        boxes_of(results)


def test_a_folder_in_order(tmp_path: Path) -> None:
    frames = FrameFolder.open(images(tmp_path / "hall", "a9.png", "a10.png"), in_order=True)
    file = write(tmp_path / "gt.json", json.dumps([{"image_id": "a10", "bbox": [10, 20, 30, 60], "track_id": 7}]))
    assert read_boxes(file, frames=frames).frames.tolist() == [1]
