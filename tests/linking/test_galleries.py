"""Galleries that are linked: what is read, what is written, and who is merged and split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from partreid.errors import DataError, ShapeError
from partreid.inference.embedding_file import save_embeddings
from partreid.linking import (
    Corrections,
    LinkTracks,
    corrections_of,
    link,
    merge_persons,
    save_links,
    save_mot,
    save_persons,
    split_tracks,
)
from partreid.retrieval import Gallery
from partreid.retrieval.filters import Filter
from partreid.tracking import TrackBoxes, read_boxes
from partreid.types.gallery import GalleryRecords
from tests.linking.people import CURVES, NOON, fill, looks


@pytest.fixture(params=["memory", "folder"])
def gallery(request: pytest.FixtureRequest, tmp_path: Path) -> Gallery:
    if request.param == "folder":
        pytest.importorskip("lance")
    made = Gallery() if request.param == "memory" else Gallery(tmp_path / "people")
    fill(made)
    return made


def who(gallery: Gallery) -> dict[str, object]:
    return {item.id: item.metadata.get("person") for item in gallery}


def relink(gallery: Gallery, file: Path | None = None) -> dict[str, object]:
    said = None if file is None else Corrections.load(file)
    save_persons(gallery, link(LinkTracks.of_gallery(gallery), CURVES, corrections=said))
    return who(gallery)


LINKED = {"hall/1": "p1", "hall/2": "p2", "yard/1": "p1", "yard/2": "p2", "yard/3": "p1", "yard/4": "p3"}


def test_who_is_who_comes_back_into_the_gallery(gallery: Gallery) -> None:
    before = {item.id: item for item in gallery}
    found = link(LinkTracks.of_gallery(gallery), CURVES)
    assert save_persons(gallery, found) == 6
    assert who(gallery) == LINKED
    for item in gallery:
        kept = {key: value for key, value in item.metadata.items() if not key.startswith("person")}
        assert (item.camera, item.time, kept) == (
            before[item.id].camera,
            before[item.id].time,
            before[item.id].metadata,
        )
    assert gallery.search(looks(0.0), where=Filter(metadata={"person": "p1"})).ids == (("hall/1", "yard/1", "yard/3"),)
    assert save_persons(gallery, found) == 0
    assert relink(gallery) == LINKED


def test_new_tracks_get_the_old_names(gallery: Gallery) -> None:
    relink(gallery)
    gallery.add(looks(9.05, 50.0), ["0/1", "0/2"], cameras="gate", times=[NOON, NOON])
    assert relink(gallery) == LINKED | {"0/1": "p2", "0/2": "p4"}


def test_names_that_people_gave_are_left_alone(gallery: Gallery) -> None:
    gallery.add(looks(9.0), ["staff/ben"], metadata=[{"person": "ben"}])
    assert relink(gallery)["yard/2"] == "ben"
    assert "person_from" not in gallery.get(["staff/ben"]).items[0].metadata
    only = link(LinkTracks.of_gallery(gallery), CURVES, only_known=True)
    save_persons(gallery, only)
    assert {name: one for name, one in who(gallery).items() if one} == dict.fromkeys(
        ("hall/2", "staff/ben", "yard/2"), "ben"
    )


def test_people_of_another_gallery_are_known(gallery: Gallery) -> None:
    staff = Gallery()
    staff.add(looks(0.0, 70.0), ["1", "2"], metadata=[{"person": "anna"}, None])
    both = LinkTracks.of_gallery(gallery).with_known(LinkTracks.of_gallery(staff))
    assert len(both) == 7
    save_persons(gallery, link(both, CURVES))
    assert who(gallery)["hall/1"] == "anna"
    assert len(gallery) == 6


def test_items_that_were_deleted_meanwhile_stay_so(gallery: Gallery) -> None:
    found = link(LinkTracks.of_gallery(gallery), CURVES)
    gallery.delete(["hall/1"])
    assert save_persons(gallery, found) == 5
    assert gallery.known(["hall/1"]) == set()


def test_a_part_of_a_gallery_is_linked(gallery: Gallery) -> None:
    relink(gallery)
    some = LinkTracks.of_gallery(gallery, Filter(cameras="hall"))
    assert (some.ids, some.taken) == (["hall/1", "hall/2"], {"p1", "p2", "p3"})
    for empty, where in ((Gallery(), None), (gallery, Filter(cameras="none"))):
        with pytest.raises(DataError, match="no item to link"):
            LinkTracks.of_gallery(empty, where)


@pytest.mark.parametrize(
    "metadata", [{"first_second": 9.0, "last_second": 8.0}, {"first_second": "9"}, {"last_second": True}]
)
def test_times_that_run_backwards_are_refused(metadata: dict[str, object]) -> None:
    gallery = Gallery()
    gallery.add(looks(0.0), ["a"], metadata=[metadata])
    with pytest.raises(DataError, match="'a'"):
        LinkTracks.of_gallery(gallery)


def test_merged_by_a_person(gallery: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "said.json"
    relink(gallery)
    with pytest.raises(DataError, match="seen at the same time"):
        merge_persons(gallery, file, "p1", "p2")
    assert not file.exists()
    gallery.delete(["hall/1", "yard/1"])
    assert merge_persons(gallery, file, "p1", "p2", who="ann") == "p1"
    assert who(gallery) == {"hall/2": "p1", "yard/2": "p1", "yard/3": "p1", "yard/4": "p3"}
    (said,) = Corrections.load(file).said
    assert (said.same, said.who) == (True, "ann")
    assert relink(gallery, file)["hall/2"] == relink(gallery, file)["yard/3"]
    with pytest.raises(DataError, match="no person 'p2'"):
        merge_persons(gallery, file, "p1", "p2")
    with pytest.raises(DataError, match="twice"):
        merge_persons(gallery, file, "p1", "p1")


def test_split_by_a_person_and_merged_again(gallery: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "said.json"
    relink(gallery)
    assert split_tracks(gallery, file, ["yard/3"]) == "p4"
    assert who(gallery) == LINKED | {"yard/3": "p4"}
    assert relink(gallery, file) == LINKED | {"yard/3": "p4"}
    assert Corrections.load(file).different() == [("hall/1", "yard/3"), ("yard/1", "yard/3")]
    assert merge_persons(gallery, file, "p1", "p4") == "p1"
    assert Corrections.load(file).different() == []
    assert relink(gallery, file) == LINKED


@pytest.mark.parametrize(
    ("tracks", "words"),
    [
        (["hall/1", "hall/2"], "of one person, got tracks of p1, p2"),
        (["hall/1", "yard/1", "yard/3"], "nothing to split off"),
        (["none"], "Not in the gallery"), ([], "Expected a list"), ("hall/1", "Expected a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_split(tracks: list[str], words: str, tmp_path: Path) -> None:
    gallery = Gallery()
    fill(gallery)
    relink(gallery)
    with pytest.raises(DataError, match=words):
        split_tracks(gallery, tmp_path / "said.json", tracks)


def test_people_with_given_names(tmp_path: Path) -> None:
    gallery, file = Gallery(), tmp_path / "said.json"
    fill(gallery)
    gallery.add(looks(9.0, 0.0), ["staff/ben", "staff/al"], metadata=[{"person": "ben"}, {"person": "al"}])
    relink(gallery)
    with pytest.raises(DataError, match="People named both"):
        merge_persons(gallery, file, "ben", "al")
    with pytest.raises(DataError, match="Somebody named 'staff/ben' 'ben'"):
        split_tracks(gallery, file, ["staff/ben"])
    assert who(gallery)["yard/4"] == "p1"
    assert merge_persons(gallery, file, "p1", "ben") == "ben"
    assert who(gallery)["yard/4"] == "ben"


def boxes() -> TrackBoxes:
    """hall/1 in frames 0 and 1, hall/2 in 1, hall/9 in 2."""
    corners = np.array([[0.0, 1, 10, 21], [1, 1, 11, 21], [30, 5.5, 40, 25], [50, 5, 60, 25]])
    return TrackBoxes(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), corners, ("1", "2", "9"))


def test_a_table_and_mot_files(gallery: Gallery, tmp_path: Path) -> None:
    found = link(LinkTracks.of_gallery(gallery), CURVES)
    rows = list(csv.DictReader(save_links(tmp_path / "persons.csv", found).open()))
    assert [(row["track"], row["person"], row["number"], row["links"]) for row in rows] == [
        (name, person, person[1:], {"p1": "2", "p2": "1", "p3": "0"}[person]) for name, person in LINKED.items()
    ]
    assert (rows[0]["camera"], rows[0]["start"], rows[0]["end"]) == (
        "hall", "2026-11-23T12:00:00+00:00", "2026-11-23T12:00:10+00:00"
    )  # fmt: skip
    assert 0.9 < float(rows[0]["probability"]) < 1
    assert rows[5]["probability"] == ""
    (file,) = save_mot(tmp_path / "mot", found, {"hall": boxes()})
    assert file.read_text().splitlines() == [
        "1,1,1,2,10,20,1,-1,-1,-1", "2,1,2,2,10,20,1,-1,-1,-1", "2,2,31,6.5,10,19.5,1,-1,-1,-1"
    ]  # fmt: skip
    back = read_boxes(file)
    assert (back.names, back.frames.tolist()) == (("1", "2"), [0, 1, 1])
    assert np.array_equal(back.corners, boxes().corners[:3])
    with pytest.raises(DataError, match="No track of the boxes of 'gate'"):
        save_mot(tmp_path / "mot", found, {"gate": boxes()})


def test_files_of_tracks(tmp_path: Path) -> None:
    hall, yard = tmp_path / "hall.safetensors", tmp_path / "yard.safetensors"
    save_embeddings(hall, looks(0.0, 0.05, 50.0), names=["hall/1", "hall/2", "hall/9"])
    save_embeddings(yard, looks(0.02), names=["yard/a/1"])
    alone = LinkTracks.of_files([hall, yard])
    assert alone.ids == ["hall/1", "hall/2", "hall/9", "yard/a/1"]
    assert len(link(alone, CURVES, prior=0.5).sizes) == 2
    timed = LinkTracks.of_files([yard, hall], {"hall": boxes()})
    found = link(timed, CURVES, prior=0.5)
    assert len(found.sizes) == 3  # two of one frame are two
    assert (found.tracks[0].first, found.tracks[0].last) == (0, 1)
    with pytest.raises(DataError, match="boxes of 'gate' belong to no track here. The videos here are: hall, yard"):
        LinkTracks.of_files([hall, yard], {"gate": boxes()})
    with pytest.raises(DataError, match="Two tracks are called 'hall/1'"):
        LinkTracks.of_files([hall, hall])
    with pytest.raises(DataError, match="list of files"):
        LinkTracks.of_files(str(hall))
    other = looks(0.0)
    save_embeddings(yard, type(other)(other.vectors, other.visibility, ("foreground", "legs")), names=["yard/1"])
    with pytest.raises(ShapeError, match="slots differ"):
        LinkTracks.of_files([hall, yard])


def test_corrections_lie_in_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("lance")
    with Gallery(tmp_path / "people") as gallery:
        fill(gallery)
        file = corrections_of(gallery)
        assert file == tmp_path / "people" / "corrections.json"
        relink(gallery)
        split_tracks(gallery, file, ["yard/3"])
        assert gallery.verify() == []
        records = gallery.get(["hall/1"])
        gallery.add_records(GalleryRecords(records.items, records.embeddings), replace=True)
    with Gallery(tmp_path / "people", create=False) as again:
        assert who(again) == LINKED | {"yard/3": "p4"}
