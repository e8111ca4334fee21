"""``partreid link``: from a gallery or files to persons, a table, MOT files, and back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from partreid.inference.embedding_file import save_embeddings
from partreid.linking import Corrections
from partreid.retrieval import Gallery
from partreid.retrieval.calibration import MatchCalibration
from tests.cli.conftest import Run
from tests.linking.people import CURVES, fill, looks


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    return CURVES.save(tmp_path / "curves.json")


def who(location: Path) -> dict[str, object]:
    with Gallery.open(location, create=False) as gallery:
        return {item.id: item.metadata.get("person") for item in gallery}


LINKED = {"hall/1": "p1", "hall/2": "p2", "yard/1": "p1", "yard/2": "p2", "yard/3": "p1", "yard/4": "p3"}


def test_a_gallery(run: Run, curves: Path, tmp_path: Path) -> None:
    pytest.importorskip("lance")
    people, out = tmp_path / "people", tmp_path / "persons.csv"
    with Gallery(people) as gallery:
        fill(gallery)
    command = ("link", people, "--calibration", curves)
    status, text = run(*command, "--dry-run", "-o", out)
    assert status == 0, text
    assert "6 tracks, 3 persons, 2 of them with several tracks." in text
    assert "are expected to be wrong" in text
    assert [row["person"] for row in csv.DictReader(out.open())] == list(LINKED.values())
    assert set(who(people).values()) == {None}
    status, text = run(*command)
    assert (status, "6 items of the gallery changed." in text) == (0, True)
    assert who(people) == LINKED
    status, text = run(*command, "--different", "hall/1,yard/1", "--who", "ann")
    assert status == 0, text
    assert who(people)["hall/1"] != who(people)["yard/1"]
    (said,) = Corrections.load(people / "corrections.json").said
    assert (said.who, said.same) == ("ann", False)
    status, text = run(*command, "--same", "hall/1,hall/2")
    assert (status, "seen at the same time" in text) == (2, True)
    assert len(Corrections.load(people / "corrections.json")) == 1
    status, text = run(*command, "--forget", "yard/1,hall/1")
    assert status == 0, text
    assert len(Corrections.load(people / "corrections.json")) == 0
    assert who(people)["hall/1"] == who(people)["yard/1"]


def test_files_with_their_boxes(run: Run, curves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hall, yard, boxes = (tmp_path / name for name in ("hall.safetensors", "yard.safetensors", "boxes.csv"))
    save_embeddings(hall, looks(0.0, 0.05), names=["hall/1", "hall/2"])
    save_embeddings(yard, looks(0.02), names=["yard/1"])
    boxes.write_text("frame,track,x1,y1,x2,y2\n0,1,0,0,10,20\n0,2,20,0,30,20\n")
    command = ("link", hall, yard, "--calibration", curves, "--prior", "0.5")
    status, text = run(*command)
    assert (status, "3 tracks, 1 person" in text) == (0, True), text
    assert "tracks is unknown, so two that were seen at the same time are not kept apart" in text
    status, text = run(*command, "--boxes", f"hall={boxes}", "--mot", "mot")
    assert (status, "3 tracks, 2 persons" in text) == (0, True), text
    assert (tmp_path / "mot" / "hall.txt").read_text().splitlines() == [
        "1,1,1,1,10,20,1,-1,-1,-1", "1,2,21,1,10,20,1,-1,-1,-1"
    ]  # fmt: skip
    assert (tmp_path / "persons.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mot", "m"), "Give --boxes too"),
        (("--camera", "1"), "need a gallery"), (("--same", "hall/1"), "two tracks"),
        (("--same", "hall/1,hall/2"), "--corrections"), (("--max-wrong", "2"), "max-wrong"),
        (("--travel", "a,b"), "FROM,TO,LEAST,MOST"), (("--prior", "0"), "between 0 and 1"),
        (("--same", "hall/1,none", "--corrections", "c.json"), "no track 'none'"),
        (("--forget", "hall/1,hall/2", "--corrections", "c.json"), "Nothing was said"),
        (("--boxes", "hall=a.csv", "--boxes", "hall=b.csv"), "two tables"),
    ],
)  # fmt: skip
def test_what_is_refused(
    arguments: tuple[str, ...], words: str, run: Run, curves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_embeddings(tmp_path / "hall.safetensors", looks(0.0, 9.0), names=["hall/1", "hall/2"])
    status, text = run("link", "hall.safetensors", "--calibration", curves, *arguments)
    assert (status, words in text) == (2, True), text
    assert not (tmp_path / "c.json").exists()


def test_other_models_are_refused(run: Run, curves: Path, tmp_path: Path) -> None:
    tracks = looks(0.0, 9.0)
    save_embeddings(tmp_path / "a.safetensors", type(tracks)(tracks.vectors, tracks.visibility, tracks.slots, "one"))
    MatchCalibration.load(curves).model_copy(update={"model": "two"}).save(curves)
    status, text = run("link", tmp_path / "a.safetensors", "--calibration", curves, "-o", tmp_path / "out.csv")
    assert (status, "belongs to model two" in text) == (2, True)
    status, text = run("link", tmp_path / "a", tmp_path / "b", "--calibration", curves)
    assert (status, "several galleries" in text) == (2, True)


def test_travel_times_from_a_table(run: Run, curves: Path, tmp_path: Path) -> None:
    pytest.importorskip("lance")
    with Gallery(tmp_path / "people") as gallery:
        fill(gallery)
    table = tmp_path / "ways.csv"
    table.write_text("from,to,least,most\nhall,yard,600,\n")
    status, text = run("link", tmp_path / "people", "--calibration", curves, "--travel", table)
    assert status == 0, text
    assert who(tmp_path / "people")["hall/1"] != who(tmp_path / "people")["yard/1"]
    table.write_text("from,to,least,most\nhall,yard,x,\n")
    status, text = run("link", tmp_path / "people", "--calibration", curves, "--travel", table)
    assert (status, "line 2" in text) == (2, True)
