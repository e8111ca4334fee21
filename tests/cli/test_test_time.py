"""What can be chosen at test: re-ranking, mirror, fields of model and matching, calibration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.inference.storage import load_embeddings
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval.calibration import CALIBRATION_FILE, MatchCalibration
from tests.cli.conftest import Run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network with random weights that sees parts of the coloured blocks."""
    torch.manual_seed(3)
    network = BPBReID(ModelConfig(backbone="resnet18", output_stride=16, parts="eight", visibility="argmax"), 2)
    torch.nn.init.normal_(network.part_classifier.classifier.weight, std=0.1)
    run = tmp_path / "run"
    save_checkpoint(Checkpoint(network, PreprocessConfig(height=64, width=32)), run / "checkpoint")
    return run


def test_reranked_scores_stand_beside_the_others(run: Run, blocks: Path, model: Path) -> None:
    status, text = run("evaluate", model, blocks, "--rerank", "--device", "cpu")
    assert status == 0, text
    assert text.count("│ query, re-ranked") == text.count("│ holistic, re-ranked") == 1
    words = " ".join(text.split())
    assert "Single query, no re-ranking" in words
    assert "must not be compared with figures without re-ranking" in words
    assert "re-ranked" not in run("evaluate", model, blocks, "--device", "cpu")[1]


def test_results_say_how_images_were_compared(run: Run, blocks: Path, model: Path, tmp_path: Path) -> None:
    status, text = run(
        "evaluate", model, blocks, "--query", "query", "--rerank", "--mirror", "--set", "model.visibility=continuous",
        "--set", "matching.visibility=geometric", "--set", "matching.visibility_threshold={head: 0.2}",
        "-o", tmp_path / "a", "--device", "cpu",
    )  # fmt: skip
    assert status == 0, text
    found = json.loads((tmp_path / "a" / "results.json").read_text())["query"]
    assert (found["mirror"], found["visibility"]) == (True, "continuous")
    expected = {"normalize": False, "visibility": "geometric", "visibility_threshold": {"head": 0.2}, "slots": None}
    expected["slot_weights"] = {}
    assert found["matching"] == expected
    assert found["reranked"]["protocol"] == found["protocol"] + ", re-ranked"


def test_what_was_replaced_at_test_is_what_files_say(run: Run, blocks: Path, model: Path, tmp_path: Path) -> None:
    """The threshold in effect, not the one that the model was trained with."""
    status, text = run(
        "evaluate", model, blocks, "--query", "query", "--set", "model.visibility=threshold",
        "--set", "model.visibility_threshold=0.625", "-o", tmp_path, "--device", "cpu",
    )  # fmt: skip
    assert status == 0, text
    assert "above λ_v = 0.625; weight v_q·v_g; vectors as they are; without mirror images; no calibration" in " ".join(
        text.split()
    )
    found = json.loads((tmp_path / "results.json").read_text())["query"]
    assert (found["visibility"], found["visibility_threshold"], found["calibration"]) == ("threshold", 0.625, None)
    page = (tmp_path / "report.html").read_text()
    assert "above λ_v = 0.625" in page
    assert "model.visibility_threshold = 0.625 instead of 0.4" in page
    assert "model.visibility = threshold instead of argmax" in page


def test_embed_with_the_mirror_image(run: Run, blocks: Path, model: Path, tmp_path: Path) -> None:
    found = []
    for options in ((), ("--mirror",)):
        file = tmp_path / f"{len(found)}.safetensors"
        status, text = run("embed", model, blocks / "query", "-o", file, *options, "--device", "cpu")
        assert status == 0, text
        found.append(load_embeddings(file)[0])
    assert not torch.allclose(found[0].vectors, found[1].vectors, atol=1e-4)
    assert (found[1].visibility >= 0).all()


def hide_legs(root: Path) -> None:
    """Take the lower half out of every third label of the training images."""
    for file in sorted((root / "masks" / "blocks" / "bounding_box_train").iterdir())[::3]:
        fields = np.load(file)
        fields[:, 5:] = 0
        np.save(file, fields)


