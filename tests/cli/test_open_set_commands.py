"""``--max-false`` and ``partreid calibrate --rule``: from labelled items to a rule, to somebody or nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import typer

from partreid.app.messages import Question, Sighting
from partreid.app.service import PageService
from partreid.cli.shares import share
from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import find_checkpoint
from partreid.retrieval import Gallery, MatchCalibration, OpenSetRule
from partreid.retrieval.calibration import CALIBRATION_FILE
from partreid.retrieval.open_set import OPEN_SET_FILE
from partreid.types import PartEmbeddings
from tests.cli.conftest import Run

PERSONS = 60


@pytest.fixture
def model(tiny_run: Path, tmp_path: Path) -> Path:
    """A run with a calibration."""
    shutil.copytree(tiny_run, tmp_path / "run")
    extractor = PartExtractor.from_pretrained(tiny_run)
    count = len(extractor.slots)
    MatchCalibration(
        prior=0.1, offsets=(3.0,) * count, slopes=(5.0,) * count, model=extractor.fingerprint, fitted_on="blocks"
    ).save(find_checkpoint(tmp_path / "run") / CALIBRATION_FILE)
    return tmp_path / "run"


@pytest.fixture
def labelled(model: Path, tmp_path: Path) -> Path:
    """A gallery of sixty made-up persons in two cameras, and of two who were seen once."""
    pytest.importorskip("lance")
    extractor = PartExtractor.from_pretrained(model)
    like = extractor.embed(torch.zeros(64, 32, 3, dtype=torch.uint8).numpy())
    looks = torch.randn(PERSONS, *like.vectors.shape[1:], generator=torch.Generator().manual_seed(3)) + 9
    twice = looks.repeat_interleave(2, dim=0)
    seen = torch.ones(twice.shape[:2])
    with Gallery(tmp_path / "labelled") as gallery:
        gallery.add(
            PartEmbeddings(twice, seen, like.slots, like.model, like.compare_normalized),
            [f"{i // 2}/{i % 2}" for i in range(2 * PERSONS)],
            cameras=[i % 2 for i in range(2 * PERSONS)],
            metadata=[{"person": f"p{i // 2}"} for i in range(2 * PERSONS)],
        )
    return tmp_path / "labelled"


def test_from_labelled_items_to_nobody(run: Run, model: Path, labelled: Path, blocks: Path, tmp_path: Path) -> None:
    status, text = run("calibrate", model, "--gallery", labelled, "--rule", "auto")
    assert status == 0, text
    assert f"a rule of {PERSONS} persons. With 95 % confidence it can promise a --max-false of 4.9 % or more" in text
    assert (find_checkpoint(model) / OPEN_SET_FILE).is_file()
    people, images = tmp_path / "people", sorted((blocks / "bounding_box_test").glob("*.jpg"))
    extractor = PartExtractor.from_pretrained(model)
    with Gallery(people, extractor=extractor) as gallery:
        gallery.add(images, [image.stem for image in images], metadata=[{"file": str(image)} for image in images])
    search = ("gallery", "search", people, "-m", model, "--max-false", "5%", "--prior", "0.25")
    status, text = run(*search, images[0])
    assert status == 0, text
    assert f"Named: {images[0].stem}." in text, "the image itself"
    assert "if the person is not among the 12 items, at most 5 % of the searches name somebody" in text
    assert "If the person is there in 25 % of the searches, at most" in text
    assert "Do not rely on these figures" in text, "made-up numbers look like no image"
    assert "prior 2.1 % of pairs" in text
    status, text = run(*search, "--like", images[0].stem, "--where", "file=nowhere", "--json")
    (answer,), _ = json.JSONDecoder().raw_decode(text, text.index("["))
    assert answer["named"] is None
    assert answer["rule"]["searched"] == 0
    status, text = run(*search, images[0], "--json")
    (answer,), _ = json.JSONDecoder().raw_decode(text, text.index("["))
    assert (answer["named"], answer["compared"]["prior"]) == (images[0].stem, pytest.approx(0.25 / 12))
    # The page says the same.
    with Gallery(people, extractor=extractor) as gallery:
        curves = MatchCalibration.load(model)
        service = PageService(gallery, extractor, calibration=curves, rule=OpenSetRule.load(model, calibration=curves))
        kept = service.keep(images[0].read_bytes()).image
        found = service.search(Question(query=(Sighting(image=kept),), k=10, max_false=0.05, prior=0.25))
        assert (found.named, found.statement, found.fits) == (answer["named"], answer["rule"]["statement"], False)
        assert found.results[0].probability == pytest.approx(answer["found"][0]["probability"], abs=1e-6)
        assert service.about().rule == f"{PERSONS} persons of {labelled}"
        with pytest.raises(ConfigError, match="compares all parts in its own way"):
            service.search(Question(query=(Sighting(image=kept),), parts=("foreground",), max_false=0.05))
        plain = PageService(gallery, extractor, calibration=curves)
        assert plain.about().rule is None
        kept = plain.keep(images[0].read_bytes()).image
        assert plain.search(Question(query=(Sighting(image=kept),))).statement == ""
        with pytest.raises(ConfigError, match='no rule for the answer "nobody"'):
            plain.search(Question(query=(Sighting(image=kept),), max_false=0.05))


def test_what_cannot_be_promised_is_refused(run: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    search = ("gallery", "search", labelled, "--like", "0/0", "-m", model)
    assert "There is no rule" in run(*search, "--max-false", "5%")[1]
    assert "Make it with `partreid calibrate --rule auto`" in " ".join(run(*search, "--max-false", "5%")[1].split())
    assert run("calibrate", model, "-g", labelled, "--rule", tmp_path / "rule.safetensors")[0] == 0
    rule = ("--rule", tmp_path / "rule.safetensors")
    status, text = run(*search, *rule, "--max-false", "1%")
    assert (status != 0, "needs 299 persons" in " ".join(text.split())) == (True, True)
    assert "--rule needs --max-false" in run(*search, *rule)[1]
    assert "share such as 1%" in " ".join(run(*search, *rule, "--max-false", "7")[1].replace("│", "").split())
    assert "promise would not hold" in " ".join(
        run(*search, *rule, "--max-false", "5%", "--parts", "foreground")[1].split()
    )
    assert "--gallery needs --rule FILE" in run("calibrate", model, "-g", labelled)[1]
    assert run(*search, *rule, "--max-false", "5%")[0] == 0
    status, text = run("link", labelled, "-m", model, "--max-false", "5%", *rule, "--dry-run")
    assert status == 0, text
    assert "at most 5 % of the tracks whose person has no other track here are linked" in " ".join(text.split())


def test_shares_are_written_in_two_ways() -> None:
    assert [share(text) for text in ("1%", "0.01", " 2.5 % ")] == [0.01, 0.01, 0.025]
    for wrong in ("2", "101%", "-1%", "a", "1%%", "", "nan"):
        with pytest.raises(typer.BadParameter, match="1% or 0.01"):
            share(wrong)
