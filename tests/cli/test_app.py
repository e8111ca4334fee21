"""``partreid app``: from the command line to a page that answers."""

from __future__ import annotations

import json
import re
import shutil
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from partreid.inference.extractor import PartExtractor
from partreid.retrieval.calibration import CALIBRATION_FILE, MatchCalibration
from partreid.retrieval.gallery import Gallery
from tests.cli.conftest import Run

pytest.importorskip("starlette", reason="the extra app is not installed")


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery in memory, wherever one is opened."""
    monkeypatch.setattr(Gallery, "open", lambda location, extractor, create: Gallery(extractor=extractor))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the page says of itself; it ends once it was asked."""
    from partreid.app import server

    told: dict[str, object] = {}
    run = server.PageServer.run

    def ask(self: server.PageServer) -> None:
        thread = threading.Thread(target=run, args=(self,))
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/about", timeout=20) as answer:
            told.update(json.load(answer))
        self.stop()
        thread.join(20)

    monkeypatch.setattr(server.PageServer, "run", ask)
    return told


@pytest.mark.usefixtures("in_memory")
def test_the_page_answers(run: Run, tiny_run: Path, answers: dict[str, object]) -> None:
    status, text = run("app", "--gallery", "people", "--model", tiny_run, "--port", 0)
    assert status == 0, text
    assert re.search(r"Open http://127\.0\.0\.1:\d+/ in a browser", text)
    assert "warning" not in text
    assert answers["items"] == 0
    assert answers["calibration"] is None


@pytest.mark.usefixtures("in_memory")
def test_letting_others_in_is_said(run: Run, tiny_run: Path, answers: dict[str, object]) -> None:
    status, text = run("app", "--gallery", "people", "--model", tiny_run, "--port", 0, "--host", "0.0.0.0")
    assert status == 0, text
    assert "warning" in text
    assert "without a password" in " ".join(text.split())


@pytest.mark.usefixtures("in_memory")
def test_a_calibration_must_belong_to_the_model(
    run: Run, tiny_run: Path, answers: dict[str, object], tmp_path: Path
) -> None:
    slots = len(PartExtractor.from_pretrained(tiny_run).slots)
    own = MatchCalibration(
        prior=0.1,
        offsets=(1.0,) * slots,
        slopes=(1.0,) * slots,
        model=PartExtractor.from_pretrained(tiny_run).fingerprint,
        fitted_on="blocks",
    )
    options = ("app", "--gallery", "people", "--model", tiny_run, "--port", 0, "--calibration")
    status, text = run(*options, own.save(tmp_path / "own.json"))
    assert status == 0, text
    assert answers["calibration"] == "blocks, prior 10 %"
    status, text = run(*options, own.model_copy(update={"model": "other"}).save(tmp_path / "other.json"))
    assert status == 2
    assert "another model" in text


@pytest.mark.usefixtures("in_memory")
def test_a_calibration_beside_the_model_that_is_no_use_is_said(
    run: Run, tiny_run: Path, answers: dict[str, object], tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint" / CALIBRATION_FILE
    MatchCalibration(prior=0.1, offsets=(1.0,), slopes=(1.0,), model="other").save(file)
    for words in ("another model", "cannot be read"):
        status, text = run("app", "--gallery", "people", "--model", tmp_path / "run", "--port", 0)
        assert status == 0, text
        assert "There are no probabilities" in text
        assert words in " ".join(text.split())
        assert "another model or another way of embedding" in str(answers["calibration_problem"])
        assert str(tmp_path) not in str(answers["calibration_problem"])
        assert answers["calibration"] is None
        file.write_text("{")


@pytest.mark.usefixtures("answers")
def test_a_calibration_for_another_way_of_embedding_than_the_gallerys(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    plain = PartExtractor.from_pretrained(tiny_run)
    with Gallery.open(tmp_path / "gallery", extractor=plain) as gallery:
        gallery.add([np.zeros((64, 32, 3), np.uint8)], ["a"])
    otherwise = PartExtractor.from_pretrained(tiny_run, overrides=("visibility=continuous",))
    count = len(plain.slots)
    file = MatchCalibration(
        prior=0.1, offsets=(1.0,) * count, slopes=(1.0,) * count, model=otherwise.fingerprint,
        overrides=("visibility=continuous",),
    ).save(tmp_path / "calibration.json")  # fmt: skip
    command = ("app", "--gallery", tmp_path / "gallery", "--model", tiny_run, "--port", 0)
    search = ("gallery", "search", tmp_path / "gallery", "--like", "a", "--model", tiny_run)
    for words in (command, search):
        status, text = run(*words, "--calibration", file)
        assert status == 2
        assert "embedded with visibility=continuous" in " ".join(text.split())
        assert "leave --calibration out" in " ".join(text.split())
    assert run(*command)[0] == 0
