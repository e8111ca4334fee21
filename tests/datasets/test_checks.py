"""Each fault, made on purpose, is found; a whole set has none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.checks import DatasetReport, Finding, check_dataset
from partreid.datasets.readers import find_datasets
from tests.conftest import write_blocks

Check = Callable[[], list[Finding]]
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A whole set: 3 training and 2 test identities, labels for all."""
    folder = tmp_path / "set"
    write_blocks(folder, TRAIN, range(1, 4), range(2))
    write_blocks(folder, GALLERY, range(11, 13), range(2))
    write_blocks(folder, QUERY, range(11, 13), range(2, 3))
    return folder


def report_on(path: Path) -> DatasetReport:
    (found,) = find_datasets(path)
    return check_dataset(found, threads=2)


def worth_telling(path: Path) -> list[tuple[str, str, str]]:
    return [(f.severity, f.check, f.text) for f in report_on(path).findings if f.severity != "ok"]


def images(root: Path, folder: str) -> list[Path]:
    return sorted((root / folder).glob("*.jpg"))


def test_a_whole_set(root: Path) -> None:
    report = report_on(root)
    assert (report.name, report.problems) == ("set", 0)
    assert [(s.name, s.identities, s.images, s.cameras) for s in report.splits] == [
        ("train", 3, 6, 2), ("gallery", 2, 4, 2), ("query", 2, 2, 1),
    ]  # fmt: skip
    assert {f.severity for f in report.findings} == {"ok"}
    assert {f.check for f in report.findings} == {"matches", "images", "duplicates", "labels"}


def test_progress_counts_every_file(root: Path) -> None:
    steps: list[int] = []

    @contextmanager
    def progress(job: str, total: int, /) -> Iterator[Callable[[int], None]]:
        assert (job, total) == ("reading set", 24)
        yield steps.append

    check_dataset(find_datasets(root)[0], progress=progress)
    assert sum(steps) == 24


