"""``partreid gallery`` expire, erase, compact, backup, restore, move-files, re-embed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from partreid.lifecycle import ErasureReceipt
from partreid.retrieval import Gallery
from tests.cli.conftest import Run
from tests.lifecycle.people import NAMES, fill, model

pytest.importorskip("lance")


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A gallery of six people with a crop each."""
    fill(Gallery(tmp_path / "people"), tmp_path / "crops")
    return tmp_path / "people"


def ids(people: Path) -> list[str]:
    return [item.id for item in Gallery(people, create=False)]


class Terminal(io.StringIO):
    """Somebody who types this."""

    def isatty(self) -> bool:
        return True


def test_expire(run: Run, people: Path, tmp_path: Path) -> None:
    old = ("gallery", "expire", people, "--older-than", "2026-10-29T12:00+00:00", "--with-crops")
    status, printed = run(*old, "--dry-run")
    assert (status, ids(people)) == (0, NAMES)
    assert "3 of 6 items meet the conditions" in printed
    assert "1 more have no time, and stay (--undated includes them): person-0." in printed
    assert "3 image files would be deleted with them." in printed
    status, printed = run(*old)
    assert (status, ids(people)) == (2, NAMES)
    assert "there is no terminal to ask on" in printed
    status, printed = run(*old, "--yes")
    assert (status, ids(people)) == (0, NAMES[:3])
    assert len([*(tmp_path / "crops").iterdir()]) == 3
    status, printed = run("gallery", "compact", people)
    assert status == 0
    assert "MiB before" in printed
    assert "Not covered: copies" in printed
    assert json.loads(run("gallery", "compact", people, "--json")[1])["corrections"] == 0


def test_erase(run: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, printed = run("gallery", "erase", people, NAMES[1], "nobody", "--dry-run")
    assert (status, ids(people)) == (0, NAMES)
    assert "Not in the gallery: 'nobody'." in printed
    status, printed = run("gallery", "erase", people, NAMES[1])
    assert (status, ids(people)) == (2, NAMES)
    status, printed = run("gallery", "erase", people, NAMES[1], "--yes", "-o", tmp_path / "receipt.json")
    assert (status, ids(people)) == (0, [NAMES[0], *NAMES[2:]])
    assert "1 image files stay: it was not asked to delete them." in printed
    assert ErasureReceipt.load(tmp_path / "receipt.json").names(NAMES[1])
    status, printed = run("gallery", "erase", people, "--like", NAMES[2], "--yes")
    assert (status, len(ids(people))) == (2, 5)  # nothing is erased because it looks alike
    assert "there is no terminal to ask which of these show the person" in printed
    near = [hit.id for hit in Gallery(people).search(Gallery(people).get([NAMES[2]]).embeddings, 3)[0]]
    assert near[0] == NAMES[2]
    for said, left in (("9\n", 5), ("\n", 5), ("1,3\ny\n", 3)):
        monkeypatch.setattr("sys.stdin", Terminal(said))
        status, printed = run("gallery", "erase", people, "--like", NAMES[2])
        assert (status, len(ids(people))) == (0 if left == 3 else 2, left), printed
    assert {*ids(people)} == {NAMES[0], *NAMES[2:]} - {near[0], near[2]}


def test_backup_and_restore(run: Run, people: Path, tmp_path: Path) -> None:
    status, printed = run("gallery", "backup", people, tmp_path / "backup", "--with-images")
    assert status == 0, printed
    assert "6 items and 6 images" in printed
    assert "is complete: 6 items" in run("gallery", "restore", tmp_path / "backup", "x", "--dry-run")[1]
    status, printed = run(
        "gallery", "restore", tmp_path / "backup", tmp_path / "again", "--images-to", tmp_path / "images"
    )
    assert status == 0, printed
    assert ids(tmp_path / "again") == NAMES
    status, printed = run("gallery", "restore", tmp_path / "backup", tmp_path / "again")
    assert status == 2
    assert "There is something at" in printed


def test_moved_and_embedded_again(run: Run, people: Path, tmp_path: Path) -> None:
    (tmp_path / "crops").rename(tmp_path / "new")
    model(2).save_pretrained(tmp_path / "model")
    again = ("gallery", "re-embed", people, "-m", tmp_path / "model", "--device", "cpu")
    status, printed = run(*again)
    assert status == 2
    assert "6 items cannot be embedded again (6 × its image file is not there)" in printed
    status, printed = run("gallery", "move-files", people, tmp_path / "crops", tmp_path / "new")
    assert status == 0
    assert "6 items refer to the new folder. The files of 0 are missing" in printed
    status, printed = run(*again)
    assert status == 0, printed
    assert "6 items embedded again, 0 left out." in printed
    assert Gallery(people).model == model(2).fingerprint
    status, printed = run(*again)
    assert status == 2
    assert "There is nothing to do" in printed
