"""``python -m benchmarks export`` measures files of every kind that are made from one network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import tiny_config


def test_an_onnx_file_and_an_openvino_file_of_one_network(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    export = pytest.importorskip("benchmarks.export")
    figures = list(export._network("tiny", tiny_config(), 2, ("onnx", "bfloat16"), 1, tmp_path))
    assert [figure.name.split(": ")[1].split(",")[0] for figure in figures] == ["onnxruntime"] * 2 + ["OpenVINO"] * 2
