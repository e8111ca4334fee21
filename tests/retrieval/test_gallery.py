"""The gallery's calls: what they take and answer, and their messages. tests/retrieval/stores tries every store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError, WrongTypeError
from partreid.functional.distance import part_distances
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval import Filter, Gallery, MatchingConfig
from partreid.retrieval.filters import Conditions
from partreid.types import GalleryRecords, PartEmbeddings

SLOTS, NOON = ("foreground", "head"), 1795435200


def embeddings(n: int, seed: int = 0) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, 2, generator=generator) > 0.4).float()
    return PartEmbeddings(torch.randn(n, 2, 4, generator=generator), visibility, SLOTS)


def names(n: int) -> list[str]:
    return [f"item{i:02d}" for i in range(n)]


def filled(n: int = 20, **options: Any) -> Gallery:
    gallery = Gallery()
    gallery.add(embeddings(n), names(n), **options)
    return gallery


@pytest.mark.parametrize("budget", [1, 3000, 2**28])
def test_search_equals_sorting_all_distances(budget: int) -> None:
    gallery, query = filled(), embeddings(7, seed=1)
    result = gallery.search(query, k=20, memory_budget=budget)
    distances = part_distances(query, embeddings(20))
    for row, ids, found, slots in zip(distances, result.ids, result.distances, result.part_distances, strict=True):
        order = sorted(range(20), key=lambda g: (float(row[g]), g))
        assert list(ids) == [names(20)[g] for g in order]
        torch.testing.assert_close(found, row[order])
        torch.testing.assert_close(slots.nanmean(dim=1).nan_to_num(nan=math.inf), found)
    assert torch.equal(result.comparable, torch.isfinite(result.distances))
    assert torch.equal(result.compared > 0, result.comparable)
    assert (len(result), result.slots) == (7, SLOTS)


def test_ties_and_what_is_not_comparable_go_by_id() -> None:
    gallery = Gallery()
    vectors, visibility = torch.zeros(6, 2, 3), torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3)
    gallery.add(PartEmbeddings(vectors, visibility, SLOTS), list("fedcba"))
    query = PartEmbeddings(vectors[:2], torch.tensor([[1.0, 0.0], [0.0, 0.0]]), SLOTS)
    result = gallery.search(query, k=5)
    assert result.ids == (tuple("acebd"), tuple("abcde"))
    assert result.comparable.tolist() == [[True] * 3 + [False] * 2, [False] * 5]
    assert result.part_distances[0, :3, 0].tolist() == [0, 0, 0]
    assert result.part_distances[0, 3:].isnan().all()
    assert gallery.search(query, k=2).ids == (("a", "c"), ("a", "b"))


def test_matching_options_and_filters() -> None:
    gallery, query = filled(cameras=[0, 1] * 10), embeddings(3, seed=2)
    matching = MatchingConfig(normalize=True, visibility="ignore", slots=("head",))
    result = gallery.search(query, 5, matching=matching, where=Filter(cameras=("1",)))
    expected = matching.distances(query, embeddings(20))
    torch.testing.assert_close(result.distances, expected[:, 1::2].sort(dim=1).values[:, :5])
    assert all(int(name[4:]) % 2 == 1 for row in result.ids for name in row)
    assert (result.part_distances.shape, result.slots) == ((3, 5, 1), ("head",))
    both = gallery.search(query, 5, where=Filter(cameras=("0", "1")))
    assert both.ids == gallery.search(query, 5).ids
    assert gallery.count(Filter(cameras=("1",))) == 10


def test_nothing_to_find() -> None:
    for gallery, where in ((Gallery(), None), (filled(3), Filter(cameras=("9",)))):
        result = gallery.search(embeddings(2), where=where)
        assert (result.ids, result.distances.shape, result.part_distances.shape) == (((), ()), (2, 0), (2, 0, 2))
    assert filled(3).search(embeddings(2), 10).distances.shape == (2, 3)
    assert filled(3).search(embeddings(2)[:0], 2).part_distances.shape == (0, 2, 2)
    assert Gallery().delete(["x"]) == 0
    assert list(Gallery().records()) == []
    assert "x" not in Gallery()


def test_upsert_get_and_delete() -> None:
    gallery = filled(cameras=range(20), times=NOON, metadata=[{"n": i} for i in range(20)])
    gallery.upsert(embeddings(2, seed=5), ["item03", "new"], cameras="hall")
    assert len(gallery) == 21
    found = gallery.get(["new", "item03", "item01"])
    assert found.ids == ["item01", "item03", "new"]
    assert [item.camera for item in found.items] == ["1", "hall", "hall"]
    assert found.items[1].metadata == {}  # nothing of the old one is kept
    assert found.items[1].time is None
    assert torch.equal(found.embeddings.vectors[1:], embeddings(2, seed=5).vectors)
    assert gallery.search(embeddings(2, seed=5)[0], 1).ids == (("item03",),)
    assert gallery.delete(["item03", "gone"]) == 1
    assert gallery.delete(where=Filter(until=NOON + 1, not_cameras=("0", "1"))) == 17
    assert [name for page in gallery.records() for name in page.ids] == ["item00", "item01", "new"]
    assert "item03" not in gallery
    gallery.add(embeddings(1), ["item03"])
    assert gallery.delete(where=Filter()) == 4
    assert len(gallery) == 0


def test_pages_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.retrieval.gallery._PAGE", 7)
    pages = list(filled().records(Filter(not_ids=("item00",))))
    assert [len(page) for page in pages] == [7, 7, 5]
    assert torch.equal(torch.cat([p.embeddings.vectors for p in pages]), embeddings(20).vectors[1:])


def test_copying_records() -> None:
    source, target = filled(cameras=range(20), times=NOON, metadata=[{"n": i} for i in range(20)]), Gallery()
    for page in source.records():
        target.add_records(page)
    assert [page.items for page in target.records()] == [page.items for page in source.records()]
    with pytest.raises(DataError, match="Already in the gallery"):
        target.add_records(source.get(["item03"]))
    target.add_records(source.get(["item03"]), replace=True)
    assert len(target) == 20
    twice = source.get(["item03", "item04"])
    with pytest.raises(DataError, match="given more often: 'item03'"):
        target.add_records(GalleryRecords((twice.items[0],) * 2, twice.embeddings), replace=True)


def test_messages() -> None:
    gallery, e = filled(3), embeddings(2)
    for ids, error, message in [
        (["item01", "x"], DataError, r"Already in the gallery: 'item01'\. Nothing was added\. Replace with upsert"),
        (["x", "x"], DataError, "given more often: 'x'"),
        ([1.5, "x"], DataError, "An id is text, got 1.5 of type float"),
        (["x"], ShapeError, "Expected 2 ids, one per image, got 1"),
        ("xy", ShapeError, r"Expected a list of ids, got the text 'xy'"),
    ]:
        with pytest.raises(error, match=message):
            gallery.add(e, ids)  # type: ignore[arg-type]
    for columns, message in [
        ({"cameras": [1]}, "cameras must hold 2 values"),
        ({"times": [NOON] * 3}, "times must hold 2 values"),
        ({"metadata": {"a": 1}}, "metadata must hold 2 values"),
    ]:
        with pytest.raises(ShapeError, match=message):
            gallery.add(e, ["x", "y"], **columns)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="The slots differ"):
        gallery.add(e.select("head"), ["x", "y"])
    with pytest.raises(ShapeError, match="holds NaN"):
        gallery.add(PartEmbeddings(e.vectors * math.nan, e.visibility, SLOTS), ["x", "y"])
    assert len(gallery) == 3  # nothing was added
    with pytest.raises(DataError, match=r"Not in the gallery of 3 items: 'y'"):
        gallery.get(["item00", "y"])
    with pytest.raises(ShapeError, match="Expected a list of ids"):
        gallery.delete("item00")
    with pytest.raises(DataError, match="Say which items to delete"):
        gallery.delete()
    for k in (0, True, 1.5):
        with pytest.raises(ShapeError, match="k is a whole number of at least 1"):
            gallery.search(e, k)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="The slots differ"):
        gallery.search(e.select("head"), matching=MatchingConfig(slots=("head",)))
    with pytest.raises(DataError, match="Give the gallery's own model for images: Gallery"):
        gallery.search("a.jpg")
    with pytest.raises(DataError, match="No gallery can be kept at redis://x: expected a folder"):
        Gallery.open("redis://x")
    with pytest.raises(ConfigError, match="Did you mean 'cameras'"):
        gallery.search(e, where=Filter(camera=1))  # type: ignore[call-arg]
    assert len(gallery) == 3


def test_numbers_too_large_for_half_precision(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g") as gallery:
        e = embeddings(2)
        with pytest.raises(ShapeError, match=r"numbers up to 65504 \(half precision\); the largest here is 1e\+05"):
            gallery.add(PartEmbeddings(torch.full_like(e.vectors, 1e5), e.visibility, SLOTS), ["a", "b"])


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    torch.manual_seed(0)
    network = BPBReID(ModelConfig(backbone="resnet18", parts="two_v"), 3)
    return PartExtractor(network, PreprocessConfig(height=64, width=32))


def test_images_in_place_of_embeddings(extractor: PartExtractor) -> None:
    images = [np.random.default_rng(i).integers(0, 256, (64, 32, 3)).astype(np.uint8) for i in range(3)]
    gallery = Gallery(extractor=extractor)
    gallery.add(images, list("abc"))
    assert gallery.model == extractor.fingerprint
    result = gallery.search(images[1], 1)
    assert result.ids == (("b",),)
    assert float(result.distances) < 1e-3  # alone or among others: rounding differs
    assert gallery.search(images, 1).ids == (("a",), ("b",), ("c",))


def test_a_gallery_belongs_to_a_model(extractor: PartExtractor) -> None:
    e = embeddings(2)
    gallery = Gallery()
    gallery.add(PartEmbeddings(e.vectors, e.visibility, SLOTS, "one"), ["a", "b"])
    gallery.search(e)  # of an unknown model
    other = PartEmbeddings(e.vectors, e.visibility, SLOTS, "two")
    with pytest.raises(ShapeError, match="different models, one and two"):
        gallery.search(other)
    with pytest.raises(ShapeError, match="different models, one and two"):
        gallery.add(other, ["c", "d"])
    with pytest.raises(DataError, match=f"expected the fingerprint one, got {extractor.fingerprint}"):
        Gallery(gallery.store, extractor=extractor)


def test_columns_of_other_libraries_and_values_that_are_none() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "camera": [3, None, 4],
            "seen": pandas.to_datetime([NOON, None, NOON], unit="s", utc=True),
            "track": [17, 2, None],
        }
    )
    gallery = Gallery()
    gallery.add(
        embeddings(3),
        list("abc"),
        cameras=table.camera,
        times=table.seen,
        metadata=[{"track": track} for track in table.track],
    )
    gallery.add(embeddings(2), list("de"), cameras=torch.tensor([3, 4]), times=np.array([NOON, math.nan]))
    assert [(one.camera, one.count) for one in gallery.cameras()] == [("3", 2), ("4", 2), (None, 1)]
    items = gallery.get(list("abcde")).items
    assert [None if item.time is None else item.time.timestamp() for item in items] == [NOON, None, NOON, NOON, None]
    assert [item.metadata.get("track") for item in items] == [17.0, 2.0, None, None, None]
    for track in (17, 17.0, "17", "17.0", np.int64(17), np.float32(17)):
        assert gallery.search(embeddings(1), 9, where=Filter(metadata={"track": track})).ids == (("a",),)
        assert gallery.count(Filter(not_metadata={"track": track})) == 4
    for camera in (3, 3.0, "3", "3.0", np.float64(3), torch.tensor(3), pandas.Series([3.0])):
        assert gallery.count(Filter(cameras=camera)) == 2


def test_a_set_gives_no_image_its_id() -> None:
    """It has no order: each embedding would get any of the names, and the answer would look right."""
    e, gallery = embeddings(2), Gallery()
    columns: dict[str, Any] = {"cameras": {1, 2}, "times": {NOON, NOON + 1}, "metadata": frozenset()}
    for column, values in columns.items():
        with pytest.raises(ShapeError, match=f"{column} must be in the order of the images, but a set has no order"):
            gallery.add(e, ["a", "b"], **{column: values})
    with pytest.raises(ShapeError, match="ids must be in the order of the images"):
        gallery.upsert(e, {"a", "b"})
    assert len(gallery) == 0
    gallery.add(e, {"a": 1, "b": 2})  # a dict has one


@pytest.mark.parametrize("where", [{}, "camera 1", [Filter()], 3])
def test_what_is_no_filter_and_no_rule_is_refused(where: Any) -> None:
    gallery, e = filled(3), embeddings(2)
    for call in (
        lambda: gallery.delete(where=where),
        lambda: gallery.count(where),
        lambda: gallery.cameras(where),
        lambda: list(gallery.records(where)),
        lambda: gallery.search(e, where=where),
    ):
        with pytest.raises(WrongTypeError, match=r'Expected where=\{"cameras": \[3\]\}, Filter\(.*\) or None, got'):
            call()
    with pytest.raises(ConfigError, match=r"Expected MatchingConfig\(\.\.\.\) or None, got"):
        gallery.search(e, matching=where)
    assert len(gallery) == 3


def test_a_filter_is_an_object_a_mapping_or_keywords() -> None:
    gallery, query, camera = filled(6, cameras=[1, 2, 1, 2, 1, 2]), embeddings(1), 2
    wanted = gallery.search(query, where=Filter(cameras=camera)).ids
    assert 1 < gallery.count(cameras=camera) == len(wanted[0]) < 6
    for found in (
        gallery.search(query, where={"cameras": [camera]}),
        gallery.search(query, cameras=camera),
        gallery.search(query, where={"cameras": camera}, not_ids=["nobody"]),
        gallery.search(query, where=Filter(cameras=camera), since=None),
    ):
        assert found.ids == wanted
    assert gallery.search(query, where={"cameras": camera}, not_ids=wanted[0][0]).ids[0] == wanted[0][1:]
    with pytest.raises(ConfigError, match="Given twice, in where and by keyword: cameras"):
        gallery.search(query, where={"cameras": camera}, cameras=camera)
    with pytest.raises(ConfigError, match=r"Unknown condition 'cam'. Did you mean cameras\?"):
        gallery.count({"cam": 1})
    with pytest.raises(ConfigError, match=r"metadata=\{'track': \.\.\.\}"):
        gallery.delete(where={"track": 17})
    with pytest.raises(ConfigError, match="undated"):
        gallery.count(undated="often")  # type: ignore[arg-type]
    assert set(Conditions.__annotations__) == set(Filter.model_fields)


def test_a_result_is_a_sequence_of_hits() -> None:
    gallery, query = filled(4), embeddings(2)
    result = gallery.search(query, k=3)
    assert len(result) == 2
    for number, hits in enumerate(result):
        assert [hit.id for hit in hits] == list(result.ids[number])
        assert [hit.distance for hit in hits] == result.distances[number].tolist()
        assert [hit.rank for hit in hits] == [1, 2, 3]
        assert [len(hit.part_distances) for hit in hits] == result.compared[number].tolist()
        for hit, item in zip(hits, result.items[number], strict=True):
            assert (hit.camera, hit.time, hit.metadata, hit.item) == (item.camera, item.time, item.metadata, item)
            assert hit.comparable == math.isfinite(hit.distance)
    assert [hit.id for hit in result[-1]] == list(result.ids[1])
    assert result[1:].ids == result.ids[1:]
    assert torch.equal(result[1:].distances, result.distances[1:])
    with pytest.raises(IndexError):
        result[2]
    with pytest.raises(WrongTypeError, match=r"a query by its number, got 'ids'\. Write result\[0\]\[0\]\.id"):
        result["ids"]  # type: ignore[call-overload]


def test_numbers_are_ids(tmp_path: Path) -> None:
    gallery, e = Gallery(), embeddings(2)
    gallery.add(e, [1, np.int64(2)])
    assert gallery.get([1, 2]).ids == ["1", "2"]
    assert 1 in gallery
    assert "2" in gallery
    assert 3 not in gallery
    assert gallery.known([1, 5]) == {"1"}
    assert gallery.get(2).ids == ["2"]
    assert gallery.delete([1]) == 1


def test_a_location_opens(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people") as gallery:
        gallery.add(embeddings(1), ["a"])
    with Gallery(str(tmp_path / "people"), create=False) as gallery:
        assert "a" in gallery
    with pytest.raises(DataError, match=r"Write Gallery\(\)"):
        Gallery(":memory:")
    with pytest.raises(WrongTypeError, match="Expected a folder or an address"):
        Gallery(embeddings(1))  # type: ignore[arg-type]


def test_undated_alone_deletes_nothing() -> None:
    """It is no condition: whoever means the items without a time would lose all."""
    gallery = filled(3)
    with pytest.raises(DataError, match="undated=True goes with since or until"):
        gallery.delete(where=Filter(undated=True))
    assert gallery.count(Filter(undated=True)) == len(gallery) == 3
    assert gallery.delete(where=Filter(until=NOON + 3600, undated=True)) == 3


def test_metadata_of_many_digits_or_depths_is_a_typed_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**5000, deep):
        with pytest.raises(DataError, match="must be what JSON can hold"):
            Gallery().add(embeddings(1), ["a"], metadata=[{"n": value}])
