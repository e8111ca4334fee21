"""The gallery: exact search, its changes, saving and opening, crashes, and messages."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import DataError, ShapeError
from partreid.functional.distance import part_distances
from partreid.retrieval import Gallery, MatchingConfig, storage
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head")


def embeddings(n: int, seed: int = 0) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, 2, generator=generator) > 0.4).float()
    return PartEmbeddings(torch.randn(n, 2, 4, generator=generator), visibility, SLOTS)


def filled(n: int = 20, **options: Any) -> Gallery:
    gallery = Gallery()
    gallery.add(embeddings(n), [f"item{i}" for i in range(n)], **options)
    return gallery


@pytest.mark.parametrize("budget", [1, 3000, 2**28])
def test_search_equals_sorting_all_distances(budget: int) -> None:
    gallery, query = filled(), embeddings(7, seed=1)
    result = gallery.search(query, k=20, memory_budget=budget)
    distances = part_distances(query, gallery.embeddings)
    expected = [sorted(range(20), key=lambda g: (float(row[g]), g)) for row in distances]
    assert result.indices.tolist() == expected
    torch.testing.assert_close(result.distances, distances.gather(1, result.indices))
    assert torch.equal(result.comparable, torch.isfinite(result.distances))
    mean = result.part_distances.nanmean(dim=2).nan_to_num(nan=math.inf)
    torch.testing.assert_close(mean, result.distances)


def test_ties_and_infinities_keep_the_order_of_insertion() -> None:
    gallery = Gallery()
    vectors, visibility = torch.zeros(6, 2, 3), torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3)
    gallery.add(PartEmbeddings(vectors, visibility, SLOTS), range(6))
    query = PartEmbeddings(vectors[:1], torch.tensor([[1.0, 0.0]]), SLOTS)
    result = gallery.search(query, k=6)
    assert result.indices.tolist() == [[1, 3, 5, 0, 2, 4]]
    assert result.comparable.tolist() == [[True] * 3 + [False] * 3]
    assert result.part_distances[0, :3, 0].tolist() == [0, 0, 0]
    assert result.part_distances[0, 3:].isnan().all()


def test_matching_options_and_cameras() -> None:
    gallery, query = filled(camids=[0, 1] * 10), embeddings(3, seed=2)
    matching = MatchingConfig(normalize=True, visibility="ignore", slots=("head",))
    result = gallery.search(query, 5, matching=matching, cameras=[1])
    expected = matching.distances(query, gallery.embeddings)
    torch.testing.assert_close(result.distances, expected[:, 1::2].sort(dim=1).values[:, :5])
    assert (result.indices % 2 == 1).all()
    assert result.part_distances.shape == (3, 5, 1)
    assert gallery.search(query, 5, cameras=[0, 1]).indices.tolist() == gallery.search(query, 5).indices.tolist()


def test_k_beyond_the_gallery_and_no_query() -> None:
    assert filled(3).search(embeddings(2), 10).indices.shape == (2, 3)
    assert filled(3).search(embeddings(2)[:0], 2).part_distances.shape == (0, 2, 2)


def test_adding_in_steps_equals_adding_at_once() -> None:
    gallery, e = Gallery(), embeddings(20)
    for i in range(0, 20, 6):
        gallery.add(e[i : i + 6], [f"item{j}" for j in range(i, min(20, i + 6))])
    assert gallery.ids == filled().ids
    assert torch.equal(gallery.embeddings.vectors, e.vectors)
    assert "item7" in gallery
    assert len(gallery) == 20


def test_remove_then_add_again() -> None:
    gallery = filled(camids=range(20), metadata=[{"n": i} for i in range(20)])
    before = gallery.search(embeddings(4, seed=3), k=20)
    gallery.remove(["item3", "item0"])
    assert gallery.ids == tuple(f"item{i}" for i in range(20) if i not in (0, 3))
    assert gallery.camids[0] == 1
    assert gallery.metadata[2] == {"n": 4}
    after = gallery.search(embeddings(4, seed=3), k=20)
    for old, new in zip(before.indices.tolist(), after.indices.tolist(), strict=True):
        assert [f"item{i}" for i in old if i not in (0, 3)] == [gallery.ids[i] for i in new]
    gallery.add(embeddings(1), ["item3"])
    assert gallery.ids[-1] == "item3"
    gallery.remove(gallery.ids)
    with pytest.raises(DataError, match="No item to search: the gallery holds 0 items"):
        gallery.search(embeddings(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip(tmp_path: Path, dtype: torch.dtype) -> None:
    gallery = Gallery()
    gallery.add(embeddings(3).to(dtype=dtype), ["a", 1, "1"], metadata=[{"file": "ü.jpg"}, None, {"x": [1.5]}])
    gallery.add(embeddings(2).to(dtype=dtype), ["b", 2], camids=[4, 5])
    gallery.save(tmp_path / "new" / "gallery")
    opened = Gallery.open(tmp_path / "new" / "gallery")
    assert (opened.ids, opened.camids, opened.metadata) == (gallery.ids, gallery.camids, gallery.metadata)
    assert opened.ids[1] == 1
    assert opened.slots == SLOTS
    assert torch.equal(opened.embeddings.vectors, gallery.embeddings.vectors)
    assert torch.equal(opened.embeddings.visibility, gallery.embeddings.visibility)
    assert opened.embeddings.vectors.dtype == dtype
    opened.add(embeddings(1), ["c"])
    opened.save(tmp_path / "new" / "gallery")
    assert len(Gallery.open(str(tmp_path / "new" / "gallery"))) == 6
    assert len(list((tmp_path / "new" / "gallery").iterdir())) == 2  # nothing of the first save is left


@pytest.mark.parametrize("when", ["vectors", "header", "rename"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, existing: bool
) -> None:
    folder = tmp_path / "gallery"
    if existing:
        filled(3).save(folder)
    before = sorted(p.name for p in folder.iterdir()) if existing else None

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half")
        full()

    if when == "vectors":
        monkeypatch.setattr(storage, "save_file", half)
    elif when == "header":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"Cannot write the gallery to .*No space left.*unchanged"):
        filled(5).save(folder)
    monkeypatch.undo()
    if existing:
        assert sorted(p.name for p in folder.iterdir()) == before
        assert len(Gallery.open(folder)) == 3
    else:
        assert not folder.exists()


def test_an_interrupt_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(3).save(tmp_path)

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "_sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        filled(5).save(tmp_path)
    assert len(Gallery.open(tmp_path)) == 3
    assert len(list(tmp_path.iterdir())) == 2


def _edit(folder: Path, **changes: Any) -> None:
    header = json.loads((folder / "gallery.json").read_text()) | changes
    (folder / "gallery.json").write_text(json.dumps({k: v for k, v in header.items() if v != "gone"}))


def test_messages_of_opening(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No gallery in .*nowhere"):
        Gallery.open(tmp_path / "nowhere")

    def fresh(name: str) -> tuple[Path, Path]:
        filled(3).save(tmp_path / name)
        return tmp_path / name, next((tmp_path / name).glob("*.safetensors"))

    folder, vectors = fresh("short")
    vectors.write_bytes(vectors.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"is damaged: expected \d+ bytes, found \d+"):
        Gallery.open(folder)
    vectors.unlink()
    with pytest.raises(DataError, match=r"incomplete: its file vectors-.* is missing"):
        Gallery.open(folder)
    folder, vectors = fresh("garbage")
    vectors.write_bytes(b"\xff" * vectors.stat().st_size)
    with pytest.raises(DataError, match="is damaged"):
        Gallery.open(folder)
    folder, _ = fresh("json")
    (folder / "gallery.json").write_text('{"type": ')
    with pytest.raises(DataError, match=r"gallery\.json is damaged"):
        Gallery.open(folder)
    for changes, message in [
        ({"format_version": 2}, "format version 2; this version of partreid reads 1. Update"),
        ({"type": "something"}, "does not describe a partreid gallery"),
        ({"slots": "gone"}, "lacks or mangles 'slots'"),
        ({"slots": ["a"]}, "is damaged: Expected 2 different slot names"),
        ({"ids": ["a"]}, "3 embeddings, 1 ids, 3 cameras and 3 metadata"),
        ({"ids": ["a", "a", "b"]}, "given more often: 'a'"),
        ({"vectors": {"file": "../x", "bytes": 1}}, "incomplete"),
    ]:
        folder, _ = fresh("header")
        _edit(folder, **changes)
        with pytest.raises(DataError, match=message):
            Gallery.open(folder)


def test_messages() -> None:
    gallery, e = filled(3), embeddings(2)
    for ids, error, message in [
        (["item1", "x"], DataError, "Already in the gallery: 'item1'. Remove"),
        (["x", "x"], DataError, "given more often: 'x'"),
        ([1.5, "x"], DataError, "An id is text or a whole number, got 1.5 of type float"),
        ([True, "x"], DataError, "got True of type bool"),
        (["x"], ShapeError, "ids must hold 2 values"),
        ("xy", ShapeError, "ids must hold 2 values"),
    ]:
        with pytest.raises(error, match=message):
            gallery.add(e, ids)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="camids must hold 2 values"):
        gallery.add(e, ["x", "y"], camids=[1])
    with pytest.raises(ShapeError, match="The slots differ"):
        gallery.add(e.select("head"), ["x", "y"])
    with pytest.raises(ShapeError, match="holds NaN"):
        gallery.add(PartEmbeddings(e.vectors * math.nan, e.visibility, SLOTS), ["x", "y"])
    assert len(gallery) == len(gallery.embeddings) == 3  # nothing was added
    with pytest.raises(DataError, match=r"Not in the gallery of 3 items: 'y'\. Nothing was removed"):
        gallery.remove(["item0", "y"])
    with pytest.raises(ShapeError, match="Expected a list of ids"):
        gallery.remove("item0")
    assert len(gallery) == 3
    with pytest.raises(ShapeError, match="k is at least 1"):
        gallery.search(e, 0)
    with pytest.raises(DataError, match=r"3 items of cameras \(unknown\), asked for \[4\]"):
        gallery.search(e, cameras=[4])
    with pytest.raises(ShapeError, match="The slots differ"):
        gallery.search(e.select("head"), matching=MatchingConfig(slots=("head",)))
    for call in (lambda: Gallery().search(e), lambda: Gallery().save("unused")):
        with pytest.raises(DataError, match=r"The gallery is empty\. Add embeddings first"):
            call()


def test_metadata_that_json_cannot_hold(tmp_path: Path) -> None:
    gallery = filled(1, metadata=[{"tensor": torch.zeros(1)}])
    with pytest.raises(DataError, match="metadata must be what JSON can hold"):
        gallery.save(tmp_path / "g")
    assert not (tmp_path / "g").exists()
