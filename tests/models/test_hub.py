"""A model goes to the Hugging Face Hub with a card, and comes back; the Hub here is a folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from partreid.errors import CheckpointError, ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.models.build import build_network
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from tests.inference.plain_network import plain_extractor
from tests.models.tiny_networks import model_of, named, save_openvino


class FolderHub:
    """What partreid calls of ``huggingface_hub``, with repositories as folders."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, []  # type: ignore[var-annotated]

    def __call__(self, token: str | None) -> FolderHub:
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> Any:
        if "/" not in repo_id:
            raise ValueError("403 Forbidden")
        self.calls.append(("create", repo_id, private, exist_ok))
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any:
        self.calls.append(("upload", commit_message))
        shutil.copytree(folder_path, self.root / repo_id)
        return SimpleNamespace(repo_url=f"https://hub.example/{repo_id}")

    def snapshot(self, repo_id: str, *, allow_patterns: list[str]) -> str:
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHub:
    made = FolderHub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", made)
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.snapshot)
    monkeypatch.chdir(tmp_path)
    return made


def extractor(mirror: bool = False) -> PartExtractor:
    torch.manual_seed(0)
    network = build_network(ModelConfig(backbone="resnet18", parts="five", visibility="continuous"), 3)
    metrics = {"rank1": 0.5, "mAP": 0.25, "epochs": [1, 2]}
    runtime = RuntimeConfig(device="cpu")
    return PartExtractor(
        network, PreprocessConfig(height=64, width=32), runtime=runtime, mirror=mirror, metrics=metrics
    )


def test_a_model_goes_to_the_hub_and_comes_back(hub: FolderHub) -> None:
    model = extractor(mirror=True)
    address = model.push_to_hub("org/name", private=True, license="apache-2.0", token="secret", commit_message="First")
    assert address == "https://hub.example/org/name"
    assert hub.calls == [("token", "secret"), ("create", "org/name", True, True), ("upload", "First")]
    for source in ("hf:org/name", "hf://org/name", "https://huggingface.co/org/name", "org/name"):
        assert PartExtractor.from_pretrained(source, mirror=True, device="cpu").fingerprint == model.fingerprint
    card = (hub.root / "org/name/README.md").read_text()
    assert card.startswith("---\nlibrary_name: partreid\nlicense: apache-2.0\n")
    for expected in (
        'from_pretrained("hf:org/name", mirror=True)',
        '"visibility": "continuous"',
        "64×32",
        "* mAP: 0.25",
    ):
        assert expected in card
    assert "secret" not in card
    assert "epochs" not in card


def test_a_folder_of_that_name_comes_first_but_for_hf(hub: FolderHub, tmp_path: Path) -> None:
    extractor().push_to_hub("org/name")
    other = extractor(mirror=True).save_pretrained(tmp_path / "org" / "name")
    (other / "config.json").write_text((other / "config.json").read_text().replace('"height": 64', '"height": 96'))
    assert PartExtractor.from_pretrained("org/name").preprocess.height == 96
    assert PartExtractor.from_pretrained("hf:org/name").preprocess.height == 64


def test_what_cannot_be_published(hub: FolderHub) -> None:
    with pytest.raises(
        CheckpointError, match=r"'name' could not be published.*403 Forbidden. Give org/name, and a token"
    ):
        extractor().push_to_hub("name")
    for publish in (lambda e: e.push_to_hub("org/name"), lambda e: e.save_pretrained("folder")):
        with pytest.raises(ConfigError, match=r"Write PartExtractor.from_pretrained\(run\)"):
            publish(plain_extractor())
    for source in ("hf:name", "hf:", "hf:a/b/c"):
        with pytest.raises(CheckpointError, match="Expected hf:org/name, got"):
            PartExtractor.from_pretrained(source)


def test_a_network_file_goes_along(hub: FolderHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def snapshot(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return hub.snapshot(repository, allow_patterns=allow_patterns)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    (tmp_path / "user").mkdir()
    file = save_openvino(tmp_path / "user" / "a net.xml")
    model = PartExtractor.from_pretrained(model_of(named(file)), device="cpu")
    model.push_to_hub("org/name")
    card = (hub.root / "org/name/README.md").read_text()
    assert str(tmp_path) not in card
    assert "- a_net\n" in card
    shutil.rmtree(file.parent)
    assert PartExtractor.from_pretrained("hf:org/name", device="cpu").fingerprint == model.fingerprint
    plain = ["config.json", "model.safetensors", "metrics.json"]
    assert asked == [plain, [*plain, "backbone/a_net.xml", "backbone/a_net.bin"]]
    config = hub.root / "org/name/config.json"
    config.write_text(config.read_text().replace('"a_net.bin"', '"*"'))
    with pytest.raises(CheckpointError, match=r"'\*' is no plain name"):
        PartExtractor.from_pretrained("hf:org/name")
    assert len(asked) == 3, "nothing was asked for by such a name"
