"""Re-association on sequences in MOTChallenge's layout: a film of coloured people, and a model that sees colours."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.evaluation import Reassociation, reassociate, reassociate_sequences
from partreid.evaluation.reassociation import GAPS
from partreid.inference.crops import crop_boxes
from partreid.inference.extractor import PartExtractor
from partreid.reports import evaluate_reassociation
from tests.app.people import BLACK, ColorRunner, Rgb, person

pytestmark = pytest.mark.filterwarnings("ignore:.*left out 12 boxes of confidence 0")

WIDTH, HEIGHT, LENGTH = 120, 40, 12
PEOPLE: dict[int, tuple[Rgb, Rgb]] = {
    1: ((220, 40, 40), (40, 220, 120)),
    2: ((220, 40, 40), (40, 40, 220)),  # the same torso
    3: ((120, 40, 140), (120, 40, 140)),  # nearly the mean of person 2
}


def film(folder: Path, *, hidden: int = 2, visibility: bool = True, copies: tuple[str, ...] = ("",)) -> Path:
    """Three people in a row for 12 frames; in frames 4 to 7 the legs of person ``hidden`` are behind something."""
    sequence = folder / f"walk{copies[0]}"
    (sequence / "img1").mkdir(parents=True)
    (sequence / "gt").mkdir()
    lines = []
    for number in range(LENGTH):
        frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        for track, (torso, legs) in PEOPLE.items():
            behind = track == hidden and 4 <= number < 8
            left = 40 * (track - 1) + number
            frame[4:36, left : left + 16] = person(torso, BLACK if behind else legs, seed=number, size=(32, 16))
            seen = f"1,1,{0.5 if behind else 1}" if visibility else "1,-1,-1,-1"
            lines.append(f"{number + 1},{track},{left + 1},5,16,32,{seen}")
        lines.append(f"{number + 1},9,{WIDTH - 19},1,18,4,0,12,1")  # a reflection, to be ignored
        Image.fromarray(frame).save(sequence / "img1" / f"{number + 1:06d}.png")
    (sequence / "gt" / "gt.txt").write_text("\n".join(lines) + "\n")
    (sequence / "seqinfo.ini").write_text(
        f"[Sequence]\nname=walk\nimDir=img1\nframeRate=4\nseqLength={LENGTH}\nimWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.png\n"
    )
    for name in copies[1:]:
        shutil.copytree(sequence, folder / f"walk{name}")
    return sequence


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sequence. Read only."""
    return film(tmp_path_factory.mktemp("walks")).parent


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    return PartExtractor.from_runner(ColorRunner())


def scores(found: Reassociation, **options: Any) -> dict[tuple[str, str, str], tuple[int, float, float]]:
    return {(r.way, r.gap, r.level): (r.queries, r.rank1, r.not_comparable) for r in found.rows(bootstrap=0, **options)}


def test_boxes_of_sequences_as_of_arrays(walk: Path, extractor: PartExtractor) -> None:
    with pytest.warns(UserWarning, match="left out 12 boxes of confidence 0"):
        found = reassociate_sequences(extractor, walk, gaps=[1, "1s"])
    crops, frames, people, visible = [], [], [], []
    for number in range(LENGTH):
        pixels = np.array(Image.open(walk / "walk" / "img1" / f"{number + 1:06d}.png"))
        for track in PEOPLE:
            left = 40 * (track - 1) + number
            crops += crop_boxes(pixels, [[left, 4, left + 16, 36]])
            frames.append(number)
            people.append(track)
            visible.append(0.5 if track == 2 and 4 <= number < 8 else 1.0)
    expected = reassociate(extractor.embed(list(crops)), frames, people, visible, gaps=[1, 4])
    named = {(way, {"4": "1s"}.get(gap, gap), level): s for (way, gap, level), s in scores(expected).items()}
    assert scores(found) == named
    assert named["all", "1s", "all"][0] == 3 * (LENGTH - 4)
    assert named["all", "1s", "[0.3, 0.6)"][0] == 8


def test_parts_find_whom_one_vector_does_not(walk: Path, extractor: PartExtractor) -> None:
    found = reassociate_sequences(extractor, walk, gaps=[4], every=4)
    table = scores(found, by="target", levels=[0.6])
    assert table == {
        ("all", "4", "all"): (6, 1.0, 0.0),  # the boxes of frames 0 and 4
        ("all", "4", "[0, 0.6)"): (1, 1.0, 0.0),
        ("all", "4", "[0.6, 1]"): (5, 1.0, 0.0),
        ("foreground", "4", "all"): (6, 5 / 6, 0.0),
        ("foreground", "4", "[0, 0.6)"): (1, 0.0, 0.0),  # red without its legs, and another is as purple as the whole
        ("foreground", "4", "[0.6, 1]"): (5, 1.0, 0.0),
    }


