"""The dossier of a model: what it says, what it measures, and that it shows nobody real."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from partreid import PartExtractor, evaluate, read_dataset
from partreid.datasets.provenance import describe_data
from partreid.errors import CheckpointError, ConfigError, DataError
from partreid.evaluation.calibration import calibrate
from partreid.evaluation.groups import Estimate
from partreid.evaluation.statistics import Interval
from partreid.models.card import MEANT_FOR, NOT_MEANT_FOR
from partreid.models.checkpoint import read_metrics
from partreid.reports import AboutModel, Dossier, GroupTable, gather_dossier
from partreid.reports.image_groups import compared
from partreid.retrieval.calibration import CALIBRATION_FILE
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from tests.cli.conftest import Run, run  # noqa: F401 - a fixture
from tests.conftest import tiny_config
from tests.pages import read_page

CPU = RuntimeConfig(device="cpu", precision="float32")
MANIFEST = {"renderer": 2, "config": {"seed": 5}, "panoramas": {}, "assets": {"coat.mhclo": "ab" * 32}}
ABOUT = """
license = "cc-by-4.0"
limits = ["Fails at night."]
not_for = ["Counting visitors."]

[[training_data]]
name = "web photos"
terms = "research only"

[[test_data]]
name = "blocks"
people = "coloured blocks"
"""


@pytest.fixture(scope="module")
def rendered(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blocks as if they had been rendered. Read only."""
    root = tmp_path_factory.mktemp("rendered") / "town"
    shutil.copytree(blocks, root)
    (root / "synthetic.json").write_text(json.dumps(MANIFEST))
    images = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    with (root / "pictures.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "occlusion", "visible_head", "visible_left_arm", "visible_right_arm", "view", "skin"))
        for number, name in enumerate(images):
            dark = name.split("/")[1].startswith(("0011", "0012"))
            table.writerow((name, 0.4, number % 2, 0.2, "", 170, -50 if dark else 60))
    return root


@pytest.fixture(scope="module")
def model(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on the rendered blocks, with a calibration. Read only."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    config = tiny_config("optimizer.epochs=1", "optimizer.warmup_epochs=0")
    Trainer(config, read_dataset(rendered).train, path, runtime=CPU).fit()
    calibrate(str(path), str(rendered), runtime=CPU).calibration.save(path / "checkpoint" / CALIBRATION_FILE)
    return path


@pytest.fixture(autouse=True)
def _two_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.evaluation.groups.FEWEST_PERSONS", 2)


def table(dossier: Dossier, title: str) -> GroupTable:
    (found,) = (one for one in dossier.measured[0].groups if one.title == title)
    return found


def test_the_page_of_a_rendered_set_says_everything(model: Path, rendered: Path) -> None:
    dossier = gather_dossier(model, rendered, runtime=CPU)
    page = read_page(dossier.page())
    for words in (*MEANT_FOR, *NOT_MEANT_FOR, "Dossier of tiny", "Licence of the weights: not stated"):
        assert words in page.text
    one = dossier.measured[0]
    assert [row.query.name[:4] for row in one.failures] == list(dict.fromkeys(r.query.name[:4] for r in one.failures))
    assert len(one.failures) == 4
    assert len(page.all("img")) >= 4
    assert "coat.mhclo (SHA-256 abababababababab…)" in page.text
    assert "24 images of 6 identities; rendered by partreid, renderer 2, seed 5" in page.text
    assert f"fitted on {read_dataset(rendered).name}" in page.text
    assert "a search names the nearest item, also for a stranger" in page.text
    for name, size, digest in dossier.files:
        content = (model / "checkpoint" / name).read_bytes()
        assert (size, digest) == (f"{len(content):,}", hashlib.sha256(content).hexdigest())
    assert PartExtractor.from_pretrained(model, runtime=CPU).fingerprint in page.text


def test_groups_are_those_of_the_set_and_scores_those_of_evaluate(model: Path, rendered: Path) -> None:
    dossier = gather_dossier(model, rendered, runtime=CPU)
    scores = evaluate(model, rendered, runtime=CPU)
    for row, name in zip(dossier.measured[0].scores, ("query", "holistic"), strict=True):
        assert row[0] == name
        assert row[4].startswith(f"{100 * scores[name].rank1:.1f} [")
        assert row[5].startswith(f"{100 * scores[name].mAP:.1f} [")
    skin = table(dossier, "Skin")
    assert [(row.name, row.queries, row.persons) for row in skin.rows] == [
        ("dark (under -30°)", 4, 2), ("light (41° and more)", 3, 2)
    ]  # fmt: skip
    precision = np.concatenate([scores[name].average_precision for name in ("query", "holistic")])
    pids = [image.pid for name in ("query", "holistic") for image in scores.dataset.queries[name]]
    dark = np.isin(pids, (11, 12))
    assert skin.rows[0].scores["mAP"].value == pytest.approx(precision[dark].mean())
    assert skin.rows[0].differences["mAP"].value == pytest.approx(precision[dark].mean() - precision[~dark].mean())
    assert [row.name for row in table(dossier, "View").rows] == ["back"]
    assert [row.name for row in table(dossier, "Part: arms").rows] == ["hidden by half or more"], "one arm is known"
    for missing in ("Light", "Resolution", "Part: feet", "Body: weight"):
        assert (table(dossier, missing).rows, table(dossier, missing).meaning) == ((), "Not recorded in this set.")


def test_nobody_real_is_shown(model: Path, blocks: Path, rendered: Path, tmp_path: Path) -> None:
    dossier = gather_dossier(model, blocks, runtime=CPU)
    assert not dossier.measured[0].failures
    page = read_page(dossier.page())
    assert not page.all("img")
    assert "No pictures: this is no rendered set" in page.text
    assert [row.name for row in table(dossier, "Resolution").rows], "the file's own height"
    assert table(dossier, "Skin").meaning == "Not recorded in this set."
    mixed = tmp_path / "mixed"
    shutil.copytree(rendered, mixed)
    stranger = sorted((mixed / "bounding_box_test").iterdir())[0]
    shutil.copy(stranger, stranger.with_name("0099_c1_000999.jpg"))  # put among them, in no table
    assert not read_page(gather_dossier(model, mixed, runtime=CPU).page()).all("img")
    stranger.with_name("0099_c1_000999.jpg").unlink()
    stranger.rename(tmp_path / "elsewhere.jpg")
    stranger.symlink_to(tmp_path / "elsewhere.jpg")
    assert not read_page(gather_dossier(model, mixed, runtime=CPU).page()).all("img")


def test_what_only_the_makers_know_is_stated(model: Path, blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "about.toml").write_text(ABOUT.replace('"blocks"', f'"{read_dataset(blocks).name}"'))
    (tmp_path / "run").mkdir()
    shutil.copytree(model / "checkpoint", tmp_path / "run" / "checkpoint")
    (tmp_path / "run" / "checkpoint" / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n\nIt <sees> blocks.\n")
    dossier = gather_dossier(tmp_path / "run", blocks, about=tmp_path / "about.toml", runtime=CPU)
    page = read_page(dossier.page())
    assert dossier.license == "cc-by-4.0"
    assert gather_dossier(tmp_path / "run", blocks, runtime=CPU).license == "mit"
    for words in ("Fails at night.", "Counting visitors.", "web photos", "research only", "coloured blocks",
                  "It <sees> blocks."):  # fmt: skip
        assert words in page.text
    assert "license: mit" not in page.text
    with pytest.raises(ConfigError, match="licence"):
        AboutModel.parse({"licence": "mit"})
    metrics = json.loads((tmp_path / "run" / "checkpoint" / "metrics.json").read_text())
    del metrics["data"]  # a run of an earlier version
    (tmp_path / "run" / "checkpoint" / "metrics.json").write_text(json.dumps(metrics))
    assert "Not stated: the run names no data set" in gather_dossier(tmp_path / "run", blocks, runtime=CPU).page()


def test_a_calibration_that_cannot_be_read_promises_nothing(model: Path, blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(model / "checkpoint", tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / CALIBRATION_FILE).write_text("{}")
    none, _, why = gather_dossier(tmp_path, blocks, runtime=CPU).promises
    assert "There is no calibration" in none
    assert "expected a partreid-calibration" in why


def test_a_difference_in_words() -> None:
    assert compared(None) == "–"
    assert compared(Estimate(-0.051, Interval(-0.082, -0.02))) == "lower by 5.1 [2.0, 8.2]"
    assert compared(Estimate(0.051, Interval(0.02, 0.082))) == "higher by 5.1 [2.0, 8.2]"
    assert compared(Estimate(0.01, Interval(-0.03, 0.05))) == "cannot tell apart [-3.0, +5.0]"


def test_damaged_tables_and_other_models_are_refused(model: Path, rendered: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(rendered, wrong)
    content = (wrong / "pictures.csv").read_text()
    (wrong / "pictures.csv").write_text(content.replace(",170,", ",sideways,"))
    with pytest.raises(DataError, match=r"pictures.csv: view of .*expected a number, got 'sideways'"):
        gather_dossier(model, wrong, runtime=CPU)
    (wrong / "pictures.csv").write_text(content.replace("path,", "file,", 1))
    with pytest.raises(DataError, match="expected the columns path and occlusion"):
        gather_dossier(model, wrong, runtime=CPU)
    (wrong / "pictures.csv").write_text(content)
    (wrong / "synthetic.json").write_text("[]")
    with pytest.raises(DataError, match="is no manifest of a rendered set"):
        gather_dossier(model, wrong, runtime=CPU)
    with pytest.warns(UserWarning, match="stays unknown"):
        assert "rendered" not in describe_data(read_dataset(wrong).train)[0]
    with pytest.raises(CheckpointError, match="A dossier is of a run or a checkpoint"):
        gather_dossier("onnx/net.onnx", rendered)


def test_a_run_knows_what_it_was_trained_on(model: Path, rendered: Path) -> None:
    assert read_metrics(model)["data"] == [
        {"name": read_dataset(rendered).name, "images": 24, "identities": 6, "rendered": MANIFEST}
    ]


def test_the_command(run: Run, model: Path, rendered: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "page.html"
    status, printed = run("dossier", model, "--data", rendered, "--device", "cpu", "-o", out)
    assert status == 0, printed
    assert f"The dossier: {out}" in printed
    read_page(out.read_text(encoding="utf-8"))
    status, printed = run("dossier", model)
    assert status == 2
    assert "Expected a data set" in printed
