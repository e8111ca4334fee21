"""``partreid gallery``: from pictures to answers, and what happens when it is stopped or misused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from partreid.cli.times import parse_moment
from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.inference.tracklets import merge_tracklet
from partreid.retrieval import Filter, Gallery
from partreid.runtime import RuntimeConfig
from tests.cli.conftest import Run

PATTERN = r"(?P<person>\d+)_c(?P<camera>\d+)"


def answers(run: Run, *arguments: object) -> list[dict[str, Any]]:
    status, printed = run("gallery", "search", *arguments, "--json")
    assert status == 0, printed
    return json.loads(printed)  # type: ignore[no-any-return]


@pytest.fixture
def filled(run: Run, blocks: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A gallery of the twelve test pictures of the blocks."""
    folder = blocks / "bounding_box_test"
    status, printed = run("gallery", "add", tmp_path / "people", folder, "-m", tiny_run, "--pattern", PATTERN)
    assert status == 0, printed
    assert "12 added, 0 there already, 0 left out. The gallery holds 12 items." in printed
    return tmp_path / "people"


def test_from_pictures_to_answers(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    picture = blocks / "query" / "0011_c4_000003.jpg"
    (answer,) = answers(run, filled, picture, "-m", tiny_run, "-k", 4)
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    with Gallery.open(filled, extractor=extractor, create=False) as gallery:
        expected = gallery.search(picture, 4)
    assert answer["query"] == str(picture)
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
    status, printed = run("gallery", "search", filled, picture, "-m", tiny_run, "-k", 2, "--parts", "foreground")
    assert status == 0
    assert best["id"][-12:] in printed.replace("\n", "")
    status, printed = run("gallery", "search", filled, picture, "-m", tiny_run, "--since", "1h")
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


def test_several_pictures_of_one_person(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    pictures = sorted((blocks / "query").iterdir())[:2]
    (answer,) = answers(run, filled, *pictures, "-m", tiny_run, "-k", 3, "--one-person")
    assert answer["query"] == f"{pictures[0]}, {pictures[1]}"
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    with Gallery.open(filled, create=False) as gallery:
        expected = gallery.search(merge_tracklet(extractor.embed(pictures)), 3)
    assert [row["id"] for row in answer["found"]] == list(expected.ids[0])
    assert len(answers(run, filled, *pictures, "-m", tiny_run)) == 2


def test_stopped_and_begun_again(run: Run, filled: Path, blocks: Path, tiny_run: Path) -> None:
    folder = blocks / "bounding_box_test"
    run("gallery", "delete", filled, "--camera", 2)
    again = (
        "gallery",
        "add",
        filled,
        folder,
        "-m",
        tiny_run,
        "--time",
        "2026-11-23T12:00+00:00",
        "--data",
        "site=north",
    )
    status, printed = run(*again)
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


def test_damaged_pictures(run: Run, blocks: Path, tiny_run: Path, tmp_path: Path) -> None:
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
    assert "1 left out. The gallery holds 2 items." in printed


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
    assert "3 deleted, 9 left" in run("gallery", "delete", tmp_path / "copy", "--where", "person=0011")[1]
    with Gallery.open(filled) as gallery:
        assert len(gallery) == 12


def test_messages(run: Run, filled: Path, blocks: Path, tiny_run: Path, tmp_path: Path) -> None:
    folder = blocks / "query"
    for arguments, message in [
        (("add", filled, folder), "needs a model: --model RUN"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "("), "is no regular expression"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "c"), "Expected named groups"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "(?P<camera>x)"), "is not in the name"),
        (("add", filled, folder, "-m", tiny_run, "--pattern", "_(?P<time>c4)_"), "Cannot read the time 'c4'"),
        (("add", filled, folder, "-m", tiny_run, "--data", "x"), "Expected KEY=VALUE, got 'x'"),
        (("add", filled, folder, "-m", tiny_run, "--mirror"), "was made by another model"),
        (("search", filled, folder), "needs a model"),
        (("search", filled), "Say whom to look for"),
        (("search", filled, "--like", "nobody"), "Not in the gallery of 12 items: 'nobody'"),
        (("search", filled, folder, "-m", tiny_run, "--parts", "hed"), "No slot 'hed'"),
        (("search", filled, folder, "-m", tiny_run, "--since", "soon"), "Cannot read the time 'soon'"),
        (("search", tmp_path / "none", folder, "-m", tiny_run), "none"),
        (("info", tmp_path / "none"), "none"),
        (("delete", filled), "Say which items to delete"),
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
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1795435200.5", datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert parse_moment(text, now=datetime(2026, 11, 23, 12, tzinfo=UTC)) == expected


def test_local_times_and_what_is_no_time() -> None:
    assert parse_moment("2026-11-23") == datetime(2026, 11, 23).astimezone(UTC)
    assert parse_moment("20261123") == datetime(2026, 11, 23).astimezone(UTC)
    for text in ("", "yesterday", "5y", "-3h", "9" * 400, "9" * 30 + "w", "٣h", "\0"):
        with pytest.raises(ConfigError, match="Cannot read the time"):
            parse_moment(text)