def test_calibrate_then_evaluate_by_it(run: Run, blocks: Path, model: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(blocks, root)
    hide_legs(root)
    status, text = run("calibrate", model, root, "--visibility", "--prior", "0.5", "--device", "cpu")
    assert status == 0, text
    words = " ".join(text.split())
    assert "Cross-validated over identities on set (query + holistic): 21 pairs of one person" in words
    assert "50 % of all show one person" in words
    for column in ("Brier", "log loss", "ECE", "distance alone", "base rate", "predicted", "balanced accuracy"):
        assert column in text
    calibration = MatchCalibration.load(model)
    assert calibration.overrides == ("visibility=continuous",)
    assert calibration.prior == 0.5
    assert len(calibration.offsets) == 9
    limits = calibration.matching.visibility_threshold
    assert isinstance(limits, dict)
    assert limits.keys() == {"left_leg"}  # the only part that some labels show and some do not
    status, text = run("evaluate", model, root, "--calibration", "auto", "--device", "cpu")
    assert status == 0, text
    assert "above λ_v = " in text
    assert "(left_leg)" in text

    status, text = run("evaluate", model, root, "--calibration", "auto", "--mirror")
    assert status == 2
    assert "Leave --set and --mirror out" in text
    (model / "checkpoint" / CALIBRATION_FILE).rename(tmp_path / "kept.json")
    status, text = run("evaluate", model, root, "--calibration", "auto")
    assert status == 2
    assert "There is no calibration" in text
    changed = MatchCalibration.load(tmp_path / "kept.json").model_copy(update={"mirror": True})
    changed.save(model / "checkpoint" / CALIBRATION_FILE)
    status, text = run("evaluate", model, root, "--calibration", "auto")
    assert status == 2
    assert "made for another model, or for other ways of embedding" in " ".join(text.split())


def test_calibrate_writes_where_told(run: Run, blocks: Path, model: Path, tmp_path: Path) -> None:
    status, text = run("calibrate", model, blocks, "-o", tmp_path / "c.json", "--mirror", "--folds", "2")
    assert status == 0, text
    calibration = MatchCalibration.load(tmp_path / "c.json")
    assert calibration.mirror
    assert calibration.matching.visibility_threshold is None
    assert calibration.fitted_on.endswith("(query + holistic)")
    assert not (model / "checkpoint" / CALIBRATION_FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--set", "visibility=geometric"), "expected model.FIELD=VALUE or matching.FIELD=VALUE"),
        (
            ("evaluate", "--set", "visibility=geometric"),
            "Did you mean model.visibility=geometric or matching.visibility=geometric?",
        ),
        (("evaluate", "--set", "mathcing.normalize=true"), "Did you mean 'matching'"),
        (("evaluate", "--set", "matching.visibility=geometrical"), "visibility = 'geometrical'"),
        (("evaluate", "--set", "model.visible=continuous"), "no field 'visible'. Did you mean visibility=continuous"),
        (("evaluate", "--set", "model.embedding_dim=7"), "does not fit"),
        (("evaluate", "--set", "matching.visibility_threshold={hat: 0.5}"), "No slot 'hat'"),
        (("evaluate", "--set", "matching.visibility_threshold=0.6"), "changes nothing here"),
        (("evaluate", "--set", "matching.visibility=geometric"), "changes nothing here"),
        (("evaluate", "--set", "model.visibility_threshold=0.6"), "model.visibility_threshold changes nothing"),
        (("evaluate", "--set", "model.stripes=3"), "model.stripes changes nothing"),
        (("evaluate", "--set", "model.parts=five"), "The weights are those of the slots"),
        (("calibrate", "--prior", "1.5"), "expected a share such as 1% or 0.01, got '1.5'"),
    ],
)
def test_mistakes(run: Run, blocks: Path, model: Path, arguments: tuple[str, ...], message: str) -> None:
    status, text = run(arguments[0], model, blocks, *arguments[1:], "--device", "cpu")
    assert status == 2, text
    assert message in " ".join(text.split())
    assert "Traceback" not in text


def test_galleries_follow_a_calibration_of_another_way_of_embedding(
    run: Run, blocks: Path, model: Path, tmp_path: Path
) -> None:
    """Fitted with continuous visibilities: of use only where images are embedded so, and never dropped in silence."""
    status, text = run("calibrate", model, blocks, "--set", "model.visibility=continuous", "--folds", "2")
    assert status == 0, text
    query = sorted((blocks / "query").iterdir())[0]
    for name, options in (("plain", ()), ("so", ("--calibration", "auto"))):
        added = ("gallery", "add", tmp_path / name, blocks / "bounding_box_test", "--model", model, *options)
        status, text = run(*added, "--device", "cpu")
        assert status == 0, text
        status, text = run("gallery", "search", tmp_path / name, query, "--model", model, *options, "-k", 3)
        assert status == 0, text
        said = " ".join(text.split())
        if options:
            assert "as much as its attention map's maximum" in said
            assert "calibrated on blocks" in said
            assert "warning" not in said
        else:
            assert "warning: There are no probabilities. The calibration was made for another model" in said
            assert "(model.visibility=continuous)" in said
            assert "no calibration" in said
    status, text = run("gallery", "search", tmp_path / "so", query, "--model", model, "--calibration", "auto", "--json")
    found = json.loads(text)[0]
    assert found["compared"]["visibility"] == "continuous"
    assert all(0 < row["probability"] < 1 for row in found["found"])
    status, text = run("gallery", "search", tmp_path / "so", query, "--model", model)
    assert status == 2
    assert "another model" in text
    status, text = run(
        "gallery", "search", tmp_path / "so", "--like", str(sorted((blocks / "bounding_box_test").iterdir())[0])
    )
    assert status == 0, text
    assert "visible as the gallery holds it" in " ".join(text.split())