def faults() -> Iterator[tuple[str, Callable[[Path], object], tuple[str, str, str]]]:
    def first(folder: str, index: int = 0) -> Callable[[Path], Path]:
        return lambda root: images(root, folder)[index]

    def copy(source: Callable[[Path], Path], target: str) -> Callable[[Path], object]:
        return lambda root: shutil.copy(source(root), root / target)

    def label(root: Path, folder: str = TRAIN) -> Path:
        return min((root / "masks" / "blocks" / folder).iterdir())

    yield (
        "truncated image",
        lambda r: first(TRAIN)(r).write_bytes(first(TRAIN)(r).read_bytes()[:300]),
        ("problem", "images", "train: 1 of 6 images cannot be read"),
    )
    yield (
        "empty image",
        lambda r: first(QUERY)(r).write_bytes(b""),
        ("problem", "images", "query: 1 of 2 images cannot be read"),
    )
    yield (
        "broken link",
        lambda r: (r / GALLERY / "0011_c3_x.jpg").symlink_to(r / "gone.jpg"),
        ("problem", "images", "gallery: 1 of 5 images cannot be read"),
    )
    yield (
        "person in train and test",
        lambda r: write_blocks(r, TRAIN, range(11, 12), range(5, 6)),
        ("problem", "identities", "1 identities are in train and in a test split"),
    )
    yield (
        "query without a match",
        lambda r: write_blocks(r, QUERY, range(20, 21), range(1)),
        ("problem", "matches", "query: 1 of 3 queries have no match in the gallery from another view"),
    )
    yield (
        "match in the same camera only",
        lambda r: (
            [p.rename(p.with_name(p.name.replace("c1", "c3"))) for p in images(r, GALLERY)[:1]]
            + [images(r, GALLERY)[0].unlink()]
        ),
        ("problem", "matches", "query: 1 of 2 queries have no match in the gallery from another view"),
    )
    yield (
        "twice within a split",
        copy(first(TRAIN), f"{TRAIN}/0001_c1_again.jpg"),
        ("note", "duplicates", "1 images are in train more than once"),
    )
    yield (
        "query in the gallery, same camera",
        copy(first(QUERY), f"{GALLERY}/0011_c3_000002.jpg"),
        ("note", "duplicates", "1 files of query are in gallery too; evaluation drops them as the query's view"),
    )
    yield (
        "query in the gallery, other camera",
        copy(first(QUERY), f"{GALLERY}/0011_c5_000002.jpg"),
        ("problem", "duplicates", "1 files of query are in gallery too, as another person or view"),
    )
    yield (
        "query in the gallery, other person",
        copy(first(QUERY), f"{GALLERY}/0012_c3_000009.jpg"),
        ("problem", "duplicates", "1 files of query are in gallery too, as another person or view"),
    )
    yield (
        "training image in the gallery",
        copy(first(TRAIN), f"{GALLERY}/0012_c3_000009.jpg"),
        ("problem", "duplicates", "1 files of gallery are in train too"),
    )
    yield (
        "missing label",
        lambda r: label(r).unlink(),
        ("problem", "labels", "blocks: 1 of 6 images of train have no label"),
    )
    yield (
        "damaged label",
        lambda r: label(r).write_bytes(b"\x93NUMPY"),
        ("problem", "labels", "blocks: 1 of 6 labels of train cannot be read"),
    )
    yield (
        "label of another shape",
        lambda r: np.save(label(r), np.zeros((3, 4, 5), np.uint8)),
        ("problem", "labels", "blocks: 1 of 6 labels of train cannot be read"),
    )
    yield (
        "empty label",
        lambda r: np.save(label(r), np.zeros((36, 9, 5), np.uint8)),
        ("note", "labels", "blocks: 1 of 6 labels of train show no person"),
    )
    yield (
        "missing test label",
        lambda r: label(r, GALLERY).unlink(),
        ("note", "labels", "blocks: 1 of 4 images of gallery have no label"),
    )
    yield (
        "damaged test label",
        lambda r: label(r, QUERY).write_bytes(b""),
        ("note", "labels", "blocks: 1 of 2 labels of query cannot be read"),
    )
    yield (
        "two images, one label",
        lambda r: shutil.copy(first(TRAIN)(r), first(TRAIN)(r).with_suffix(".jpeg")),
        ("problem", "labels", "blocks: 2 images share a label file, as their names differ in the suffix only"),
    )
    yield (
        "label on its side",
        lambda r: np.save(label(r), np.load(label(r)).transpose(0, 2, 1)),
        ("problem", "labels", "blocks: 1 of 6 labels of train cannot be read"),
    )
    yield (
        "label of another scale",
        lambda r: np.save(label(r), np.load(label(r)).astype(np.float32)),
        ("problem", "labels", "blocks: 1 of 6 labels of train cannot be read"),
    )
    yield (
        "image that is turned since its label was made",
        lambda r: lay_down(first(TRAIN)(r)),
        ("problem", "labels", "blocks: 1 of 6 labels of train cannot be read"),
    )
    yield (
        "no labels",
        lambda r: shutil.rmtree(r / "masks"),
        ("note", "labels", "there are none; part attention needs them: `partreid labels make`"),
    )


