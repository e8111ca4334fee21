"""``partreid average``: two models become one, which every other command takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from partreid.inference.extractor import PartExtractor
from partreid.models.averaging import average_checkpoints
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.training.supervised import build_model
from tests.cli.conftest import Run
from tests.conftest import tiny_config

CPU = RuntimeConfig(device="cpu")


def test_the_command_writes_a_model_that_embeds(tmp_path: Path, run: Run) -> None:
    model, size = build_model(tiny_config(), 3).eval(), PreprocessConfig(height=64, width=32)
    first = save_checkpoint(Checkpoint(model, size), tmp_path / "first")
    state = model.state_dict()
    model.load_state_dict({**state, "heads.parts.layers.0.weight": 3 * state["heads.parts.layers.0.weight"]})
    other, out = save_checkpoint(Checkpoint(model, size), tmp_path / "other"), tmp_path / "mean"
    status, text = run("average", first, other, "-o", out, "--shares", "1,1")
    assert status == 0, text
    assert "partreid calibrate" in text
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), dtype=np.uint8)
    made = PartExtractor.from_pretrained(out, device="cpu").embed(images)
    again = PartExtractor(average_checkpoints([first, other]).model, size, runtime=RuntimeConfig(device="cpu")).embed(
        images
    )
    assert torch.equal(made.vectors, again.vectors)
    status, text = run("average", first, other, "-o", tmp_path / "never", "--shares", "1;1")
    assert status != 0
    assert "expected numbers with commas" in text
    assert not (tmp_path / "never").exists()
