"""What the tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from partreid.cli import main
from partreid.cli.commands import program
from partreid.datasets.readers import read_dataset
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from tests.conftest import tiny_config

Run = Callable[..., tuple[int, str]]


def every_command() -> dict[str, Any]:
    """The commands by their words, without the groups that hold them."""
    whole = typer.main.get_command(program)
    assert isinstance(whole, TyperGroup)
    found: dict[str, Any] = {}
    for name, one in whole.commands.items():
        found |= (
            {f"{name} {inner}": c for inner, c in one.commands.items()} if isinstance(one, TyperGroup) else {name: one}
        )
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``run("train", ...)`` → exit status and everything printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["partreid", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capfd.readouterr()
        return status, captured.out + captured.err

    return call


@pytest.fixture(scope="session")
def tiny_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(tiny_config().to_toml())
    return path


@pytest.fixture(scope="session")
def tiny_run(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on the blocks. Read only."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    config = tiny_config("model.visibility=argmax", "model.map_stride=8")
    Trainer(config, read_dataset(blocks).train, path, runtime=RuntimeConfig(device="cpu", precision="float32")).fit()
    return path
