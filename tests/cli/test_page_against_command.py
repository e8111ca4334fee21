"""The page and ``partreid gallery search`` answer one question alike: same items, distances, probabilities, parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from partreid.app.messages import Question, Sighting
from partreid.app.service import PageService
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.calibration import CALIBRATION_FILE, MatchCalibration
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.matching import MatchingConfig
from partreid.runtime import RuntimeConfig
from tests.app.people import DAY
from tests.cli.conftest import Run

Options = tuple[object, ...]


@pytest.fixture
def model(tiny_run: Path, tmp_path: Path) -> Path:
    """A run with a calibration that compares in a way of its own."""
    shutil.copytree(tiny_run, tmp_path / "run")
    extractor = PartExtractor.from_pretrained(tiny_run)
    count = len(extractor.slots)
    MatchCalibration(
        prior=0.1, offsets=(2.0,) * count, slopes=(0.7,) * count, matching=MatchingConfig(normalize=True),
        model=extractor.fingerprint, fitted_on="blocks",
    ).save(tmp_path / "run" / "checkpoint" / CALIBRATION_FILE)  # fmt: skip
    return tmp_path / "run"


@pytest.fixture
def gallery(run: Run, blocks: Path, model: Path, tmp_path: Path) -> Path:
    extractor = PartExtractor.from_pretrained(model)
    images = sorted((blocks / "bounding_box_test").glob("*.jpg"))
    with Gallery.open(tmp_path / "people", extractor=extractor) as opened:
        for number, image in enumerate(images):
            metadata = {"file": str(image), "track": number // 3}
            time = DAY + 3600 * number
            opened.add([image], [image.stem], cameras=image.stem[6], times=time, metadata=[metadata])
    return tmp_path / "people"


CASES: list[tuple[Options, dict[str, Any]]] = [
    ((), {}),
    (("--parts", "foreground,torso"), {"parts": ["torso", "foreground"]}),
    (("--camera", 1, "--camera", 2), {"where": {"cameras": ["1", 2]}}),
    (("--not-camera", 1), {"where": {"not_cameras": [1]}}),
    (("--where", "track=2", "--where", "track=3"), {"where": {"metadata": {"track": [2, "3"]}}}),
    (("--not", "track=0"), {"where": {"not_metadata": {"track": "0"}}}),
    (
        ("--since", "2026-01-01T02:00+00:00", "--until", "2026-01-01T06:00+01:00"),
        {"where": {"since": "2026-01-01T03:00+01:00", "until": DAY + 5 * 3600}},
    ),
]


@pytest.mark.parametrize(
    ("who", "options", "fields"),
    [*(("image", *case) for case in CASES), ("two images", *CASES[0]), ("item", *CASES[0]), ("item", *CASES[3])],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value)[:20],
)
def test_same_question_same_answer(
    run: Run, model: Path, gallery: Path, blocks: Path, who: str, options: Options, fields: dict[str, Any]
) -> None:
    files = sorted((blocks / "query").glob("*.jpg"))[: 2 if who == "two images" else 1]
    asked: Options = ("--like", "0012_c2_000001") if who == "item" else (*files, "--one-person")
    status, printed = run("gallery", "search", gallery, *asked, "-m", model, "-k", 12, *options, "--json")
    assert status == 0, printed
    (answer,) = json.loads(printed)

    extractor = PartExtractor.from_pretrained(str(model), runtime=RuntimeConfig(device="cpu"))
    with Gallery.open(gallery, extractor=extractor, create=False) as opened:
        service = PageService(opened, extractor, calibration=MatchCalibration.load(model))
        query = [Sighting(item="0012_c2_000001")]
        if who != "item":
            query = [Sighting(image=service.keep(file.read_bytes()).image) for file in files]
        else:  # as the page itself asks
            fields = fields | {"where": fields.get("where", {}) | {"not_ids": ["0012_c2_000001"]}}
        ranking = service.search(Question.parse({"query": query, "k": 12, **fields}))
    comparable = [row for row in answer["found"] if row["distance"] is not None]
    assert comparable
    assert [found.id for found in ranking.results] == [row["id"] for row in comparable]
    for found, row in zip(ranking.results, comparable, strict=True):
        assert found.distance == pytest.approx(row["distance"], abs=1e-6)
        assert (found.probability is None) == (row["probability"] is None) == (options.count("--parts") - 1 == 0)
        if found.probability is not None:
            assert found.probability == pytest.approx(row["probability"], abs=1e-6)
        assert (found.camera, found.time, found.compared) == (row["camera"], row["time"], row["compared"])
        assert {s: pytest.approx(d, abs=1e-6) for s, d in found.parts.items() if d is not None} == row["parts"]
