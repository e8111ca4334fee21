"""``partreid audit`` and ``partreid users``: from a gallery to its log, and from a name to a token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from partreid.app.users import Users
from partreid.retrieval import Gallery
from partreid.types import PartEmbeddings
from tests.cli.conftest import Run


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    with Gallery(tmp_path / "people") as opened:
        opened.add(PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",)), ["a", "b", "c"])
    return tmp_path / "people"


def test_commands_are_recorded_with_what_came_of_them(run: Run, gallery: Path, tmp_path: Path) -> None:
    status, text = run("audit", "verify", gallery)
    assert (status, "partreid audit on" in text) == (2, True)
    status, text = run("audit", "on", gallery)
    assert status == 0, text
    assert run("gallery", "search", gallery, "--like", "a", "-k", 2)[0] == 0
    assert run("gallery", "search", gallery, "--like", "nobody")[0] == 2
    assert run("gallery", "delete", gallery, "b")[0] == 0
    assert run("gallery", "copy", gallery, tmp_path / "other")[0] == 0
    status, text = run("audit", "show", gallery, "--json")
    assert status == 0, text
    on, search, missing, begun, deleted, copied = map(json.loads, text.splitlines()[-6:])
    assert {one["source"] for one in (on, search, missing, begun, deleted, copied)} == {"command"}
    assert (search["action"], search["results"], search["asked"]["like"]) == ("search", 2, ["a"])
    assert (missing["outcome"], "Not in the gallery" in missing["error"]) == ("failed", True)
    assert (begun["outcome"], deleted["deleted"], deleted["asked"]["ids"]) == ("begun", 1, ["b"])
    assert (copied["action"], copied["results"], copied["asked"]["to"]) == ("copy", 2, str(tmp_path / "other"))
    status, text = run("audit", "show", gallery)
    assert text.count("\n") == 6
    assert run("audit", "on", gallery)[0] == 2


def test_a_log_that_was_edited_or_made_anew(run: Run, gallery: Path) -> None:
    run("audit", "on", gallery)
    run("gallery", "delete", gallery, "b")
    status, text = run("audit", "verify", gallery)
    assert (status, "3 records, no problem" in text) == (0, True)
    head = text.split()[-1]
    assert run("audit", "verify", gallery / "audit", "--expect", head)[0] == 0
    (file,) = (gallery / "audit").glob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"begun"', b'"never"', 1))
    status, text = run("audit", "verify", gallery)
    assert (status, "was changed" in text) == (1, True)
    file.write_bytes(whole + b'{"numb')
    status, text = run("audit", "verify", gallery)
    assert (status, "killed" in text) == (0, True)
    for old in (gallery / "audit").iterdir():
        old.unlink()
    run("gallery", "delete", gallery, "c")
    assert run("audit", "verify", gallery)[0] == 0
    status, text = run("audit", "verify", gallery, "--expect", head)
    assert (status, "made anew" in text) == (1, True)


def test_a_gallery_of_another_model_is_refused_and_that_is_recorded(
    run: Run, tiny_run: Path, gallery: Path, blocks: Path
) -> None:
    with Gallery(gallery) as opened:
        known = opened.get(["a"]).embeddings
        known = PartEmbeddings(known.vectors, known.visibility, known.slots, "another")
        opened.add(known, ["d"])
    run("audit", "on", gallery)
    image = next((blocks / "query").glob("*.jpg"))
    assert run("gallery", "search", gallery, image, "-m", tiny_run)[0] == 2
    status, text = run("audit", "show", gallery, "--json")
    *_, last = map(json.loads, text.splitlines())
    assert (status, last["action"], last["outcome"]) == (0, "open", "refused")
    assert "another model" in last["error"]


def test_users_from_a_name_to_a_token(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    status, text = run("users", "add", file, "anna", "--role", "add")
    assert status == 0, text
    token = next(line for line in text.splitlines() if line.startswith("partreid_"))
    found = Users(file).find(token)
    assert found is not None
    assert found.role == "add"
    assert run("users", "add", file, "anna")[0] == 2
    status, text = run("users", "list", file, "--json")
    (anna,) = json.loads(text)
    assert (anna["name"], anna["role"], "sha256" in anna) == ("anna", "add", False)
    assert "anna" in run("users", "list", file)[1]
    status, text = run("users", "revoke", file, "ben")
    assert (status, "Known: anna" in text) == (2, True)
    assert run("users", "revoke", file, "anna")[0] == 0
    assert Users(file).find(token) is None
    status, text = run("app", "--gallery", tmp_path / "people", "--users", file)
    assert (status, "partreid users add" in text) == (2, True)
