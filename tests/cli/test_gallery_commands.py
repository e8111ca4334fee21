"""``partreid gallery``: from images to answers, and what happens when it is stopped or misused."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.retrieval import Filter, Gallery
from partreid.runtime import RuntimeConfig
from partreid.tracking.tracklets import merge_tracklet
from partreid.types import PartEmbeddings
from partreid.types.moments import parse_moment
from tests.cli.conftest import Run

PATTERN = r"(?P<person>\d+)_c(?P<camera>\d+)"


def answers(run: Run, *arguments: object) -> list[dict[str, Any]]:
    status, printed = run("gallery", "search", *arguments, "--json")
    assert status == 0, printed
    return json.loads(printed)  # type: ignore[no-any-return]


@pytest.fixture
def filled(run: Run, blocks: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A gallery of the twelve test images of the blocks."""
    folder = blocks / "bounding_box_test"
    status, printed = run("gallery", "add", tmp_path / "people", folder, "-m", tiny_run, "--pattern", PATTERN)
    assert status == 0, printed
    assert "12 added, 0 there already, 0 left out. The gallery has 12 items." in printed
    return tmp_path / "people"


def test_from_images_to_answers(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    image = blocks / "query" / "0011_c4_000003.jpg"
    (answer,) = answers(run, filled, image, "-m", tiny_run, "-k", 4)
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    with Gallery.open(filled, extractor=extractor, create=False) as gallery:
        expected = gallery.search(image, 4)
    assert answer["query"] == str(image)
    assert set(answer["visible"]) >= set(answer["found"][0]["parts"])
    assert [row["id"] for row in answer["found"]] == list(expected.ids[0])
    assert [row["distance"] for row in answer["found"]] == pytest.approx(expected.distances[0].tolist(), abs=1e-6)
    best = answer["found"][0]
    assert best["metadata"] == {"person": "0011", "file": str(Path(best["id"]).absolute())}
    assert (best["camera"], best["time"], best["probability"]) == (
        best["metadata"]["file"].split("_c")[1][0],
        None,
        None,
    )
    assert best["compared"] == len(best["parts"]) > 0
    status, printed = run("gallery", "search", filled, image, "-m", tiny_run, "-k", 2, "--parts", "foreground")
    assert status == 0
    assert best["id"][-12:] in printed.replace("\n", "")
    status, printed = run("gallery", "search", filled, image, "-m", tiny_run, "--since", "1h")
    assert (status, "no item meets the conditions" in printed) == (0, True)


def test_conditions_and_items_as_queries(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    names = sorted(str(path) for path in (blocks / "bounding_box_test").iterdir())
    (answer,) = answers(run, filled, "--like", names[0], "-k", 20)
    assert sorted(row["id"] for row in answer["found"]) == names[1:]  # not itself
    for conditions, kept in [
        (["--camera", 2], [n for n in names if "_c2" in n]),
        (["--not-camera", 2, "--not-camera", "3"], [n for n in names if "_c1" in n]),
        (["--where", "person=0012", "--where", "person=0013"], [n for n in names if "0012_" in n or "0013_" in n]),
        (["--not", "person=0012", "--camera", 1], [n for n in names if "0012_" not in n and "_c1" in n]),
        (["--since", "1h"], []),
    ]:
        (answer,) = answers(run, filled, blocks / "query" / "0011_c4_000003.jpg", "-m", tiny_run, "-k", 20, *conditions)
        assert sorted(row["id"] for row in answer["found"]) == kept, conditions


def test_several_images_of_one_person(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    images = sorted((blocks / "query").iterdir())[:2]
    (answer,) = answers(run, filled, *images, "-m", tiny_run, "-k", 3, "--one-person")
    assert answer["query"] == f"{images[0]}, {images[1]}"
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    with Gallery.open(filled, create=False) as gallery:
        expected = gallery.search(merge_tracklet(extractor.embed(images)), 3)
    assert [row["id"] for row in answer["found"]] == list(expected.ids[0])
    assert len(answers(run, filled, *images, "-m", tiny_run)) == 2


def test_stopped_and_begun_again(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    folder = blocks / "bounding_box_test"
    assert run("gallery", "delete", filled, "--camera", 2, "--yes")[0] == 0
    again = (
        "gallery",
        "add",
        filled,
        folder,
        "-m",
        tiny_run,
        "--time",
        "2026-11-23T12:00+00:00",
        "--metadata",
        "site=north",
    )
    status, printed = run(*again)
    assert status == 2  # 8 would keep their camera, and be told neither time nor site
    assert "8 of the items are in the gallery with other values" in " ".join(printed.split())
    status, printed = run("gallery", "add", filled, folder, "-m", tiny_run)
    assert status == 0
    assert "4 added, 8 there already, 0 left out" in printed
    assert "12 added, 0 there already" in run(*again, "--replace")[1]
    status, printed = run("gallery", "info", filled, "--json")
    facts = json.loads(printed)
    assert (facts["items"], facts["cameras"]) == (12, {"unknown": 12})
    assert facts["first"] == facts["last"] == "2026-11-23T12:00:00+00:00"
    assert "site" not in run("gallery", "info", filled)[1]
    with Gallery.open(filled, create=False) as gallery:
        assert gallery.count(Filter(metadata={"site": "north"})) == 12  # type: ignore[dict-item]


def test_damaged_images(run: Run, blocks: Path, tiny_run: Path, tmp_path: Path) -> None:
    whole = sorted((blocks / "query").iterdir())[0]
    folder = tmp_path / "crops"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(whole.read_bytes())
    (folder / "b.jpg").write_bytes(whole.read_bytes()[:100])
    (folder / "c.jpg").write_bytes(whole.read_bytes())
    add = ("gallery", "add", tmp_path / "g", folder, "-m", tiny_run)
    status, printed = run(*add)
    assert status == 2
    assert "b.jpg" in printed
    status, printed = run(*add, "--skip-damaged")
    assert status == 0
    assert "left out: " in printed
    assert "1 left out. The gallery has 2 items." in printed


def test_embeddings_as_the_source(run: Run, filled: Path, blocks: Path, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops.safetensors"
    assert run("embed", tiny_run, blocks / "bounding_box_test", "-o", out)[0] == 0
    status, printed = run("gallery", "add", tmp_path / "other", out, "--pattern", PATTERN)
    assert status == 0, printed
    assert "12 added" in printed
    query = (blocks / "query" / "0011_c4_000003.jpg", "-m", tiny_run)
    assert answers(run, tmp_path / "other", *query) == answers(run, filled, *query)
    assert "0 added, 12 there already" in run("gallery", "add", tmp_path / "other", out)[1]


def test_copy_and_verify(run: Run, filled: Path, tmp_path: Path) -> None:
    status, printed = run("gallery", "copy", filled, tmp_path / "copy")
    assert status == 0
    assert "12 copied" in printed
    status, printed = run("gallery", "verify", tmp_path / "copy")
    assert (status, "12 items, no problem." in printed) == (0, True)
    by_person = ("gallery", "delete", tmp_path / "copy", "--where", "person=0011")
    assert "3 deleted, 9 left" in run(*by_person, "--yes")[1]
    with Gallery.open(filled) as gallery:
        assert len(gallery) == 12


def test_messages(run: Run, filled: Path, blocks: Path, tiny_run: Path, tmp_path: Path) -> None:
    folder = blocks / "query"
    for arguments, message in [
        (("add", filled, folder), "or embed its items with this one: partreid gallery re-embed"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "("), "is no regular expression"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "c"), "Expected named groups"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "(?P<camera>x)"), "is not in the name"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "_(?P<time>c4)_"), "Cannot read the time 'c4'"),
        (("add", filled, folder, "-m", tiny_run, "--metadata", "x"), "Expected KEY=VALUE, got 'x'"),
        (("add", filled, folder, "-m", tiny_run, "--mirror"), "was made by another model"),
        (("search", filled, folder), "got partreid-"),
        (("search", filled), "Give a query: images"),
        (("search", filled, "--like", "nobody"), "Not in the gallery of 12 items: 'nobody'"),
        (("search", filled, folder, "-m", tiny_run, "--parts", "hed"), "No slot 'hed'"),
        (("search", filled, folder, "-m", tiny_run, "--since", "soon"), "Cannot read the time 'soon'"),
        (("search", tmp_path / "none", folder, "-m", tiny_run), "none"),
        (("info", tmp_path / "none"), "none"),
        (("delete", filled), "Say which items to delete"),
        (("delete", filled, "--undated"), "--undated goes with --since or --until"),
        (("delete", filled, "--camera", 2), "Nothing was deleted, because there is no terminal to ask on. Add --yes"),
        (("delete", filled, "--until", "30"), "Did you mean 30d or 30h (ago)?"),
        (("delete", filled, "--until", "2099-01-01"), "lies in the future"),
        (("delete", filled, "--since", "2027"), "A year alone: 2027-01-01?"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", r"_(?P<time>\d{6})"), "Cannot read the time '000003'"),
    ]:
        status, printed = run("gallery", *arguments)
        assert status == 2, (arguments, printed)
        assert message in " ".join(printed.split()), (arguments, printed)
        assert "Traceback" not in printed
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", datetime(2026, 11, 23, 10, 30, tzinfo=UTC)),
        ("1.5h", datetime(2026, 11, 23, 10, 30, tzinfo=UTC)),
        ("now", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("2026-11-22T10:00:00.25+02:00", datetime(2026, 11, 22, 8, 0, 0, 250_000, tzinfo=UTC)),
        ("@1795435200", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("@1795435200.5", datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert parse_moment(text, now=datetime(2026, 11, 23, 12, tzinfo=UTC)) == expected


def test_local_times_and_what_is_no_time() -> None:
    assert parse_moment("2026-11-23") == datetime(2026, 11, 23).astimezone(UTC)
    assert parse_moment("20261123") == datetime(2026, 11, 23).astimezone(UTC)
    for text in ("", "yesterday", "5y", "-3h", "9" * 400, "9" * 30 + "w", "٣h", "\0", "30", "2027", "1795435200", "0"):
        with pytest.raises(ConfigError, match="Cannot read the time"):
            parse_moment(text)


@pytest.fixture
def two_sites(blocks: Path, tmp_path: Path) -> Path:
    """Folders a and b with images of different people under one name, crops/1.jpg."""
    names = sorted((blocks / "query").iterdir())
    for site, image in zip("ab", (names[0], names[-1]), strict=True):
        (tmp_path / site / "crops").mkdir(parents=True)
        (tmp_path / site / "crops" / "1.jpg").write_bytes(image.read_bytes())
    return tmp_path


def in_folder(monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path, *arguments: object) -> tuple[int, str]:
    monkeypatch.chdir(folder)
    status, printed = run("gallery", *arguments)
    return status, " ".join(printed.split())


def test_one_name_for_two_images(monkeypatch: pytest.MonkeyPatch, run: Run, two_sites: Path, tiny_run: Path) -> None:
    people, a, b = two_sites / "people", two_sites / "a", two_sites / "b"
    add = ("add", people, "crops", "-m", tiny_run)
    assert "1 added" in in_folder(monkeypatch, run, a, *add, "--camera", "A")[1]
    for camera in ("A", "B"):
        status, said = in_folder(monkeypatch, run, b, *add, "--camera", camera)
        assert status == 2
        assert f"there it is {a / 'crops' / '1.jpg'}, now {b / 'crops' / '1.jpg'}. It was not added." in said
        assert "--prefix site2/" in said
    for way in (("--prefix", "b/"),):
        assert "1 added, 0 there already" in in_folder(monkeypatch, run, b, *add, "--camera", "B", *way)[1]
    with Gallery.open(people) as gallery:
        assert [(i.id, i.camera, i.metadata["file"]) for i in gallery.get(["b/crops/1.jpg", "crops/1.jpg"]).items] == [
            ("b/crops/1.jpg", "B", str(b / "crops" / "1.jpg")),
            ("crops/1.jpg", "A", str(a / "crops" / "1.jpg")),
        ]
    # The same folder by another path is the same images; from above, both have names of their own.
    for given in (a / "crops", "../a/crops"):
        status, said = in_folder(monkeypatch, run, b, "add", people, given, "-m", tiny_run)
        assert "0 added, 1 there already" in said
        assert "have another id there" in said
        assert "'crops/1.jpg'" in said
    again = in_folder(monkeypatch, run, two_sites, "add", two_sites / "more", "a/crops", "b/crops", "-m", tiny_run)
    assert "2 added" in again[1]


def test_other_facts_of_what_is_there(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    add = ("gallery", "add", filled, blocks / "bounding_box_test", "-m", tiny_run)
    for facts, said in (
        (("--pattern", r"(?P<person>\d+)_c\d_(?P<camera>\d+)"), "camera '1' there, '000000' now"),
        (("--camera", "7"), "now"),
        (("--metadata", "site=north"), "site None there, 'north' now"),
        (("--time", "2026-11-23T12:00Z"), "time None there, '2026-11-23 12:00:00+00:00' now"),
    ):
        status, printed = run(*add, *facts)
        assert status == 2, facts
        assert "12 of the items are in the gallery with other values" in " ".join(printed.split())
        assert said in " ".join(printed.split())
        assert run(*add, *facts, "--replace")[0] == 0
    with Gallery.open(filled) as gallery:
        assert {item.time for page in gallery.records() for item in page.items} == {
            datetime(2026, 11, 23, 12, tzinfo=UTC)
        }
    assert "0 added, 12 there already" in run(*add)[1]  # nothing is said that differs


def test_images_of_a_file_of_embeddings_are_those_it_was_made_of(
    monkeypatch: pytest.MonkeyPatch, run: Run, two_sites: Path, tiny_run: Path
) -> None:
    people, a, b = two_sites / "people", two_sites / "a", two_sites / "b"
    for site in (a, b):
        monkeypatch.chdir(site)
        assert run("embed", tiny_run, "crops", "-o", site / "all.safetensors")[0] == 0
    assert in_folder(monkeypatch, run, b, "add", people, a / "all.safetensors", "--camera", "A")[0] == 0
    with Gallery.open(people) as gallery:
        assert gallery.get(["crops/1.jpg"]).items[0].metadata["file"] == str(a / "crops" / "1.jpg")
    for source in ("crops", "all.safetensors"):
        status, said = in_folder(monkeypatch, run, b, "add", people, source, "-m", tiny_run)
        assert (status, "id of another image in the gallery" in said) == (2, True)
    assert "0 added, 1 there already" in in_folder(monkeypatch, run, a, "add", people, "crops", "-m", tiny_run)[1]
    both = ("add", two_sites / "both", a / "all.safetensors", b / "all.safetensors")
    status, said = in_folder(monkeypatch, run, b, *both)
    assert (status, "is given twice" in said) == (2, True)
    with Gallery.open(two_sites / "both") as gallery:
        assert len(gallery) == 0


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    """Items of two cameras and several times, and two without one."""
    place = tmp_path / "dated"
    some = PartEmbeddings(torch.eye(6)[:, None], torch.ones(6, 1), ("foreground",))
    with Gallery.open(place) as gallery:
        times = [*(datetime(year, 1, 2, tzinfo=UTC) for year in (2020, 2021, 2025, 2033)), None, None]
        gallery.add(some, list("abcdef"), cameras=[1, 1, 2, 2, 2, None], times=times)
    return place


def test_what_a_deletion_shows_and_keeps(run: Run, dated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    delete = ("gallery", "delete", dated)
    for refused in (("--until", "now"), ("--until", "202601010000"), ("--camera", 2), ("--until", "2026-01-01")):
        status, printed = run(*delete, *refused)
        assert (status, "there is no terminal to ask on" in printed) == (2, True), refused
    status, printed = run(*delete, "--until", "now", "--dry-run")
    assert status == 0
    assert (
        "3 of 6 items meet the conditions. The oldest is of 2020-01-02 00:00:00 +0000, the newest of 2025-01-02"
        in printed
    )
    assert "Cameras: 1 (2), 2 (1)." in printed
    assert "2 more have no time, and stay (--undated includes them)." in printed
    assert "Nothing was deleted." in printed
    assert run("gallery", "info", dated, "--json")[1].count('"without a time": 2') == 1
    assert "3 deleted, 3 left." in run(*delete, "--until", "202601010000", "--yes")[1]
    assert "2 deleted, 1 left." in run(*delete, "--until", "now", "--undated", "--yes")[1]
    status, printed = run(*delete, "d", "nobody")
    assert (status, "1 deleted, 0 left." in printed, "Not in the gallery: 'nobody'." in printed) == (0, True, True)


@pytest.mark.parametrize(("answer", "left"), [("y\n", 4), ("n\n", 6), ("", 6)])
def test_a_deletion_is_asked(run: Run, dated: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: int) -> None:
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", typed)
    run("gallery", "delete", dated, "--camera", "1")
    with Gallery.open(dated) as gallery:
        assert len(gallery) == left


def test_searches_tell_of_items_without_a_time(run: Run, dated: Path) -> None:
    status, printed = run("gallery", "search", dated, "--like", "a", "--since", "2021-01-01")
    assert (status, "2 items have no time, and were not searched" in printed) == (0, True)
    (answer,) = answers(run, dated, "--like", "a", "--since", "2021-01-01")
    assert (sorted(row["id"] for row in answer["found"]), answer["undated"]) == (list("bcd"), 2)
    (answer,) = answers(run, dated, "--like", "a", "--since", "2021-01-01", "--undated")
    assert (sorted(row["id"] for row in answer["found"]), "undated" in answer) == (list("bcdef"), False)


def test_copying_replaces_nothing_unasked(run: Run, dated: Path, tmp_path: Path) -> None:
    copy = ("gallery", "copy", dated, tmp_path / "copy")
    assert "6 copied, 0 there already." in run(*copy)[1]
    assert "0 copied, 6 there already." in run(*copy)[1]
    with Gallery.open(tmp_path / "copy") as gallery:
        gallery.delete(["a"])
        one = gallery.get(["b"])
        gallery.upsert(one.embeddings, ["b"], cameras=9)
    status, printed = run(*copy)
    assert status == 2
    assert "1 ids stand for other items" in printed
    with Gallery.open(tmp_path / "copy") as gallery:
        assert (len(gallery), gallery.get(["b"]).items[0].camera) == (5, "9")
    assert "6 copied, 0 there already." in run(*copy, "--replace")[1]
    with Gallery.open(tmp_path / "copy") as gallery:
        assert gallery.get(["b"]).items[0].camera == "1"
