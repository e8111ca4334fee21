"""One embedding per box: of frames of a video, and of images of several sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.errors import DataError
from partreid.inference.extractor import PartExtractor
from partreid.models.build import build_network
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.tracking.boxes import read_boxes
from partreid.tracking.detections import embed_detections
from partreid.tracking.video_tracks import open_frames


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    torch.manual_seed(0)
    network = build_network(ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=4), 2)
    runtime = RuntimeConfig(device="cpu", batch_size=2)
    return PartExtractor(network, PreprocessConfig(height=32, width=16), runtime=runtime)


def photo(path: Path, width: int, height: int) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_frames(extractor: PartExtractor, tmp_path: Path) -> None:
    frames = {i: photo(tmp_path / "hall" / f"{i}.png", 90, 60) for i in (1, 2, 3)}
    table = tmp_path / "det.txt"
    table.write_text("1,-1,51,11,20,40,0.9\n2,-1,61,11,20,40,0.9\n2,-1,500,11,20,40,0.9\n3,-1,51,11,20,40,0.9\n")
    boxes = read_boxes(table, each=True)
    with pytest.raises(DataError, match=r"Frame 1 .*track 1/1 .*line 3.*outside the frame"):
        embed_detections(extractor, open_frames(tmp_path / "hall", boxes), boxes)
    told: list[str] = []
    folder = open_frames(tmp_path / "hall", boxes, fps=2)
    found = embed_detections(extractor, folder, boxes, on_error=told.append, crops=tmp_path / "crops")
    assert found.names == ("0/0", "1/0", "2/0")
    assert found.boxes.names == found.names
    assert found.seconds == {0: 0.0, 1: 0.5, 2: 1.0}
    assert len(told) == 1
    crops = [frames[1][10:50, 50:70], frames[2][10:50, 60:80], frames[3][10:50, 50:70]]
    torch.testing.assert_close(found.embeddings.vectors, extractor.embed(crops).vectors, rtol=1e-4, atol=1e-5)
    assert sorted(found.images) == sorted(found.names)
    assert embed_detections(extractor, folder, boxes, every=2).names == ("0/0", "2/0")


def test_images_of_several_sizes(extractor: PartExtractor, tmp_path: Path) -> None:
    bus, zidane = photo(tmp_path / "photos" / "bus.png", 90, 60), photo(tmp_path / "photos" / "zidane.png", 40, 120)
    photo(tmp_path / "photos" / "nobody.png", 30, 30)
    sizes = {"bus.png": (90, 60), "zidane.png": (40, 120)}
    entries = [
        {"file_name": name, "image_id": i, "bbox": [5, 10, 20, 40], "score": 0.5} for i, name in enumerate(sizes)
    ]
    entries.append({**entries[1], "bbox": [5, 70, 20, 40]})  # below the other image
    table = tmp_path / "predictions.json"
    table.write_text(json.dumps(entries))
    boxes = read_boxes(table, frames=tmp_path / "photos", each=True)
    found = embed_detections(extractor, open_frames(tmp_path / "photos", boxes), boxes)
    assert found.names == ("bus.png/0", "zidane.png/0", "zidane.png/1")
    crops = [bus[10:50, 5:25], zidane[10:50, 5:25], zidane[70:110, 5:25]]
    torch.testing.assert_close(found.embeddings.vectors, extractor.embed(crops).vectors, rtol=1e-4, atol=1e-5)

    images = [{"id": i, "file_name": name, "width": w, "height": h} for i, (name, (w, h)) in enumerate(sizes.items())]
    annotations = [{**entry, "category_id": 1} for entry in entries]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    table.write_text(json.dumps(content))
    boxes = read_boxes(table, frames=tmp_path / "photos", each=True)
    assert embed_detections(extractor, open_frames(tmp_path / "photos", boxes), boxes).names == found.names
    images[1]["width"] = 80
    table.write_text(json.dumps(content))
    boxes = read_boxes(table, frames=tmp_path / "photos", each=True)
    with pytest.raises(DataError, match=r"says that frame 2 .* has 80×120 pixels, but it has 40×120"):
        embed_detections(extractor, open_frames(tmp_path / "photos", boxes), boxes)


def test_tracks_are_no_detections(extractor: PartExtractor, tmp_path: Path) -> None:
    photo(tmp_path / "hall" / "1.png", 90, 60)
    (tmp_path / "mot.txt").write_text("1,7,11,11,20,40,1\n2,7,11,11,20,40,1\n")
    with pytest.raises(DataError, match="Read them with each=True"):
        embed_detections(extractor, tmp_path / "hall", read_boxes(tmp_path / "mot.txt"))
    with pytest.raises(DataError, match="Expected the boxes that read_boxes gives"):
        embed_detections(extractor, tmp_path / "hall", [[1, 2, 3, 4]])  # type: ignore[arg-type]
