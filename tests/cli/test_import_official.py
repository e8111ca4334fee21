"""``partreid import-official``: a published file becomes a checkpoint that every other command takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from partreid.inference.extractor import PartExtractor
from tests.cli.conftest import Run
from tests.golden.official import official_state_dict

KEYS = "official_r50_k5.keys.json"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "model.pth.tar"
    torch.save({"state_dict": official_state_dict(KEYS), "rank1": 0.91, "config": {"data": {"width": 32}}}, path)
    return path


def test_import_then_evaluate_and_embed(run: Run, published: Path, blocks: Path, tmp_path: Path) -> None:
    out = tmp_path / "checkpoint"
    status, text = run("import-official", published, "-o", out, "--height", "64")
    assert status == 0, text
    for shown in ("resnet50", "five_v", "it may be five;", "5: head, upper_arms_torso", "chosen", "identities", "0.91",
                  "stored configuration, data.width", "assumed, ImageNet's"):  # fmt: skip
        assert shown in text, shown
    ignored = [key for key in official_state_dict(KEYS) if key.startswith("background_") or "extractor.class" in key]
    assert f"{len(official_state_dict(KEYS)) - len(ignored)} keys used, {len(ignored)} ignored" in text
    assert all(key in text for key in ignored)
    assert json.loads((out / "metrics.json").read_text()) == {"rank1": 0.91}

    status, text = run("evaluate", out, blocks, "--query", "query", "--device", "cpu")
    assert status == 0, text
    assert "rank-1" in text
    embeddings = PartExtractor.from_pretrained(out).embed([blocks / "query" / "0011_c4_000003.jpg"])
    assert embeddings.vectors.shape == (1, 6, 512)


class _Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch executed",)


def test_mistakes_are_one_message_and_leave_nothing(
    run: Run, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.pth.tar"
    torch.save({"state_dict": {}, "config": _Runs()}, evil)
    for arguments, message in (
        ((evil, "-o", "out"), "none of it was run"),
        (("absent.pth", "-o", "out"), "no weights file"),
        ((published, "-o", "out", "--schema", "eight"), "K = 5 parts"),
    ):
        status, text = run("import-official", *arguments)
        assert status == 2
        assert message in text
        assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == [evil]
