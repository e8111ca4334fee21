"""Another model in the place of the one inside the package."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch

from partreid import MatchCalibration, PartExtractor, read_dataset
from partreid.errors import CheckpointError
from partreid.models import shipped
from partreid.reports.shipped import CARD_FILE, main, ship
from partreid.retrieval import OpenSetRule
from partreid.retrieval.open_set import OPEN_SET_FILE
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from tests.conftest import tiny_config

CPU = RuntimeConfig(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def run(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on the blocks. Read only."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    config = tiny_config("optimizer.epochs=1", "optimizer.warmup_epochs=0")
    Trainer(config, read_dataset(blocks).train, path, runtime=CPU).fit()
    return path


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test puts its models, in the place of the package's folder."""
    folder = tmp_path / "box"
    folder.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", folder)
    monkeypatch.setattr("partreid.reports.shipped.LARGEST", 10**9)  # ResNet-18
    return folder


def test_a_run_becomes_the_shipped_model(run: Path, box: Path, blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "about.md").write_text("## Limits\n\nIt has seen blocks only.\n")
    words = [str(run), "--about", str(tmp_path / "about.md"), "--calibrate", str(blocks), "--score", str(blocks)]
    main([*words, "--name", "partreid-tiny-1"])
    ours, whole = PartExtractor.from_pretrained(runtime=CPU), PartExtractor.from_pretrained(run, runtime=CPU)
    images = sorted((blocks / "query").iterdir())
    one, other = ours.embed(images), whole.embed(images)
    assert torch.allclose(one.vectors, other.vectors, rtol=0.02, atol=0.02 * float(other.vectors.abs().max()))
    assert not torch.equal(one.vectors, other.vectors)
    assert ours.fingerprint != whole.fingerprint
    assert MatchCalibration.load("partreid-tiny-1", extractor=ours).fitted_on.startswith(blocks.name)
    assert ours.metrics["figures"][0]["queries"] == 4
    card = (box / "partreid-tiny-1" / CARD_FILE).read_text()
    assert "# partreid-tiny-1\n\nTrained from random weights: no ImageNet weights were used.\n\n## Limits" in card
    assert f"| {blocks.name} | query | 4 | 12 | {100 * ours.metrics['figures'][0]['rank1']:.1f} |" in card
    assert "There is no rule to answer nobody" in card
    assert str(tmp_path) not in "".join(file.read_text() for file in (box / "partreid-tiny-1").glob("*.[jmt]*o*"))


def test_a_rule_to_answer_nobody_goes_along(
    run: Path, box: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("evaluation.calibration", "retrieval.open_set"):
        monkeypatch.setattr(f"partreid.{module}.FEWEST_PERSONS", 2)
    made = ship(run, "partreid-tiny-1", "About.", calibrated_on=[blocks])
    rule = OpenSetRule.load("partreid-tiny-1", calibration=MatchCalibration.load("partreid-tiny-1"))
    dataset = read_dataset(blocks)
    assert len(rule) == len({image.pid for image in dataset.queries["query"]})
    assert rule.fitted_on == dataset.name
    assert OPEN_SET_FILE in shipped.read_index()["files"]
    assert f"rests on {len(rule)} persons of {dataset.name}" in (made / CARD_FILE).read_text()


def test_names_stand_for_the_same_weights_for_ever(
    run: Path, box: Path, blocks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(name: str, source: Path = run, **options: bool) -> str:
        folder = ship(source, name, "About.", calibrated_on=[blocks], **options)
        return PartExtractor.from_pretrained(folder, runtime=CPU).fingerprint

    first = made("partreid-tiny-1")
    assert made("partreid-tiny-1") == first
    model = PartExtractor.from_pretrained(run, runtime=CPU)
    with torch.no_grad():
        next(model.model.parameters()).mul_(1.1)
    model.save_pretrained(box.parent / "other" / "checkpoint")
    with pytest.raises(CheckpointError, match="does not tell what its training started from"):
        made("partreid-tiny-1", box.parent / "other")
    (box.parent / "other" / "checkpoint" / "train.toml").write_bytes((run / "checkpoint" / "train.toml").read_bytes())
    with pytest.raises(CheckpointError, match="is the name of other weights"):
        made("partreid-tiny-1", box.parent / "other")
    second = made("partreid-tiny-2", box.parent / "other")
    assert second != first
    index = json.loads((box / shipped.INDEX_FILE).read_text())
    assert index["fingerprints"] == {"partreid-tiny-1": first, "partreid-tiny-2": second}
    assert {path.name for path in box.iterdir()} == {shipped.INDEX_FILE, "partreid-tiny-2"}
    assert made("partreid-tiny-2", run, replace=True) == first


def test_what_is_refused(run: Path, box: Path, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("light", "partreid-light", "partreid-light-0", "partreid-light-1.2", "../partreid-light-1"):
        with pytest.raises(CheckpointError, match="Expected a name such as partreid-light-2"):
            ship(run, name, "", calibrated_on=[blocks])
    for limit, value, message in (("LARGEST", 10**6, "MB, more than the 1 MB"), ("_FARTHEST", 1e-9, "a vector moves")):
        monkeypatch.setattr(f"partreid.reports.shipped.{limit}", value)
        with pytest.raises(CheckpointError, match=message):
            ship(run, "partreid-tiny-1", "", calibrated_on=[blocks])
        monkeypatch.undo()
        monkeypatch.setattr(shipped, "FOLDER", box)
    with pytest.raises(SystemExit, match="error: .*nowhere"):
        main([str(run), "--name", "partreid-tiny-1", "--about", str(tmp_path / "nowhere"), "--calibrate", str(blocks)])
    assert list(box.iterdir()) == []


def test_a_network_started_from_a_file_names_no_folder(run: Path, box: Path, blocks: Path, tmp_path: Path) -> None:
    source = tmp_path / "copied"
    PartExtractor.from_pretrained(run, runtime=CPU).save_pretrained(source)
    text = (run / "checkpoint" / "train.toml").read_text()
    (source / "train.toml").write_text(text.replace('pretrained = "none"', 'pretrained = "/home/me/weights.pth"'))
    made = ship(source, "partreid-tiny-1", "About.", calibrated_on=[blocks], start="From ImageNet weights of a file.")
    assert tomllib.loads((made / "train.toml").read_text())["pretrained"] == "weights.pth"
    assert "# partreid-tiny-1\n\nFrom ImageNet weights of a file.\n" in (made / CARD_FILE).read_text()
