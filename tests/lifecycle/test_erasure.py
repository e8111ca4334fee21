"""A person is erased, and a receipt says so without saying who."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partreid.errors import ConfigError, DataError
from partreid.lifecycle import ErasureReceipt, compact_gallery, erase, preview_erasure
from partreid.linking import Corrections
from partreid.retrieval import Gallery
from partreid.retrieval.stores.memory import MemoryStore
from tests.lifecycle.people import NAMES, fill


def test_nothing_of_the_person_is_left_and_the_receipt_names_nobody(tmp_path: Path) -> None:
    pytest.importorskip("lance")
    gallery = Gallery(tmp_path / "people")
    paths = fill(gallery, tmp_path / "crops")
    file = tmp_path / "people" / "corrections.json"
    said = Corrections().with_said(same=[(NAMES[0], NAMES[1]), (NAMES[1], NAMES[2])], different=[(NAMES[1], NAMES[5])])
    said.save(file)
    (tmp_path / "people" / ".corrections.left.json").write_text(NAMES[1])  # of a process that was killed
    (tmp_path / "people" / "notes.txt").write_text("of somebody else")
    erasure = preview_erasure(gallery, [NAMES[1], NAMES[3], "nobody"], with_crops=True)
    assert (erasure.deletion.count, erasure.missing, erasure.with_file) == (2, ("nobody",), 2)
    assert len(gallery) == 6
    receipt = erase(gallery, erasure)
    assert [item.id for item in gallery] == [NAMES[0], NAMES[2], NAMES[4], NAMES[5]]
    assert [path.exists() for path in paths] == [True, False, True, False, True, True]
    for path in (tmp_path / "people").rglob("*"):
        assert path.is_dir() or not any(name.encode() in path.read_bytes() for name in (NAMES[1], NAMES[3])), path
    assert [str(one) for one in Corrections.load(file).said] == [
        f"{NAMES[0]} = {NAMES[2]}",
        f"{NAMES[0]} ≠ {NAMES[5]}",
    ]
    assert (receipt.items, receipt.missing, receipt.crops, receipt.cameras) == (2, 1, 2, {"1": 1, "2": 1})
    assert receipt.compaction["corrections"] == 3
    assert "the file notes.txt" in receipt.says_nothing_of
    written = receipt.save(tmp_path / "receipt.json").read_text()
    assert not any(name in written for name in [*NAMES, "nobody"])
    known = ErasureReceipt.load(tmp_path / "receipt.json")
    assert known == receipt
    assert [known.names(name) for name in (NAMES[1], NAMES[3], "nobody", NAMES[0])] == [True, True, True, False]
    again = erase(gallery, preview_erasure(gallery, [NAMES[1]]))  # as after a kill before the receipt
    assert (again.items, again.missing) == (0, 1)
    assert again.ids[0] not in receipt.ids, "two receipts cannot be put together"


def test_crops_stay_where_nobody_asked(tmp_path: Path) -> None:
    gallery = Gallery()
    paths = fill(gallery, tmp_path)
    receipt = erase(gallery, preview_erasure(gallery, NAMES[:2]))
    assert receipt.crops_left == {"it was not asked to delete them": 2}
    assert all(path.exists() for path in paths)


def test_wrong_questions(tmp_path: Path) -> None:
    gallery = Gallery()
    fill(gallery, tmp_path)
    for nothing in ([], "person-1"):
        with pytest.raises(DataError, match="expected a list of ids"):
            preview_erasure(gallery, nothing)
    erasure = preview_erasure(gallery, NAMES[:2])
    gallery.delete(NAMES[:1])
    with pytest.raises(DataError, match="changed meanwhile"):
        erase(gallery, erasure)
    for content in ("{}", "[]", json.dumps({"format": "partreid-erasure-receipt", "version": 1, "ids": 3})):
        (tmp_path / "r.json").write_text(content)
        with pytest.raises(DataError, match="no receipt of an erasure"):
            ErasureReceipt.load(tmp_path / "r.json")


def test_a_store_that_cannot_be_compacted_says_so() -> None:
    class Plain:
        """A store of somebody else."""

        def __init__(self) -> None:
            self._store = MemoryStore()

        def __getattr__(self, name: str) -> object:
            if name == "compact":
                raise AttributeError(name)
            return getattr(self._store, name)

    with pytest.raises(ConfigError, match="The store of .* cannot be compacted"):
        compact_gallery(Gallery(Plain()))  # type: ignore[arg-type]
