"""Making labels: resumable, nothing lost, nothing done twice."""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.images import read_image
from partreid.errors import ConfigError, LabelError
from partreid.labels.fields import read_pose_fields, write_pose_fields
from partreid.labels.generate import REPORT, LabelJob, LabelSummary, make_labels, read_report
from partreid.labels.providers import Crop, PoseLabel, PoseProvider, load_provider


class FakeProvider(PoseProvider):
    """Writes each image's mean into every field; stops at the n-th image if asked, having read one ahead."""

    name = "fake"

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen, self.stop_at = 0, stop_at

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        waiting: deque[Crop] = deque()
        for crop in crops:
            waiting.append(crop)
            if len(waiting) > 1:
                yield self._label(waiting.popleft())
        while waiting:
            yield self._label(waiting.popleft())

    def _label(self, crop: Crop) -> PoseLabel:
        self.seen += 1
        if self.seen == self.stop_at:
            raise KeyboardInterrupt
        value = round(float(crop.pixels.mean())) / 255
        return PoseLabel(np.full((36, 3, 2), value, np.float32), int(value > 0) + int(value > 0.5))


@pytest.fixture
def jobs(tmp_path: Path) -> list[LabelJob]:
    return lay_images(tmp_path)


def lay_images(root: Path, count: int = 10) -> list[LabelJob]:
    found = []
    for i in range(count):
        image = root / f"{i:02d} é.png"
        Image.new("L", (4, 8), i * 200 // count).save(image)
        found.append(LabelJob(image, root / "masks" / "fake" / f"{image.stem}.npy", image.name))
    return found


def make(provider: PoseProvider, jobs: list[LabelJob], **options: Any) -> LabelSummary:
    return make_labels(provider, jobs, jobs[0].label.parent, read=read_image, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_labels_are_made_once_each_and_reported(jobs: list[LabelJob]) -> None:
    done: list[int] = []
    summary = make(FakeProvider(), jobs, advance=done.append)
    assert (summary.made, summary.kept, summary.failed) == (10, 0, [])
    assert summary.notes == {"no_person": 7, "several_persons": 3}
    assert sum(done) == 10
    for i, job in enumerate(jobs):
        np.testing.assert_allclose(read_pose_fields(job.label), i * 20 / 255, atol=1e-6)
    records = read_report(jobs[0].label.parent / REPORT)
    assert [r.image for r in records] == [job.name for job in jobs]
    assert (records[3].persons, records[3].parts, records[3].note) == (1, (), "no_person")  # below the threshold
    assert (records[9].persons, records[9].parts, records[9].note) == (2, ("head",), "several_persons")


def test_an_interrupted_run_goes_on_where_it_stopped(jobs: list[LabelJob], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(FakeProvider(stop_at=7), jobs)
    before = {job.label: job.label.stat().st_mtime_ns for job in jobs if job.label.exists()}
    assert len(before) == 6
    provider = FakeProvider()
    summary = make(provider, jobs)
    assert (summary.made, summary.kept, provider.seen) == (4, 6, 4)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    (tmp_path / "unbroken").mkdir()
    unbroken = lay_images(tmp_path / "unbroken")
    make(FakeProvider(), unbroken)
    assert contents(jobs[0].label.parent) == contents(unbroken[0].label.parent)


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_generate import FakeProvider, lay_images, make

class Slow(FakeProvider):
    def _label(self, crop):
        time.sleep(0.01)
        return super()._label(crop)

make(Slow(), lay_images(Path({root!r}), 200))
"""


def test_a_killed_run_loses_and_redoes_nothing(tmp_path: Path) -> None:
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    killed.mkdir()
    unbroken.mkdir()
    code = KILLED.format(tests=str(Path(__file__).parent), root=str(killed))
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    folder = killed / "masks" / "fake"
    while len(list(folder.glob("[0-9]*.npy"))) < 20:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in folder.glob("[0-9]*.npy")}
    assert 20 <= len(kept) < 200
    provider = FakeProvider()
    summary = make(provider, lay_images(killed, 200))
    assert (summary.kept, summary.made, provider.seen) == (len(kept), 200 - len(kept), 200 - len(kept))
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    make(FakeProvider(), lay_images(unbroken, 200))
    assert contents(folder) == contents(unbroken / "masks" / "fake")


def test_a_torn_report_line_is_left_out_and_a_foreign_table_refused(jobs: list[LabelJob]) -> None:
    make(FakeProvider(), jobs)
    report = jobs[0].label.parent / REPORT
    whole = report.read_text(encoding="utf-8")
    report.write_text(whole + "xx.png,2,head,sev", encoding="utf-8")
    assert len(read_report(report)) == 10
    assert make(FakeProvider(), jobs).kept == 10
    assert report.read_text(encoding="utf-8") == whole
    report.write_text("a,b\n1,2\n")
    with pytest.raises(LabelError, match=r"report\.csv is no report of `partreid labels make`"):
        make(FakeProvider(), jobs)


def test_lines_about_other_images_stay(jobs: list[LabelJob]) -> None:
    make(FakeProvider(), jobs[:5])
    make(FakeProvider(), jobs[5:])
    assert len(read_report(jobs[0].label.parent / REPORT)) == 10


def test_a_label_from_elsewhere_is_kept_although_the_number_of_persons_is_not_known(jobs: list[LabelJob]) -> None:
    write_pose_fields(jobs[9].label, np.full((36, 3, 2), 0.9))
    assert make(FakeProvider(), jobs).kept == 1
    assert read_report(jobs[0].label.parent / REPORT)[9].persons is None


def test_kept_labels_of_another_source_are_counted(jobs: list[LabelJob]) -> None:
    make(FakeProvider(), jobs[:4], source="fake stride 8")
    write_pose_fields(jobs[4].label, np.full((36, 3, 2), 0.9))
    summary = make(FakeProvider(), jobs, source="fake stride 4")
    assert summary.other_sources == {"fake stride 8": 4, "": 1}
    assert make(FakeProvider(), jobs, source="fake stride 4").other_sources == summary.other_sources
    sources = [record.source for record in read_report(jobs[0].label.parent / REPORT)]
    assert sources == ["fake stride 8"] * 4 + [""] + ["fake stride 4"] * 5
    assert not make(FakeProvider(), jobs, source="fake stride 4", overwrite=True).other_sources


def test_a_damaged_label_is_made_anew(jobs: list[LabelJob]) -> None:
    make(FakeProvider(), jobs)
    jobs[4].label.write_bytes(jobs[4].label.read_bytes()[:50])
    assert make(FakeProvider(), jobs).made == 1
    read_pose_fields(jobs[4].label)
    assert make(FakeProvider(), jobs, overwrite=True).made == 10


def test_the_published_labels_type_is_float(jobs: list[LabelJob]) -> None:
    make(FakeProvider(), jobs[3:4], quantised=False)
    stored = np.load(jobs[3].label)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, 60 / 255, rtol=1e-6)


def test_a_image_that_cannot_be_read_is_named_and_the_others_are_made(jobs: list[LabelJob]) -> None:
    jobs[2].image.write_bytes(b"")
    summary = make(FakeProvider(), jobs)
    assert summary.made == 9
    assert len(summary.failed) == 1
    assert f"{jobs[2].name} is empty" in summary.failed[0]
    assert not jobs[2].label.exists()
    assert read_report(jobs[0].label.parent / REPORT)[2].note == "unreadable"


def test_a_folder_that_cannot_be_written_is_named(jobs: list[LabelJob]) -> None:
    (jobs[0].image.parent / "masks").touch()  # root may write everywhere, but not into a file
    with pytest.raises(LabelError, match="Cannot write .*fake"):
        make(FakeProvider(), jobs)


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'openvino'"):
        load_provider("openvin", model=Path("x.xml"))


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_second_run_in_the_same_folder_is_refused(jobs: list[LabelJob]) -> None:
    class Nested(FakeProvider):
        def _label(self, crop: Crop) -> PoseLabel:
            with pytest.raises(LabelError, match="Another process is writing into .*fake"):
                make(FakeProvider(), jobs)
            return super()._label(crop)

    assert make(Nested(), jobs).made == len(jobs)
    assert make(FakeProvider(), jobs).kept == len(jobs)


def test_a_run_without_a_label_leaves_no_folder(jobs: list[LabelJob]) -> None:
    class Refuses(FakeProvider):
        def _label(self, crop: Crop) -> PoseLabel:
            raise LabelError("names none of the images")

    with pytest.raises(LabelError, match="names none"):
        make(Refuses(), jobs)
    assert not jobs[0].label.parent.exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_of_any_bytes_is_reported(jobs: list[LabelJob], tmp_path: Path) -> None:
    odd = LabelJob(
        tmp_path / os.fsdecode(b"\xff\n.png"), tmp_path / "masks" / "fake" / "x.npy", os.fsdecode(b"\xff\n.png")
    )
    odd.image.write_bytes(jobs[-1].image.read_bytes())
    assert make(FakeProvider(), [odd]).made == 1
    assert make(FakeProvider(), [odd]).notes == {"several_persons": 1}
    assert read_report(tmp_path / "masks" / "fake" / REPORT)[0].image == odd.name
