"""What people say of tracks: kept in a file, and never contradicting itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.files import hold_work
from partreid.linking import Correction, Corrections, corrections_of
from partreid.retrieval import Gallery


def test_they_come_back_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "corrections.json"
    assert len(Corrections.load(file)) == 0
    said = Corrections().with_said(same=[("b/2", "a/1")], different=[("a/1", "c/é")], who="ann")
    said.save(file)
    assert Corrections.load(file) == said
    first, second = Corrections.load(file).said
    assert (first.pair, first.same, first.who) == (("a/1", "b/2"), True, "ann")
    assert first.time.endswith("+00:00")
    assert (str(first), str(second)) == ("a/1 = b/2", "a/1 ≠ c/é")
    assert json.loads(file.read_text())["format"] == "partreid-corrections"


def test_the_last_word_on_a_pair_counts() -> None:
    said = Corrections().with_said(same=[("a", "b")]).with_said(different=[("b", "a")])
    assert (said.same_persons(), said.different()) == ([], [("a", "b")])
    assert len(said.without([("b", "a")])) == 0
    with pytest.raises(DataError, match="Nothing was said of a and c"):
        said.without([("c", "a")])
    with pytest.raises(DataError, match="corrected twice"):
        said.with_said(same=[("a", "b")], different=[("b", "a")])


def test_contradictions_are_refused_and_named() -> None:
    said = Corrections().with_said(same=[("a", "b"), ("b", "c"), ("x", "y")])
    assert said.same_persons() == [("a", "b", "c"), ("x", "y")]
    with pytest.raises(DataError, match="a ≠ c, but a = b and b = c"):
        said.with_said(different=[("c", "a")])
    assert said.without([("a", "b")]).with_said(different=[("c", "a")]).different() == [("a", "c")]


def test_what_was_said_between_two_groups_is_taken_back() -> None:
    said = Corrections().with_said(same=[("a", "b"), ("c", "d")], different=[("a", "c"), ("a", "x")])
    assert said.without_between(["a", "b"], ["c", "d"], same=False).different() == [("a", "x")]
    assert said.without_between(["b"], ["a"], same=True).same_persons() == [("c", "d")]


@pytest.mark.parametrize(
    "content",
    [
        "[]", "{}", "x", '{"format": "partreid-corrections", "version": 2, "said": []}',
        '{"format": "partreid-corrections", "version": 1, "said": [{"first": "a", "second": "a", "same": true}]}',
        '{"format": "partreid-corrections", "version": 1, "said": [{"first": "a", "second": "b", "same": 1}]}',
        '{"format": "partreid-corrections", "version": 1, "said": [{"first": "a", "second": 3, "same": true}]}',
        '{"format": "partreid-corrections", "version": 1, "said": [{"first": "a"}]}',
        '{"format": "partreid-corrections", "version": 1, "said": {"a": 1}}',
        '{"format": "partreid-corrections", "version": 1, "said": '
        '[{"first": "a", "second": "b", "same": true, "time": "yesterday"}]}',
    ],
)  # fmt: skip
def test_damaged_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "corrections.json"
    file.write_text(content)
    with pytest.raises(DataError):
        Corrections.load(file)


@pytest.mark.parametrize("pair", [("a",), ("a", "b", "c"), "ab", ("a", ""), ("a", "a"), (1, 2)])
def test_wrong_pairs_are_refused(pair: tuple[str, ...]) -> None:
    with pytest.raises((DataError, TypeError)):
        Corrections().with_said(same=[pair])


def test_nobody_changes_the_file_at_the_same_time(tmp_path: Path) -> None:
    file = tmp_path / "corrections.json"
    assert Corrections.change(file, lambda said: (said.with_said(same=[("a", "b")]), 7)) == 7
    lock = tmp_path / ".corrections.json.lock"
    with hold_work(lock, "changing it", error=DataError), pytest.raises(DataError, match="Wait for it to end"):
        Corrections.change(file, lambda said: (said, None))
    assert [one.pair for one in Corrections.load(file).said] == [("a", "b")]
    assert [path.name for path in tmp_path.iterdir()] == ["corrections.json"]


def test_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lance")
    (tmp_path / "memory").mkdir()
    monkeypatch.chdir(tmp_path)
    assert corrections_of(Gallery()) is None
    with Gallery(tmp_path / "people") as gallery:
        assert corrections_of(gallery) is None  # nothing is there yet


def test_a_correction_is_about_two_tracks() -> None:
    assert Correction("b", "a", True).pair == ("a", "b")
    with pytest.raises(DataError, match="twice"):
        Correction("a", "a", True)


def test_what_was_said_by_way_of_tracks_that_are_gone_stays() -> None:
    said = Corrections().with_said(
        same=[("a", "b"), ("b", "c"), ("c", "d"), ("x", "y")], different=[("b", "x"), ("a", "z"), ("b", "q")], who="ann"
    )
    left = said.without_tracks({"b", "x", "q"})
    assert left.same_persons() == [("a", "c", "d")]
    assert left.different() == [("a", "y"), ("a", "z")]
    assert {str(one): one.who for one in left.said} == {
        "a = c": "", "a = d": "", "a ≠ y": "", "c = d": "ann", "a ≠ z": "ann",
    }  # fmt: skip
    assert said.without_tracks(set()) == said
    assert len(said.without_tracks({"a", "b", "c", "d", "x", "y"})) == 0