def lay_down(image: Path) -> None:
    """Store an image as a telephone does that is held otherwise, and its label as if nobody had looked at EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(image) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(image, exif=exif)
    label = image.parents[1] / "masks" / "blocks" / image.parent.name / f"{image.stem}.npy"
    np.save(label, np.rot90(np.load(label), axes=(1, 2)))


@pytest.mark.parametrize(("name", "make", "finding"), list(faults()), ids=[name for name, _, _ in faults()])
def test_each_fault_is_found(
    root: Path, name: str, make: Callable[[Path], object], finding: tuple[str, str, str]
) -> None:
    make(root)
    found = worth_telling(root)
    assert finding in found
    assert len([f for f in found if f[0] == "problem"]) <= 2, "one fault gives no flood"


def test_examples_name_the_files(root: Path) -> None:
    victims = images(root, TRAIN)[:4]
    for victim in victims:
        victim.write_bytes(b"\xff\xd8")
    (finding,) = [f for f in report_on(root).findings if f.check == "images"]
    assert len(finding.examples) == 3
    assert all(victim.name in text for victim, text in zip(victims[:3], finding.examples, strict=True))


def test_files_that_are_left_out_are_a_finding(root: Path) -> None:
    (root / TRAIN / "0009_c1.heic").touch()
    (root / TRAIN / "Thumbs.db").touch()
    text = f"left out: 1 file that is no image partreid can read here: {root / TRAIN / '0009_c1.heic'}"
    assert worth_telling(root) == [("problem", "files", text)]


def test_label_maps_count_as_labels(root: Path) -> None:
    labels = sorted((root / "masks" / "blocks" / TRAIN).iterdir())
    np.save(labels[0], np.eye(5, dtype=np.uint8))
    np.save(labels[1], np.zeros((5, 5), np.uint8))
    assert worth_telling(root) == [("note", "labels", "blocks: 1 of 6 labels of train show no person")]


def test_labels_of_training_alone_are_enough(root: Path) -> None:
    for folder in (QUERY, GALLERY):
        shutil.rmtree(root / "masks" / "blocks" / folder)
    assert worth_telling(root) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: shutil.rmtree(r / QUERY), "query does not exist; this layout needs it"),
        (lambda r: (r / QUERY / "me.jpg").touch(), r"me.jpg: expected a name that begins with"),
    ],
)
def test_a_set_that_cannot_be_read_is_a_finding(root: Path, change: Callable[[Path], object], text: str) -> None:
    change(root)
    report = report_on(root)
    assert (report.splits, report.problems) == ((), 1)
    assert report.findings[0].check == "layout"
    assert text in report.findings[0].text


def test_published_figures_and_names(root: Path) -> None:
    root = root.rename(root.with_name("Occluded_Duke"))
    found = worth_telling(root)
    assert ("note", "origin") in [f[:2] for f in found]
    assert [check for severity, check, _ in found if severity == "problem"] == ["counts"] * 3 + ["names"] * 3
    assert "Occluded-Duke train: expected 702 identities in 15618 images, found 3 in 6" in found[1][2]
    assert report_on(root).splits[0].published == (702, 15618)


def test_separate_numbering_makes_equal_ids_no_problem(tmp_path: Path) -> None:
    write_blocks(tmp_path, "train", range(1, 3), range(2))
    write_blocks(tmp_path, "test", range(1, 3), range(3))
    for path in [*tmp_path.glob("train/*.jpg"), *tmp_path.glob("test/*.jpg")]:
        pid, camera, _ = path.name.split("_")
        path.rename(path.with_name(f"{pid}_000_{camera[1:]:0>2}.jpg"))
    lists = {"train": "train/*", "query": "test/*_03.jpg", "gallery": "test/*_0[12].jpg"}
    for name, pattern in lists.items():
        lines = [f"{p.name} {int(p.name[:4])}" for p in sorted(tmp_path.glob(pattern))]
        (tmp_path / f"list_{name}.txt").write_text("\n".join(lines))
    findings = report_on(tmp_path).findings
    assert "identities" not in {f.check for f in findings}
    assert "matches" in {f.check for f in findings if f.severity == "ok"}


def test_a_table_without_cameras(root: Path) -> None:
    rows = ["path,pid,split"]
    for folder, split in ((TRAIN, "train"), (QUERY, "query"), (GALLERY, "gallery"), (QUERY, "gallery")):
        rows += [f"{folder}/{p.name},{int(p.name[:4])},{split}" for p in images(root, folder)]
    (root / "people.csv").write_text("\n".join(rows))
    assert worth_telling(root / "people.csv") == [
        ("note", "cameras", "cameras are unknown: only the query's own file is dropped from the gallery"),
        ("note", "duplicates", "2 files of query are in gallery too; evaluation drops them as the query's view"),
    ]
