"""A file with one vector per person, as ultralytics' trackers take it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from partreid.cli.export import export
from partreid.errors import ConfigError, ExportError, ShapeError
from partreid.export import export_single_vector, single_vector
from partreid.runners.runner import TorchRunner
from partreid.runtime import RuntimeConfig
from partreid.tracking import memory
from tests.export.tiny import random_pixels, tiny_checkpoint

pytest.importorskip("onnxruntime")

CPU = RuntimeConfig(device="cpu", precision="float32")
PIXELS = np.concatenate([random_pixels(3), np.zeros((1, 64, 32, 3), np.uint8)])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of a run."""
    checkpoint = tiny_checkpoint(embedding_dim=7, slot_weights={"foreground": 3.0}, visibility="argmax")
    monkeypatch.setattr(single_vector, "load_checkpoint", lambda _: checkpoint)
    monkeypatch.setattr(single_vector, "chosen_pixels", lambda *_: PIXELS)
    return tmp_path


def test_the_file_gives_what_single_vector_gives(model: Path) -> None:
    path = export_single_vector(model, least_parts=3)
    assert path == model / "model-vector.onnx"
    checkpoint = single_vector.load_checkpoint(model)
    found = TorchRunner(checkpoint.model, checkpoint.preprocess, CPU).run(PIXELS, None).embeddings
    expected = memory.single_vector(found, least_parts=3)
    shown = (found.visibility[:, 1:] > 0).sum(1)
    assert (shown < 3).any(), shown  # the others are compared
    assert (shown >= 3).any(), shown
    for count in (1, 4):
        got = single_vector.run_single_vector(path, PIXELS[:count])
        torch.testing.assert_close(got, expected[:count], rtol=1e-4, atol=1e-5)
    assert (got.norm(dim=1) > 0).tolist() == (shown >= 3).tolist()


def test_a_file_that_differs_is_not_written(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(SerializeToString=lambda: b"")
    monkeypatch.setattr(single_vector, "traced", lambda *_, name: made)  # seconds
    monkeypatch.setattr(single_vector, "run_single_vector", lambda path, pixels: torch.full((4, 42), torch.nan))
    with pytest.raises(ExportError, match="differ from PyTorch's by nan"):
        export_single_vector(model, model / "a.onnx")
    assert list(model.iterdir()) == []


def test_wrong_arguments_are_told(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        export_single_vector(model, model / "a.xml")
    with pytest.raises(ShapeError, match="at most 5"):
        export_single_vector(model, model / "a.onnx", least_parts=6)


def test_ultralytics_itself_reads_the_file(model: Path) -> None:
    """Where ultralytics is installed: it is under the AGPL, and no dependency of the tests."""
    reid = pytest.importorskip("ultralytics.trackers.utils.reid")
    encoder = reid.ReID(str(export_single_vector(model)), device="cpu")
    assert encoder.imgsz == (64, 32)
    frame = np.concatenate([PIXELS[0], PIXELS[1], PIXELS[2]], axis=1)  # RGB
    # Ultralytics takes 10 pixels more on each side, and 2 % more: this box comes to the whole frame.
    (found,) = encoder(np.ascontiguousarray(frame[..., ::-1]), np.array([[48.0, 32, 76 / 1.02, 44 / 1.02]]))
    checkpoint = single_vector.load_checkpoint(model)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float(), size=(64, 32), mode="bilinear"
    )
    pixels = small.permute(0, 2, 3, 1).round().byte().numpy()
    expected = memory.single_vector(
        TorchRunner(checkpoint.model, checkpoint.preprocess, CPU).run(pixels, None).embeddings
    )
    assert float(torch.from_numpy(found) @ expected[0]) > 0.999


def test_the_command_takes_no_option_that_it_would_not_follow() -> None:
    with pytest.raises(ConfigError, match="--to onnx"):
        export(to="openvino", single_vector=True)
