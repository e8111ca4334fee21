"""``partreid embed-boxes``: boxes of a detector in a file and in a gallery."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from partreid.inference.crops import crop_boxes
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.retrieval import Gallery
from partreid.runtime import RuntimeConfig
from tests.cli.conftest import Run

BOXES = [[10, 10, 40, 70], [60, 10, 90, 70], [20, 10, 50, 70]]


def scene(folder: Path) -> tuple[Path, Path, list[np.ndarray]]:
    """Two frames, the table of a detector, and the crops of its boxes."""
    (folder / "hall").mkdir(parents=True)
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (80, 120, 3), dtype=np.uint8) for _ in range(2)]
    for number, pixels in enumerate(frames, start=1):
        Image.fromarray(pixels).save(folder / "hall" / f"{number:06d}.png")
    rows = [f"{frame},-1,{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1},0.9\n"
            for frame, (x1, y1, x2, y2) in zip((1, 1, 2), BOXES, strict=True)]  # fmt: skip
    table = folder / "det.txt"
    table.write_text("".join(rows))
    return folder / "hall", table, [crop_boxes(frames[i], [box])[0] for i, box in zip((0, 0, 1), BOXES, strict=True)]


def test_a_row_for_each_box(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    hall, table, crops = scene(tmp_path)
    status, text = run("tracks", tiny_run, hall, table, "--device", "cpu")
    assert (status, "This table has no tracks" in text, "partreid embed-boxes" in text) == (2, True, True)
    out = tmp_path / "boxes.safetensors"
    status, text = run("embed-boxes", tiny_run, hall, table, "-o", out, "--device", "cpu", "--batch-size", "2")
    assert status == 0, text
    assert "3 boxes" in text
    embeddings, names = load_embeddings(out)
    assert names == ("hall/0/0", "hall/0/1", "hall/1/0")
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    torch.testing.assert_close(embeddings.vectors, extractor.embed(crops).vectors, rtol=1e-4, atol=1e-4)
    command = ("gallery", "add", tmp_path / "people", out, "--pattern", r"^(?P<camera>\w+)/(?P<frame>\d+)")
    status, text = run(*command)
    assert status == 0, text
    with Gallery.open(tmp_path / "people", create=False) as gallery:
        item = gallery.get(["hall/1/0"]).items[0]
    assert (item.camera, item.metadata["frame"]) == ("hall", "1")


def test_boxes_of_a_gallery_have_their_times(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    hall, table, _ = scene(tmp_path)
    start = ("--camera", "7", "--fps", "2", "--start", "2026-11-30T10:00+00:00", "--crops", tmp_path / "crops")
    command = ("embed-boxes", tiny_run, hall, table, "--gallery", tmp_path / "people", "--device", "cpu")
    status, text = run(*command, *start)
    assert status == 0, text
    assert "3 boxes added, 3 items" in text
    with Gallery.open(tmp_path / "people", create=False) as gallery:
        item = gallery.get(["hall/1/0"]).items[0]
        assert gallery.search(gallery.get(["hall/0/1"]).embeddings, 1).ids == (("hall/0/1",),)
    assert (item.camera, item.time) == ("7", datetime(2026, 11, 30, 10, 0, 0, 500_000, tzinfo=UTC))
    assert Path(item.metadata["file"]).is_file()


def test_photos_that_are_no_frames(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    for name, size in (("bus.jpg", (120, 80)), ("zidane.jpg", (60, 90))):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", size, (90, 60, 30)).save(tmp_path / "photos" / name)
    entries = [{"image_id": name, "bbox": [10, 10, 30, 60], "category_id": 1} for name in ("bus", "zidane", "who")]
    table, out = tmp_path / "predictions.json", tmp_path / "a.safetensors"
    table.write_text(json.dumps(entries))
    command = ("embed-boxes", tiny_run, tmp_path / "photos", table, "-o", out, "--device", "cpu")
    status, text = run(*command)
    assert (status, "entry 2: the box is of the image 'who', which is not in" in text) == (2, True)
    status, text = run(*command, "--skip-damaged")
    assert status == 0, text
    assert load_embeddings(out)[1] == ("photos/bus.jpg/0", "photos/zidane.jpg/0")
    status, text = run(*command, "--format", "kitti")
    assert (status, "should be kitti, but it looks like coco" in text) == (2, True)
