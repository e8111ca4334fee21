"""``partreid synth``: what its options become. Nothing is rendered."""

from __future__ import annotations

from pathlib import Path

import pytest

from partreid import datasets
from partreid.datasets import SequenceConfig
from tests.cli.conftest import Run


def test_sequences(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[SequenceConfig, Path, int]] = []

    def render(config: SequenceConfig, out: Path, *, workers: int, progress: object) -> Path:
        asked.append((config, out, workers))
        return out

    monkeypatch.setattr(datasets, "render_sequences", render, raising=False)
    options = ("--sequences", 3, "--height", 120, "--seed", 7, "--set", "people=5", "--processes", 1)
    status, said = run("synth", "-o", tmp_path / "out", *options)
    assert status == 0, said
    assert asked == [(SequenceConfig(scenes=3, image_height=120, seed=7, people=5), tmp_path / "out", 1)]


@pytest.mark.parametrize("option", [("--train-ids", 5), ("--preview",), ("--detector-noise", 0.5)])
def test_options_of_a_set_of_images(run: Run, tmp_path: Path, option: tuple[object, ...]) -> None:
    status, said = run("synth", "-o", tmp_path / "out", "--sequences", 1, *option)
    assert status != 0
    assert "Leave them out with --sequences" in said
    assert not (tmp_path / "out").exists()
