"""A tiny network, exported once to each format."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partreid.export import write
from partreid.export.network import ExportedNetwork
from partreid.export.write import ExportOptions, export_checkpoint
from partreid.models.checkpoint import Checkpoint
from partreid.runners._export_info import ExportInfo
from tests.export.tiny import random_pixels, tiny_checkpoint


@pytest.fixture(scope="session", autouse=True)
def _trace_once() -> Iterator[None]:
    """PyTorch takes seconds to trace even these networks: each is traced once for all tests."""
    traced: dict[tuple[str, str], Any] = {}
    trace = write.to_onnx

    def to_onnx(network: ExportedNetwork, info: ExportInfo) -> Any:
        key = (type(network).__name__, info.fingerprint)
        if key not in traced:
            traced[key] = trace(network, info)
        return copy.deepcopy(traced[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "to_onnx", to_onnx)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured of files that are soon gone is not kept among the user's own."""
    monkeypatch.setenv("PARTREID_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


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
