"""``partreid export``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.runners.exported import ExportedRunner
from tests.cli.conftest import Run


def test_fewer_bits_and_what_they_cost(
    run: Run, tiny_run: Path, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("PARTREID_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "new" / "m.xml"
    status, text = run("export", tiny_run, "--to", "openvino", "--bf16", "--data", blocks, "-o", file,
                       "--license", "CC0-1.0")  # fmt: skip
    assert status == 0, text
    assert "m.xml and .bin: " in text
    assert "agrees with PyTorch on 16 images, alone and in a batch: vectors within" in text
    assert re.search(r"an image takes \d+\.\d+ ms in bfloat16, \d+\.\d+ ms in float32: here the file runs in", text)
    assert len(list((tmp_path / "cache" / "quickest").iterdir())) == 1  # later commands do not measure again
    assert "PyTorch, float32" in text
    assert f"points (4 queries in 12 images of {blocks.name}" in text
    info = ExportedRunner(file).info
    assert (info.quantized, info.precision, info.license, info.mirror) == (False, "bfloat16", "CC0-1.0", False)

    status, text = run("embed", file, blocks / "query", "-o", tmp_path / "e.safetensors", "--device", "cpu")
    assert status == 0, text
    embeddings, _ = load_embeddings(tmp_path / "e.safetensors")
    expected = PartExtractor.from_pretrained(tiny_run).embed(blocks / "query")
    assert embeddings.slots == expected.slots
    assert float(torch.cosine_similarity(embeddings.vectors, expected.vectors, dim=2).mean()) > 0.98


def test_mistakes_are_told_before_anything_is_traced(run: Run, tiny_run: Path, blocks: Path, tmp_path: Path) -> None:
    pose_guided = Checkpoint(
        build_network(ModelConfig(backbone="resnet18", attention="fields"), 3).eval(),
        load_checkpoint(tiny_run).preprocess,
    )
    save_checkpoint(pose_guided, tmp_path / "fields")
    (tmp_path / "empty").mkdir()
    out = ("-o", tmp_path / "m.onnx")
    for arguments, message in (
        ((tiny_run, "--to", "openvino", *out), r"Expected a file that ends in .xml (--to)"),
        ((tiny_run, "--to", "onnx", "--bf16", *out), "bfloat16 is OpenVINO's"),
        ((tiny_run, "--to", "onnx", "--set", "matching.normalize=true", *out), "expected model.FIELD=VALUE"),
        ((tiny_run, "--to", "onnx", "--images", tmp_path / "empty", *out), "no image"),
        ((tmp_path / "fields", "--to", "onnx", *out), "cannot be exported"),
        ((tmp_path / "nothing", "--to", "onnx", *out), "no checkpoint folder"),
        ((tiny_run, "--to", "tflite", *out), "'tflite' is not one of"),
    ):
        status, text = run("export", *arguments, "--data", blocks)
        assert status == 2, arguments
        assert message in text, (arguments, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "fields"]
