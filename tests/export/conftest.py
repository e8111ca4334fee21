"""A tiny network, exported once to each format."""

from __future__ import annotations

from pathlib import Path

import pytest

from partreid.export.write import ExportOptions, export_checkpoint
from partreid.models.checkpoint import Checkpoint
from tests.export.tiny import random_pixels, tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """BPBReID with a fine map and five parts."""
    return tiny_checkpoint(map_stride=8, embedding_dim=7)


@pytest.fixture(scope="session", params=[".onnx", ".xml"])
def exported(request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file. Read only."""
    pytest.importorskip({".onnx": "onnxruntime", ".xml": "openvino"}[request.param])
    path = tmp_path_factory.mktemp("exported") / f"model{request.param}"
    export_checkpoint(checkpoint, path, random_pixels(4), options=ExportOptions(license="CC0-1.0"))
    return path
