"""The command line, end to end on blocks; a user's mistake is one message and status 2, never a traceback."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.readers import read_dataset
from partreid.functional.ranking import OTHER_FILE
from partreid.inference.storage import load_embeddings
from partreid.models.checkpoint import load_checkpoint
from partreid.training.loop import Trainer
from partreid.training.presets import PRESETS, get_preset
from partreid.training.state import load_run_config
from tests.cli.conftest import Run
from tests.conftest import tiny_config, write_blocks


def test_train_evaluate_embed(run: Run, blocks: Path, tiny_toml: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    status, text = run(
        "train", blocks, "-o", out, "--config", tiny_toml, "--set", "model.map_stride=8", "--device", "cpu"
    )
    assert status == 0, text
    assert "24 training images of 6 identities" in text
    assert "rank-1" in text
    for name in ("checkpoint/config.json", "checkpoint/model.safetensors", "checkpoint/train.toml"):
        assert (out / name).is_file()
    assert list((out / "logs").glob("events.*"))
    for name in ("rankings_query.png", "attention_holistic.png"):
        with Image.open(out / "evaluation" / name) as image:
            assert np.asarray(image).std() > 10
    results = json.loads((out / "evaluation" / "results.json").read_text())
    assert results["query"]["queries"] == 4
    assert {row["name"] for row in results["query"]["embeddings"]} >= {"global", "concat", "foreground", "torso"}

    status, text = run("evaluate", out, blocks, "--query", "holistic", "--bootstrap", "50")
    assert status == 0, text
    assert "holistic" in text

    file = tmp_path / "e.safetensors"
    status, text = run("embed", out, blocks / "query", blocks / "bounding_box_test", "-o", file)
    assert status == 0, text
    embeddings, names = load_embeddings(file)
    assert len(embeddings) == len(names) == 4 + 12
    assert embeddings.slots[0] == "foreground"


def test_resume_goes_on_and_a_second_run_is_refused(run: Run, blocks: Path, tiny_toml: Path, tmp_path: Path) -> None:
    arguments = ("train", blocks, "-o", tmp_path / "run", "--config", tiny_toml, "--no-evaluate", "--device", "cpu")
    assert run(*arguments)[0] == 0
    status, text = run(*arguments)
    assert status == 2
    assert "already holds a run" in text
    status, text = run("train", blocks, "-o", tmp_path / "run", "--resume", "--no-evaluate")
    assert status == 0, text
    assert "Resumed after epoch 2 of 2" in text


def test_training_and_evaluation_on_two_sets(run: Run, blocks: Path, tiny_toml: Path, tmp_path: Path) -> None:
    other, bare = tmp_path / "other", tmp_path / "bare"
    write_blocks(other, "bounding_box_train", range(1, 4), range(2))
    write_blocks(other, "bounding_box_test", range(11, 13), range(2))
    write_blocks(other, "query", range(11, 13), range(2, 3))
    write_blocks(bare, "bounding_box_train", range(1, 4), range(2))
    out = tmp_path / "run"
    status, text = run("train", blocks, other, bare, "-o", out, "--config", tiny_toml, "--device", "cpu")
    assert status == 0, text
    assert "other: 6 training images of 3 identities" in text
    assert load_checkpoint(out).model.num_identities == 6 + 3 + 3
    for name, queries in ((blocks.name, {"query", "holistic"}), ("other", {"query"})):
        results = json.loads((out / "evaluation" / name / "results.json").read_text())
        assert results.keys() == queries
        assert (out / "evaluation" / name / "rankings_query.png").is_file()
    assert not (out / "evaluation" / "bare").exists()

    status, text = run("evaluate", out, other, "-o", tmp_path / "alone")
    assert status == 0, text
    alone = json.loads((tmp_path / "alone" / "results.json").read_text())
    assert alone == json.loads((out / "evaluation" / "other" / "results.json").read_text())

    status, text = run("evaluate", out, blocks, bare)
    assert status == 2
    assert "bare" in text
    assert "has no query images, so it cannot be evaluated" in text
    status, text = run("evaluate", out, blocks, other, "--query", "holistic")
    assert "has no query set 'holistic'" in text


def test_a_table_without_cameras_is_evaluated_by_its_own_rule(
    run: Run, blocks: Path, tiny_toml: Path, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(blocks, root)
    rows = ["path,pid,split"]
    for folder, split in (("bounding_box_train", "train"), ("query", "query"), ("bounding_box_test", "gallery")):
        rows += [f"{folder}/{p.name},{int(p.name[:4])},{split}" for p in sorted((root / folder).glob("*.jpg"))]
    (root / "people.csv").write_text("\n".join(rows))
    status, text = run("train", root / "people.csv", "-o", tmp_path / "run", "--config", tiny_toml, "--device", "cpu")
    assert status == 0, text
    assert "only the query's own file is dropped" in " ".join(text.split())
    results = json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text())
    assert results["query"]["protocol"] == OTHER_FILE


def test_config_commands(run: Run, tmp_path: Path) -> None:
    status, text = run("config", "show", "--preset", "light", "--set", "optimizer.epochs=7")
    assert status == 0
    assert "epochs = 7" in text
    assert "paper-holistic" in run("config", "list")[1]
    assert "model.part_classifier_batchnorm" in run("config", "diff", "paper-occluded", "official-occluded")[1]
    file = tmp_path / "mine.toml"
    file.write_text(get_preset("light").override("optimizer.epochs=7").to_toml())
    status, text = run("config", "diff", "light", file, "--json")
    assert json.loads(text) == {"optimizer.epochs": [60, 7]}
    assert (
        "Expected a preset, a run's folder or a file, got 'ligth'. Did you mean 'light'?"
        in run("config", "diff", "ligth", file)[1]
    )
    assert "Did you mean optimizer.epochs=30?" in run("config", "show", "--set", "epochs=30")[1]
    assert "paper §4.2" in run("config", "fields")[1]
    assert "optimizer.epochs" in run("config", "fields", "epochs")[1]
    status, text = run("config", "fields", "xyzzy")
    assert (status, "No field has 'xyzzy' in its name or meaning" in text) == (2, True)


def test_help_and_version(run: Run) -> None:
    status, text = run("--help")
    assert status == 0
    for command in ("demo", "synth", "labels", "train", "evaluate", "calibrate", "embed", "show", "config"):
        assert command in text
        assert run(command, "--help")[0] == 0
    assert run("--version")[1].strip() == "0.1.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "{absent}", "-o", "{tmp}/r"), "does not exist"),
        (("train", "{blocks}", "-o", "{tmp}/r", "--preset", "lite"), "Unknown preset 'lite'"),
        (("train", "{blocks}", "-o", "{tmp}/r", "--set", "optimizer.epoch=1"), "Did you mean optimizer.epochs=1?"),
        (("train", "{blocks}", "-o", "{tmp}/r", "--set", "epochs=1"), "Did you mean optimizer.epochs=1?"),
        (
            ("train", "{blocks}", "-o", "{tmp}/r", "--set", "batch.identities_per_batch=3"),
            "No ImageNet weights for resnet50 come with a Python package",
        ),
        (("train", "{blocks}", "-o", "{tmp}/r", "--preset", "light", "--device", "gpu"), "Device 'gpu'"),
        (("train", "{blocks}", "-o", "{tmp}/r", "--preset", "light", "--precision", "int4"), "precision = 'int4'"),
        (("train", "{blocks}", "-o", "{tmp}/r", "--resume"), "no checkpoint"),
        (("evaluate", "{absent}", "{blocks}"), "no checkpoint folder"),
        (("embed", "--model", "{blocks}", "{blocks}/query"), "holds no checkpoint"),
        (("config", "show", "--config", "{absent}"), "Cannot read configuration"),
    ],
)
def test_mistakes(run: Run, blocks: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    filled = [a.format(absent=tmp_path / "absent", tmp=tmp_path, blocks=blocks) for a in arguments]
    status, text = run(*filled)
    assert status == 2, text
    assert message in " ".join(text.split())
    assert "Traceback" not in text
    assert not (tmp_path / "r" / "checkpoint").exists()


def test_a_truncated_image_stops_training_and_is_named(run: Run, tiny_toml: Path, tmp_path: Path) -> None:
    write_blocks(tmp_path, "bounding_box_train", range(1, 4), range(2))
    write_blocks(tmp_path, "bounding_box_test", range(5, 6), range(2))
    write_blocks(tmp_path, "query", range(5, 6), range(2, 3))
    victim = next((tmp_path / "bounding_box_train").iterdir())
    victim.write_bytes(victim.read_bytes()[:200])
    status, text = run("train", tmp_path, "-o", tmp_path / "run", "--config", tiny_toml)
    assert status == 2, text
    assert victim.name in text
    assert "Traceback" not in text
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (SystemExit, 143)])
def test_ctrl_c_before_the_first_checkpoint_says_that_there_is_none(
    stop: type[BaseException], status: int, run: Run, blocks: Path, tiny_toml: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    def interrupted(*args: object) -> None:
        raise stop(status)

    monkeypatch.setattr(Trainer, "_train_epoch", interrupted)
    arguments = ("train", blocks, "-o", tmp_path / "run", "--config", tiny_toml, "--device", "cpu")
    ended, text = run(*arguments)
    assert ended == status
    assert "There is no checkpoint" in text
    assert "there is nothing to --resume: the same command starts again" in text
    assert not (tmp_path / "run").exists()
    ended, text = run(*arguments, "--resume")
    assert ended == 2
    assert "there is nothing to resume: begin the training without --resume" in text
    assert not (tmp_path / "run").exists()


def test_ctrl_c_says_with_which_command_a_training_goes_on(
    run: Run, blocks: Path, tiny_toml: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_epoch = Trainer._train_epoch

    def interrupted(self: Trainer, *args: Any) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        train_epoch(self, *args)

    data = Path(shutil.copytree(blocks, tmp_path / "a set [v2]"))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", interrupted)
        status, text = run("train", data, "-o", tmp_path / "run", "--config", tiny_toml, "--device", "cpu")
    assert status == 130
    _, sign, command = text.partition("The last checkpoint is of epoch 1. Resume the training with: ")
    assert sign, text
    words = shlex.split(command.splitlines()[0])
    assert words[:2] == ["partreid", "train"]
    status, text = run(*words[1:], "--no-evaluate")
    assert status == 0, text
    assert "Resumed after epoch 1 of 2" in text


def test_other_commands_do_not_speak_of_training(run: Run, monkeypatch: pytest.MonkeyPatch, blocks: Path) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("partreid.datasets.check_dataset", interrupted)
    status, text = run("data", "check", blocks)
    assert status == 130
    assert "Interrupted. Nothing half-written was left." in text
    assert "resume" not in text
    assert "train" not in text


def test_a_resumed_run_keeps_its_configuration(run: Run, blocks: Path, tiny_toml: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", blocks, "-o", out, "--no-evaluate", "--device", "cpu")
    same = ("--config", tiny_toml, "--set", "optimizer.epochs=1")
    assert run(*arguments, *same)[0] == 0
    status, text = run(*arguments, *same, "--resume")
    assert (status, "Resumed after epoch 1 of 1" in text) == (0, True), "a job that is put back says the same again"
    status, text = run(*arguments, "--resume", "--set", "optimizer.epochs=2")
    assert (status, "Resumed after epoch 1 of 2" in text) == (0, True)
    for other, named in [
        (("--preset", "light"), "model.backbone = 'resnet18', and now it is 'efficientnet_lite0'"),
        (("--set", "seed=3"), "seed = 0, and now it is 3"),
        (("--config", tiny_toml, "--set", "augment.padding=5"), "augment.padding = 2, and now it is 5"),
    ]:
        status, text = run(*arguments, *other, "--resume")
        assert status == 2
        assert named in text
    status, text = run(*arguments, "--set", "seed=3", "--resume", "--allow-changes")
    assert status == 0, text
    assert load_run_config(out).seed == 0, "nothing was left to train, so nothing was written"
    status, text = run(*arguments, "--allow-changes")
    assert (status, "it needs --resume" in text) == (2, True)


def test_everyday_options_of_training_are_fields(run: Run, blocks: Path, tiny_toml: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", blocks, "-o", out, "--no-evaluate", "--device", "cpu", "--config", tiny_toml)
    chosen = ("--epochs", 1, "--lr", "3e-4", "--batch-size", 4, "--height", 32, "--width", 32, "--seed", 7)
    status, text = run(*arguments, *chosen, "--backbone", "resnet18", "--set", "augment.padding=1")
    assert status == 0, text
    config = load_run_config(out)
    assert (config.optimizer.epochs, config.optimizer.learning_rate, config.seed) == (1, 3e-4, 7)
    assert (config.preprocess.size, config.batch.identities_per_batch, config.augment.padding) == ((32, 32), 2, 1)
    for wrong, message in [
        (("--epochs", 3, "--set", "optimizer.epochs=4"), "--epochs and --set optimizer.epochs=... set the same field"),
        (("--batch-size", 4, "--set", "batch.identities_per_batch=3"), "--batch-size and --set batch.identities_per"),
        (("--batch-size", 5), "--batch-size as a multiple of batch.images_per_identity = 2, got 5"),
        (("--epochs", 0), "optimizer.epochs"),
        (("--backbone", "resnet19"), "resnet18"),
    ]:
        status, text = run(*arguments, *wrong)
        assert status == 2, text
        assert message in " ".join(text.split())
    status, text = run(*arguments[:-2], "--resume", "--epochs", 2)
    assert (status, "Resumed after epoch 1 of 2" in text) == (0, True), text


def test_demo_on_blocks(run: Run, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.datasets.shipped_split", lambda: blocks)
    monkeypatch.setitem(PRESETS, "demo", lambda: tiny_config("model.visibility=argmax"))
    status, text = run("demo", "-o", tmp_path / "demo", "--epochs", "1", "--device", "cpu")
    assert status == 0, text
    words = " ".join(text.split())
    assert "with the global embedding of the same model" in words
    assert "a random ranking has 25.0 %" in words
    assert "rankings_query.png" in words
    status, text = run("demo", "-o", tmp_path / "demo", "--epochs", "1")
    assert status == 2
    assert "already holds a run" in text


@pytest.mark.slow
def test_demo_on_the_shipped_images(run: Run, tmp_path: Path) -> None:
    status, text = run("demo", "-o", tmp_path / "demo", "--device", "cpu")
    assert status == 0, text
    results = json.loads((tmp_path / "demo" / "evaluation" / "results.json").read_text())
    rows = {row["name"]: row["mAP"] for row in results["query"]["embeddings"]}
    parts = rows["foreground + parts, with visibility"]
    assert parts > 0.4, "thirty times chance"
    assert parts > rows["global"] + 0.03


def test_a_score_on_a_part_of_the_identities_says_so(run: Run, tiny_run: Path, blocks: Path, tmp_path: Path) -> None:
    command = ("evaluate", tiny_run, "--data", blocks, "--device", "cpu", "-o", tmp_path / "out")
    status, text = run(*command, "--limit-ids", 2)
    assert status == 0, text
    name = f"{read_dataset(blocks).name}[2 ids]"
    assert f"Retrieval on {name}, all slots" in text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {one["dataset"] for one in results.values()} == {name}
    status, text = run(*command, "--limit-ids", 99)
    assert status == 0, text
    assert " ids]" not in text