@pytest.mark.parametrize("every", [2, 5])
def test_every_takes_fewer_queries_and_the_same_gaps(walk: Path, extractor: PartExtractor, every: int) -> None:
    runs = extractor.runner.runs  # type: ignore[attr-defined]
    found = reassociate_sequences(extractor, walk, gaps=[3], every=every)
    assert extractor.runner.runs > runs  # type: ignore[attr-defined]
    assert scores(found)["all", "3", "all"][0] == 3 * len(range(0, LENGTH - 3, every))


def test_a_visibility_that_is_not_given_is_unknown(tmp_path: Path, extractor: PartExtractor) -> None:
    sequence = film(tmp_path, visibility=False)
    assert {level for *_, level in scores(reassociate_sequences(extractor, sequence, gaps=[1]))} == {"all", "unknown"}


def test_copies_for_detectors_are_used_once(tmp_path: Path, extractor: PartExtractor) -> None:
    film(tmp_path / "train", copies=("-DPM", "-FRCNN", "-SDP"))
    with pytest.warns(UserWarning, match=r"Left out 2 sequences \(walk-FRCNN, walk-SDP\)"):
        found = reassociate_sequences(extractor, tmp_path, gaps=[1])
    assert scores(found)["all", "1", "all"][0] == 3 * (LENGTH - 1)
    assert len(set(found.pairs.person.tolist())) == 3


def test_sequences_with_equal_ids_are_other_persons(tmp_path: Path, extractor: PartExtractor) -> None:
    film(tmp_path, copies=("a", "b"))
    found = reassociate_sequences(extractor, tmp_path, gaps=[1])
    assert len(set(found.pairs.person.tolist())) == 6
    assert scores(found)["all", "1", "all"] == (66, 1.0, 0.0)


def test_what_is_wrong_is_told(tmp_path: Path, walk: Path, extractor: PartExtractor) -> None:
    for gaps, error, message in (
        ([1, 12], DataError, "gap 12 is longer than every sequence.* 11 frames apart"),
        (["3s"], DataError, "gap 3s is longer"),
        (["0.1s"], ConfigError, "number of frames from 1"),
        (["soon"], ConfigError, "number of frames from 1"),
        ([0], ConfigError, "number of frames from 1"),
        ([True], ConfigError, "number of frames from 1"),
        ([1.5], ConfigError, "number of frames from 1"),
        ([], DataError, "one gap"),
        (GAPS, DataError, "gap 30 is longer"),
    ):
        with pytest.raises(error, match=message):
            reassociate_sequences(extractor, walk, gaps=gaps)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="every is a whole number"):
        reassociate_sequences(extractor, walk, gaps=[1], every=0)
    with pytest.raises(DataError, match="holds no sequence of MOTChallenge"):
        reassociate_sequences(extractor, walk / "walk" / "img1", gaps=[1])
    sequence = film(tmp_path)
    (sequence / "seqinfo.ini").unlink()
    with pytest.raises(ConfigError, match="how many frames a second walk has"):
        reassociate_sequences(extractor, sequence / "gt" / "..", gaps=["1s"])


def test_boxes_outside_and_damaged_frames_stop_or_are_left_out(tmp_path: Path, extractor: PartExtractor) -> None:
    sequence = film(tmp_path)
    table = sequence / "gt" / "gt.txt"
    table.write_text(table.read_text() + "1,7,500,5,16,32,1,1,1\n2,7,500,5,16,32,1,1,1\n")
    (sequence / "img1" / "000012.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="track 7.*lies outside the frame"):
        reassociate_sequences(extractor, sequence, gaps=[1])
    told: list[str] = []
    found = reassociate_sequences(extractor, sequence, gaps=[1], on_error=told.append)
    assert len(told) == 2 + 1 + 3  # two boxes, a frame, and its boxes
    assert scores(found)["all", "1", "all"][0] == 3 * (LENGTH - 2)


def test_files_say_what_the_result_says(walk: Path, extractor: PartExtractor, tmp_path: Path) -> None:
    found = evaluate_reassociation(extractor, walk, gaps=[1, 4], levels=[0.6], out=tmp_path / "out")
    content = json.loads((tmp_path / "out" / "reassociation.json").read_text(), parse_constant=pytest.fail)
    rows = list(csv.DictReader((tmp_path / "out" / "reassociation.csv").open()))
    assert [row["visibility_of"] for row in content["scores"]] == [row["visibility_of"] for row in rows]
    assert {row["visibility_of"] for row in rows} == {"query", "target", "lower"}
    for row, plain in zip(rows, content["scores"], strict=True):
        assert (row["way"], row["gap"], row["level"], float(row["rank1"])) == (
            plain["way"], plain["gap"], plain["level"], plain["rank1"])  # fmt: skip
        assert plain["rank1_low"] is None or plain["rank1_low"] <= plain["rank1"] <= plain["rank1_high"]
    assert {one["first"] for one in content["differences"]} == {"foreground"}
    assert content["matching"]["visibility"] == "product"
    assert found.summary()["alone_left_out"] == {"1": 0, "4": 0}
