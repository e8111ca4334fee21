"""Every block of Python in docs/ runs, each page's in its order, with small things in the places of large ones."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid import (
    BPBReID,
    Filter,
    Gallery,
    MatchCalibration,
    ModelConfig,
    PartExtractor,
    PreprocessConfig,
    read_dataset,
    save_checkpoint,
)  # fmt: skip
from partreid.models.checkpoint import Checkpoint
from partreid.retrieval import begin_audit_log
from partreid.retrieval.calibration import CALIBRATION_FILE
from tests.conftest import tiny_config
from tests.evaluation.test_mot_sequences import film
from tests.linking.people import CURVES, fill
from tests.models.tiny_networks import save_openvino

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "app 0": "tests/app/test_api.py: it takes a page that runs",
    "extending": "tests/test_extending.py",
    "models 0": "tests/models/test_official.py: it takes a published file",
    "nobody": "tests/cli/test_open_set_commands.py: it takes a rule that was fitted on hundreds of images",
    "scale 0": "tests/retrieval/stores: it takes servers",
    "tracking": "tests/tracking/adapters/test_examples.py",
    "tracklets 2": "tests/tracking/test_detections.py: it takes ultralytics",
}
"""Pages, and blocks by their number, that other tests run."""

INSTEAD = {
    "app": {"(40, 10, 120, 250)": "(4, 1, 12, 25)"},
    "dossier": {'"shipped", "pedestrians"': '"runs/light", "DATA"'},
    "evaluate": {'"shipped", "pedestrians"': '"runs/light", "DATA"'},
    "export": {'("model.onnx")': '("runs/light/model.onnx")'},
    "figures": {"market1501": "DATA"},
    "gallery": {'[{"track": 17}, ...]': '[{"track": 17}, {}]'},
    "link": {'"people"': '"linked"'},
    "networks": {'"fine-tune NET.xml", "market1501"': 'partreid.get_preset("fine-tune NET.xml").override(quick), data'},
    "reassociation": {"every=10": "every=10, gaps=[1]", "[1, 10, 30]": "[1]"},
    "scale": {'f"galleries/2026-03-{day:02d}"': '"days"', "(1, 2, 3)": "(1, 1)"},
    "training": {'"light", "market1501"': "tiny, data"},
}
"""What is written in the place of what would take long, or data that is not here."""

SLOW = {"export", "figures", "models", "networks"}
"""They export or train a network, draw all figures, or embed with the shipped model more than once."""


def blocks_of(page: str) -> dict[str, str]:
    """The Python of a page by "page number", with what stands instead."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    for old, new in INSTEAD.get(page, {}).items():
        assert any(old in block for block in found), f"docs/{page}.md has no {old}"
        found = [block.replace(old, new) for block in found]
    return {f"{page} {number}": block for number, block in enumerate(found)}


PAGES = [
    page.stem
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page.stem not in ELSEWHERE and set(blocks_of(page.stem)) - set(ELSEWHERE)
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights and a calibration."""
    folder = tmp_path_factory.mktemp("run")
    model = BPBReID(ModelConfig(backbone="resnet18", parts="five", visibility="argmax"), num_identities=2).eval()
    save_checkpoint(Checkpoint(model, PreprocessConfig(height=64, width=32)), folder)
    mark = PartExtractor.from_pretrained(folder, device="cpu").fingerprint
    curves = MatchCalibration(prior=0.5, offsets=(4.0,) * 6, slopes=(0.1,) * 6, model=mark)
    curves.save(folder / CALIBRATION_FILE)
    return folder


@pytest.fixture
def at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: Path, run: Path
) -> Callable[[str], dict[str, Any]]:
    """The folder where the pages' Python runs, and for each page the names that it takes for given."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "photo.jpg", "archive/c.jpg", "camera1.mp4/0.jpg", "camera1.mp4/1.jpg"):
        save_noise(name)
    Path("boxes.csv").write_text("frame,track,x1,y1,x2,y2\n0,7,2,3,20,60\n1,7,3,3,21,60\n1,8,9,3,31,60\n")
    shutil.copytree(blocks, "DATA")
    for name in ("runs/light", "runs/mine", "rendered250"):
        shutil.copytree(run, name, copy_function=os.link)  # whatever writes there replaces a file whole
    return given


def save_noise(name: str | Path, seed: int = 0) -> None:
    Path(name).parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 32, 3), dtype=np.uint8)).save(name)


