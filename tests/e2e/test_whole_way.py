"""The whole way as a user goes it, each step a process: render, train, export, fill a gallery, search, page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import tiny_config

for library, extra in (("warp", "synth"), ("onnxruntime", "export"), ("lance", ""), ("uvicorn", "app")):
    pytest.importorskip(library, reason=f"the extra {extra} is not installed")

SIZE = ("--train-ids", 4, "--test-ids", 3, "--height", 64, "--width", 32, "--processes", 1)
IMAGES = ("--set", "train_images=4", "--set", "gallery_images=2", "--set", "query_images=1")
PATTERN = r"(?P<person>\d+)_c(?P<camera>\d+)"


def start(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "partreid", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def partreid(*arguments: object) -> str:
    """What a command prints."""
    process = start(*arguments)
    printed, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, f"partreid {arguments}\n{printed}\n{complaints}"
    return printed


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """The address of a page that is up."""
    process = start("app", *arguments, "--port", 0)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        address = re.search(r"http://\S+", said)
        assert address, said + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        for _ in range(100):
            try:
                urllib.request.urlopen(address[0] + "/api/v1/about", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address[0].rstrip("/")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def ask(address: str, path: str, body: bytes | dict[str, Any]) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Origin": address, "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def found(gallery: Path, model: Path, queries: Path) -> list[list[tuple[str, float]]]:
    """[Q][k] ids and distances."""
    printed = partreid("gallery", "search", gallery, queries, "--model", model, "-k", 6, "--json")
    return [[(row["id"], row["distance"]) for row in answer["found"]] for answer in json.loads(printed)]


def test_from_nothing_to_the_page(tmp_path: Path) -> None:
    data, run, gallery = tmp_path / "set", tmp_path / "run", tmp_path / "people"
    partreid("synth", "-o", data, *SIZE, *IMAGES)
    (tmp_path / "tiny.toml").write_text(tiny_config().to_toml())
    partreid("train", data, "--config", tmp_path / "tiny.toml", "--device", "cpu", "-o", run)
    partreid("export", run, "--to", "onnx", "-o", tmp_path / "model.onnx", "--images", data / "bounding_box_train")

    added = partreid("gallery", "add", gallery, data / "bounding_box_test", "--model", run, "--pattern", PATTERN)
    assert "6 added" in added
    own = found(gallery, run, data / "query")
    exported = found(gallery, tmp_path / "model.onnx", data / "query")
    assert len(own) == 3
    for row, other in zip(own, exported, strict=True):
        assert [name for name, _ in row] == [name for name, _ in other]
        assert [distance for _, distance in other] == pytest.approx([d for _, d in row], rel=1e-3, abs=1e-4)

    query = sorted((data / "query").iterdir())[0]
    with served("--gallery", gallery, "--model", tmp_path / "model.onnx") as address:
        with urllib.request.urlopen(address, timeout=30) as page:
            assert "<html" in page.read().decode()
        image = ask(address, "/api/v1/images", query.read_bytes())["image"]
        answer = ask(address, "/api/v1/search", {"query": [{"image": image}], "k": 6})
    assert [one["id"] for one in answer["results"]] == [name for name, _ in own[0]]
    assert "6 items, no problem" in partreid("gallery", "verify", gallery)
