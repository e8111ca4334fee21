"""Filling a gallery: when a name, a file or what it shows is in there already, and when it is another image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partreid.errors import DataError, ShapeError
from partreid.inference.embedding_file import save_embeddings
from partreid.retrieval import Gallery
from partreid.retrieval.filling import Naming, add_embeddings, add_files
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords


def people(*numbers: int, model: str = "m") -> PartEmbeddings:
    """People apart from one another, by number."""
    vectors = torch.stack([torch.randn(2, 8, generator=torch.Generator().manual_seed(n)) for n in numbers])
    return PartEmbeddings(vectors, torch.ones(len(numbers), 2), ("foreground", "head"), model)


def folder(place: Path, *names: str) -> Path:
    """A folder with files of these names."""
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("an image")
    return place


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.open(tmp_path / "g")


def test_a_file_that_says_its_folder_brings_the_images_of_that(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, here = folder(tmp_path / "site", "1.jpg"), folder(tmp_path / "here", "1.jpg", "2.jpg")
    monkeypatch.chdir(here)
    files = [tmp_path / name for name in ("known.safetensors", "unknown.safetensors", "absolute.safetensors")]
    save_embeddings(files[0], people(0), names=["1.jpg"], root=site)
    save_embeddings(files[1], people(1), names=["2.jpg"])
    save_embeddings(files[2], people(2), names=[str(here / "1.jpg")])
    filled = add_files(gallery, files, Naming(camera="3"))
    assert (filled.added, filled.known, filled.renamed) == (3, 0, {})
    shown = {item.id: item.metadata.get("file") for page in gallery.records() for item in page.items}
    assert shown == {"1.jpg": str(site / "1.jpg"), "2.jpg": None, str(here / "1.jpg"): str(here / "1.jpg")}
    assert (add_files(gallery, files, Naming()).added, len(gallery)) == (0, 3)


def test_two_files_with_the_same_names(gallery: Gallery, tmp_path: Path) -> None:
    for camera, numbers in (("a", (0, 1)), ("b", (2, 3))):
        save_embeddings(tmp_path / f"{camera}.safetensors", people(*numbers), names=["1.jpg", "2.jpg"])
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    with pytest.raises(DataError, match=r"The id '1\.jpg' is given twice, .*It was not added.*--prefix"):
        add_files(gallery, [a, b], Naming())
    assert len(gallery) == 0
    add_files(gallery, [a], Naming())
    with pytest.raises(
        DataError, match=r"2 of the images have the id of another image.*'1\.jpg'.*an image with an unknown file"
    ):
        add_files(gallery, [b], Naming())
    assert add_files(gallery, [b], Naming(prefix="b/")).added == 2
    found = gallery.search(people(0, 2), 1)
    assert found.ids == (("1.jpg",), ("b/1.jpg",))
    assert add_files(gallery, [b], Naming(), replace=True).added == 2
    assert gallery.search(people(2), 2).ids == (("1.jpg", "b/1.jpg"),)


def test_what_images_show_tells_them_apart_where_no_file_is_known(gallery: Gallery) -> None:
    naming = Naming(root=None)
    add_embeddings(gallery, [(people(0, 1), ["x", "y"])], naming)
    rounded = replace(people(0), vectors=people(0).vectors * 1.0005)  # another batch, half precision
    assert add_embeddings(gallery, [(rounded, ["x"])], naming).known == 1
    for other in (people(1), replace(people(0), visibility=torch.tensor([[1.0, 0.0]]))):
        with pytest.raises(DataError, match="another image"):
            add_embeddings(gallery, [(other, ["x"])], naming)
    with pytest.raises(ShapeError, match="different models"):
        add_embeddings(gallery, [(people(0, model="other"), ["x"])], naming)
    with pytest.raises(ShapeError, match="slots differ"):
        add_embeddings(gallery, [(people(0).select("head"), ["x"])], naming)


def test_a_later_page_that_is_refused_leaves_nothing_of_an_earlier(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partreid.retrieval.filling.WRITTEN", 2)
    batches = [(people(0, 1, 2), ["a", "b", "c"]), (people(3, 4), ["d", "a"])]
    with pytest.raises(DataError, match="'a' is given twice"):
        add_embeddings(gallery, batches, Naming(root=None))
    assert len(gallery) == 0
    with pytest.raises(DataError, match="'a' is given twice"):
        add_embeddings(gallery, iter(batches), Naming(root=None))  # gone through once: some at a time
    assert len(gallery) == 3


def test_one_file_is_one_item_however_its_path_is_written(gallery: Gallery, tmp_path: Path) -> None:
    site = folder(tmp_path / "site", "crops/1.jpg", "crops/2.jpg")
    (tmp_path / "link").symlink_to(site)
    naming = Naming(root=site, camera="1")
    add_embeddings(gallery, [(people(0, 1), ["crops/1.jpg", "crops/2.jpg"])], naming)
    for root, name in ((site, str(site / "crops/1.jpg")), (site / "crops", "1.jpg"), (site, "crops/../crops/1.jpg")):
        filled = add_embeddings(gallery, [(people(0), [name])], replace(naming, root=root))
        assert (filled.added, filled.known, filled.renamed) == (0, 1, {name: "crops/1.jpg"})
        with pytest.raises(DataError, match=r"'crops/1\.jpg': camera '1' there, '2' now"):
            add_embeddings(gallery, [(people(0), [name])], replace(naming, root=root, camera="2"))
    assert add_embeddings(gallery, [(people(0), ["crops/1.jpg"])], replace(naming, root=tmp_path / "link")).known == 1
    new = replace(naming, root=site / "crops", camera="2")
    assert add_embeddings(gallery, [(people(5), ["1.jpg"])], new, replace=True).added == 1
    assert [(item.id, item.camera) for item in gallery.get(["crops/1.jpg", "crops/2.jpg"]).items] == [
        ("crops/1.jpg", "2"),
        ("crops/2.jpg", "1"),
    ]
    twice = [(people(7, 7), ["new.jpg", str(folder(site, "new.jpg") / "new.jpg")])]
    assert (add_embeddings(gallery, twice, naming).added, len(gallery)) == (1, 3)


def test_the_image_of_a_track_is_no_track(gallery: Gallery, tmp_path: Path) -> None:
    site = folder(tmp_path / "site", "7.jpg")
    track = GalleryItem("hall/7", metadata={"track": "hall/7", "file": str(site / "7.jpg")})
    gallery.add_records(GalleryRecords((track,), people(0)))
    assert add_embeddings(gallery, [(people(1), ["7.jpg"])], Naming(root=site), replace=True).added == 1
    assert gallery.get(["hall/7"]).items == (track,)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (Naming(camera="1"), Naming(camera="2"), "camera '1' there, '2' now"),
        (Naming(), Naming(camera="2"), "camera None there, '2' now"),
        (Naming(r"(?P<camera>\d+)_"), Naming(r"_(?P<camera>\d+)"), "camera '3' there, '17' now"),
        (Naming(r"(?P<track>\d+)_"), Naming(r"_(?P<track>\d+)"), "track '3' there, '17' now"),
        (
            Naming(metadata={"track": 3}),
            Naming(metadata={"track": 4, "site": "n"}),
            "track '3' there, '4' now, site None",
        ),
    ],
)
def test_what_is_said_otherwise_is_not_passed_over(gallery: Gallery, first: Naming, second: Naming, said: str) -> None:
    first, second = replace(first, root=None), replace(second, root=None)
    batch = [(people(0), ["3_17"])]
    add_embeddings(gallery, batch, first)
    with pytest.raises(DataError, match=f"with other values; the first is '3_17': {said}"):
        add_embeddings(gallery, batch, second)
    assert gallery.get(["3_17"]).items[0] == first.item("3_17")
    for same in (first, Naming(root=None)):  # who says nothing, says nothing else
        assert add_embeddings(gallery, batch, same).known == 1
    assert add_embeddings(gallery, batch, second, replace=True).added == 1
    assert gallery.get(["3_17"]).items[0] == second.item("3_17")


def test_numbers_written_in_two_ways_are_no_difference(gallery: Gallery) -> None:
    for name, first in (("x", 17), ("y", "17"), ("z", 17.0)):
        batch = [(people(0), [name])]
        add_embeddings(gallery, batch, Naming(root=None, camera="3", metadata={"track": first}))
        for camera, track in (("3.0", "17"), ("3", 17.0), ("3", 17), ("3", "17.0")):
            naming = Naming(root=None, camera=camera, metadata={"track": track})
            assert add_embeddings(gallery, batch, naming).known == 1
        with pytest.raises(DataError, match="track '17(.0)?' there, '18' now"):
            add_embeddings(gallery, batch, Naming(root=None, metadata={"track": 18}))


def test_of_two_items_of_one_file_each_is_found_by_its_id(gallery: Gallery, tmp_path: Path) -> None:
    naming = Naming(root=folder(tmp_path / "site", "1.jpg"))
    for prefix, camera in (("", 1), ("b/", 2)):
        gallery.add_records(
            GalleryRecords((replace(naming.item("1.jpg"), id=f"{prefix}1.jpg", camera=camera),), people(0))
        )
    for prefix, camera in (("", "1"), ("b/", "2")):
        filled = add_embeddings(gallery, [(people(0), ["1.jpg"])], replace(naming, prefix=prefix, camera=camera))
        assert (filled.known, filled.renamed) == (1, {})


def test_very_long_paths(gallery: Gallery, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 3)
    naming = Naming(root=folder(deep, "1.jpg"))
    for added in (1, 0):
        assert add_embeddings(gallery, [(people(0), ["1.jpg"])], naming).added == added
