"""``partreid experiment``: rows run once, tables are written, failures are told and tried again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from partreid.models.backbones import BACKBONES, BackboneEntry
from partreid.models.checkpoint import Checkpoint
from partreid.training.loop import Trainer
from tests.cli.conftest import Run
from tests.conftest import tiny_config
from tests.experiments.conftest import TinyBackbone


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    BACKBONES.register("tiny", BackboneEntry(lambda _: TinyBackbone()))
    config = tiny_config("model.backbone=tiny", "model.map_stride=4", "optimizer.epochs=1")
    (tmp_path / "base.toml").write_text(config.to_toml())
    yield tmp_path / "base.toml"
    BACKBONES.unregister("tiny")


def test_rows_run_once_and_the_table_stands_beside_the_papers(
    run: Run, base: Path, blocks: Path, tmp_path: Path
) -> None:
    chosen = ["--row", "K = 2", "--row", "K = 5", "--row", "K = 8"]
    command = [
        "experiment",
        "table5",
        "--data",
        blocks,
        "--config",
        base,
        "--seeds",
        1,
        "-o",
        tmp_path / "out",
        *chosen,
    ]
    status, printed = run(*command)
    assert status == 0, printed
    assert "3 trainings, 0 of them done." in printed
    assert "K = 11" in printed
    page = (tmp_path / "out/table5.md").read_text()
    assert "| K = 5 | 65.0 / 53.3 |" in page
    assert "K = 8 before K = 2" in page
    content = json.loads((tmp_path / "out/table5.json").read_text())
    assert [bool(row["seeds"]) for row in content["rows"]] == [True, False, False, True, False, True, False]
    status, printed = run(*command)
    assert status == 0
    assert "3 trainings, 3 of them done." in printed
    status, printed = run(*command, "--summary")
    assert status == 0
    assert "of them done" not in printed
    for changed in (["--set", "optimizer.learning_rate=0.5"], ["--set", "optimizer.learning_rate=0.5", "--summary"]):
        status, printed = run(*command, *changed)
        assert status == 2
        assert "holds a run of another configuration: optimizer.learning_rate is 0.001 there and 0.5 now" in printed


def test_a_row_that_fails_is_tried_twice_and_costs_only_itself(
    run: Run, base: Path, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    original = Trainer.fit

    def failing(trainer: Trainer) -> Checkpoint:
        attempts.append(trainer.run.parent.name)
        if "k8" in trainer.run.parts:
            raise MemoryError("out of memory")
        return original(trainer)

    monkeypatch.setattr(Trainer, "fit", failing)
    rows = ["--row", "K = 8", "--row", "K = 2"]
    out = tmp_path / "out"
    status, printed = run("experiment", "table5", "--data", blocks, "--config", base, "--seeds", 1, "-o", out, *rows)
    assert status == 1
    assert attempts == ["k2", "k8", "k8"]
    assert "1 of 2 trainings failed" in printed
    assert "out of memory" in (out / "k8/seed0/error.txt").read_text()
    assert json.loads((out / "table5.json").read_text())["rows"][0]["seeds"] == [0]


def test_the_label_folder_is_the_configurations(run: Run, base: Path, blocks: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(blocks, copy)
    shutil.copytree(copy / "masks/blocks", copy / "masks/other")
    command = ["experiment", "table5", "--data", copy, "--config", base, "--seeds", 1, "-o", tmp_path / "out"]
    status, printed = run(*command, "--summary")
    assert status == 2
    assert "blocks" in printed
    assert "other" in printed
    status, printed = run(*command, "--summary", "--set", "labels=other")
    assert status == 0, printed
    assert "4 queries of the query set 'query'" in (tmp_path / "out/table5.md").read_text()


def test_rows_that_are_not_chosen_are_not_taken_from_another_configuration(
    run: Run, base: Path, blocks: Path, tmp_path: Path
) -> None:
    command = ["experiment", "table5", "--data", blocks, "--config", base, "--seeds", 1, "-o", tmp_path / "out"]
    assert run(*command, "--row", "K = 2")[0] == 0
    status, printed = run(*command, "--row", "K = 3", "--set", "optimizer.learning_rate=0.5")
    assert status == 2
    assert "k2/seed0 holds a run of another configuration" in printed


@pytest.mark.parametrize(("arguments", "message"), [
    (["table6"], "Unknown experiment 'table6'. Did you mean 'table"),
    (["table5", "--row", "K = 7"], "table5 has no row 'K = 7'. Its rows: K = 2"),
    (["table1", "--weights", "hrnet_w32=nowhere.pth"], "with a file that exists, got hrnet_w32=nowhere.pth"),
])  # fmt: skip
def test_mistakes_are_one_message(run: Run, blocks: Path, arguments: list[str], message: str, tmp_path: Path) -> None:
    status, printed = run("experiment", *arguments, "--data", blocks, "-o", tmp_path / "out")
    assert status == 2
    assert message in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_several_trainings_at_a_time(run: Run, blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(tiny_config("optimizer.epochs=1").to_toml())
    where = ["--config", tmp_path / "base.toml", "-o", tmp_path / "out", "--device", "cpu"]
    status, printed = run("experiment", "table2", "--data", blocks, "--seeds", 1, "--jobs", 2, *where)
    assert status == 0, printed
    assert all(row["seeds"] == [0] for row in json.loads((tmp_path / "out/table2.json").read_text())["rows"])