def given(page: str) -> dict[str, Any]:
    """What a page takes for given."""
    extractor = PartExtractor.from_pretrained("runs/light", device="cpu")
    gallery = Gallery(extractor=extractor)
    gallery.add(["a.jpg"], ["a"], cameras=[3], times=[datetime(2026, 11, 30, tzinfo=UTC)])
    names: dict[str, Any] = {
        "extractor": extractor, "gallery": gallery, "crops": ["a.jpg", "b.jpg"], "track_ids": [1, 2], "crop": "a.jpg",
        "frame": np.asarray(Image.open("photo.jpg")), "boxes_of_frame": [[2, 3, 20, 60]], "boxes": [[2, 3, 20, 60]],
        "Path": Path, "image": "a.jpg", "images": ["photo.jpg", "b.jpg"], "ids": ["p", "q"], "cameras": [3, 4],
        "times": [1795435200.0, 1795435300.0], "an_hour_ago": 1795435100.0, "Filter": Filter, "candidates": ["a"],
        "MatchCalibration": MatchCalibration, "query": "a.jpg", "where": Filter(cameras=3), "QUERIES": ["a.jpg"],
        "GALLERY": ["b.jpg"],
    }  # fmt: skip
    if page == "adapt":
        for camera in ("gate", "yard"):
            for number in range(100):
                save_noise(f"crops/{camera}/{number}.jpg", seed=number)
            save_noise(f"{camera}/{7 if camera == 'gate' else 3}.jpg")
    elif page == "audit":
        with Gallery("people", extractor=extractor) as people:
            people.add(["a.jpg"], ["a"], times=[datetime(2026, 10, 30, tzinfo=UTC)])
        begin_audit_log("people")
    elif page == "link":
        with Gallery("linked") as linked:
            fill(linked)
        CURVES.save(Path("runs/mine", CALIBRATION_FILE))
    elif page == "networks":
        save_openvino(Path("NET.xml"))
        names["quick"] = ["optimizer.epochs=1", "batch.identities_per_batch=3", "batch.images_per_identity=2"]
    elif page == "reassociation":
        film(Path("MOT17/train"))
        rows = extractor.embed(["a.jpg", "b.jpg", "a.jpg", "b.jpg"])
        names |= {"embeddings": rows, "frames": [1, 1, 2, 2], "persons": [1, 2, 1, 2], "visibility": [1.0] * 4}
    elif page == "scale":
        with Gallery("days", extractor=extractor) as days:
            days.add(["a.jpg"], ["a"])
    if page in ("networks", "training"):
        names |= {"tiny": tiny_config("optimizer.epochs=1"), "data": read_dataset("DATA")}
    return names


@pytest.mark.filterwarnings("ignore")  # images of noise, one image by a camera that is not known, ...
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in PAGES]
)
def test_python_of_a_page_runs(page: str, at_hand: Callable[[str], dict[str, Any]]) -> None:
    names = at_hand(page)
    for name, block in blocks_of(page).items():
        if name not in ELSEWHERE:
            exec(compile(block, f"docs/{page}.md, block {name.split()[1]}", "exec"), names)
    if page in ("embed", "tracklets"):
        assert len(names["gallery"]) == {"embed": 2, "tracklets": 3}[page]
    if page == "concepts":
        assert names["part_distances"](names["query"], names["image"]).tolist() == [[5.0]]


def test_other_tests_are_where_they_are_said_to_be() -> None:
    assert [file for said in ELSEWHERE.values() if not (ROOT / (file := said.partition(":")[0])).exists()] == []
