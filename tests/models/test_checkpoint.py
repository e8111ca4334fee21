"""A checkpoint rebuilds its model bit for bit, or says what is wrong; a killed process loses nothing."""

from __future__ import annotations

import errno
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from partreid.errors import CheckpointError
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig

CONFIG = ModelConfig(backbone="resnet18", parts="five", embedding_dim=8, visibility="argmax", foreground_embedding="bn")
PREPROCESS = PreprocessConfig(height=64, width=32, mean=(0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    model = BPBReID(CONFIG, 7)
    model.train()(torch.randn(4, 3, 64, 32))  # statistics that are not the initial ones
    return Checkpoint(model.eval(), PREPROCESS, {"epoch": 3, "mAP": 0.25})


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(checkpoint, tmp_path / "model")


def _equal(a: BPBReID, b: BPBReID) -> bool:
    return all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


def test_round_trip(checkpoint: Checkpoint, folder: Path) -> None:
    loaded = load_checkpoint(folder)
    assert _equal(checkpoint.model, loaded.model)
    assert (loaded.model.config, loaded.model.num_identities) == (CONFIG, 7)
    assert (loaded.preprocess, loaded.metrics) == (PREPROCESS, {"epoch": 3, "mAP": 0.25})
    assert not loaded.model.training
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        ours, theirs = checkpoint.model(images), load_checkpoint(folder).model(images)
    assert torch.equal(ours.embeddings.vectors, theirs.embeddings.vectors)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "metrics.json", "model.safetensors"]


def test_channels_last_weights_are_saved_as_they_are(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = BPBReID(CONFIG, 7).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_checkpoint(Checkpoint(model, PREPROCESS), tmp_path / "model")
    assert _equal(model, load_checkpoint(tmp_path / "model").model)


def test_a_run_folder_and_its_checkpoint_are_the_same(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / "run" / "checkpoint")
    for source in (tmp_path / "run", tmp_path / "run" / "checkpoint", str(tmp_path / "run")):
        assert find_checkpoint(source) == tmp_path / "run" / "checkpoint"
        assert _equal(checkpoint.model, load_checkpoint(source).model)


def test_a_folder_that_is_there_is_replaced_whole(checkpoint: Checkpoint, folder: Path) -> None:
    (folder / "train.toml").write_text("")
    save_checkpoint(Checkpoint(checkpoint.model, PREPROCESS, {"epoch": 4}), folder)
    assert load_checkpoint(folder).metrics == {"epoch": 4}
    assert not (folder / "train.toml").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_folder_with_something_else_is_not_replaced(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds something that is no checkpoint"):
        save_checkpoint(checkpoint, tmp_path)
    (tmp_path / "empty").mkdir()
    save_checkpoint(checkpoint, tmp_path / "empty")
    with pytest.raises(CheckpointError, match=r"Cannot write .*thesis.tex: it is a file"):
        save_checkpoint(checkpoint, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def _change(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return apply


def _drop(entry: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        del config[entry]
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_change(format="something"), r"not a partreid checkpoint \(format 'something'\)"),
        (_change(version=2, partreid="9.0"), r"version 2; .* reads version 1\. Install .*'9\.0'"),
        (_drop("format"), r"not a partreid checkpoint"),
        (_drop("model"), r"lacks the entry 'model'"),
        (_drop("num_identities"), r"lacks the entry 'num_identities'"),
        (_change(num_identities="many"), r"config\.json: num_identities: expected a number .* 'many'"),
        (_change(model={"bakbone": "resnet18"}), r"config\.json: .*'bakbone'\. Did you mean 'backbone'"),
        (_change(model=3), r"config\.json: model"),
        (_change(preprocess={"height": 0}), r"config\.json: .*height = 0"),
        (_change(part_names=["head", "tail"]), r"parts are \['head', 'tail'\], and schema 'five'"),
        (_write("config.json", b""), r"config\.json cannot be read.*incomplete"),
        (_write("config.json", b"[1]"), r"config\.json: expected an object, got list"),
        (_write("metrics.json", b"{"), r"metrics\.json cannot be read"),
        (_write("model.safetensors", b""), r"model\.safetensors cannot be read as weights"),
        (_truncate, r"model\.safetensors cannot be read as weights"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no weights file .*model\.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), r"holds no checkpoint: expected the files config\.json"),
    ],
)
def test_foreign_and_incomplete_folders(folder: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(folder)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_metrics_are_not_needed(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    assert load_checkpoint(folder).metrics == {}


def test_every_key_that_does_not_fit_is_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["global_neck.bn.weight"]
    weights |= {"extra": torch.zeros(1), "part_classifier.classifier.bias": torch.zeros(9)}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    for words in (
        "missing keys (1): global_neck.bn.weight",
        "foreign keys (1): extra",
        "wrong shapes (1): part_classifier.classifier.bias is (9,), expected (6,)",
    ):
        assert words in str(error.value)


def test_a_kill_between_the_two_renames_is_mended(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name, source in (("run/checkpoint", "run"), ("plain", "plain")):
        folder = save_checkpoint(checkpoint, tmp_path / name)
        folder.rename(folder.with_name(folder.name + ".previous"))
        assert _equal(checkpoint.model, load_checkpoint(tmp_path / source).model)
        assert folder.is_dir()
        assert not folder.with_name(folder.name + ".previous").exists()


def test_a_kill_after_the_second_rename_keeps_the_new_one(checkpoint: Checkpoint, folder: Path) -> None:
    previous = save_checkpoint(Checkpoint(checkpoint.model, PREPROCESS, {"epoch": 2}), folder.with_name("old"))
    previous.rename(folder.with_name("model.previous"))
    assert load_checkpoint(folder).metrics["epoch"] == 3
    save_checkpoint(Checkpoint(checkpoint.model, PREPROCESS, {"epoch": 4}), folder)
    assert load_checkpoint(folder).metrics["epoch"] == 4
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_full_disk_leaves_the_former_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """A real one, as the system reports it: no file may grow beyond 1 MB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"Cannot write .*model\.safetensors.*disk full"):
            save_checkpoint(Checkpoint(checkpoint.model, PREPROCESS, {"epoch": 4}), folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(folder).metrics["epoch"] == 3
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_read_only_folder_is_named(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:  # as the system does for all but root
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(CheckpointError, match=r"Cannot write .*model: Permission denied"):
        save_checkpoint(checkpoint, tmp_path / "model")


def test_a_place_below_a_file_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"Cannot write .*file.model"):
        save_checkpoint(checkpoint, tmp_path / "file" / "model")


def test_a_hub_repository(checkpoint: Checkpoint, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def download(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert _equal(checkpoint.model, load_checkpoint("org/name").model)
    assert asked == [("org/name", ["config.json", "model.safetensors", "metrics.json"])]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the Hub, which is out of reach."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[str] = []

    def download(repository: str, **_: object) -> str:
        asked.append(repository)
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


def test_the_hub_out_of_reach(hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    message = r"no folder rusn/light, .*Hub: no connection If a folder was meant: Did you mean runs/light\?"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint("rusn/light")
    with pytest.raises(CheckpointError, match=r"holds no folder of a like name"):
        load_checkpoint("org.1/my_model-v2")
    assert hub == ["rusn/light", "org.1/my_model-v2"]


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("runs/lihgt", r"Did you mean runs/light\?"),
        ("runs/light ", r"Did you mean runs/light\?"),
        ("runs/what", "holds no folder of a like name"),
        ("demo ", r"Did you mean demo\?"),
        (" demo", r"Did you mean demo\?"),
        ("demmo", r"Did you mean demo\?"),
        ("demo/chekpoint", r"Did you mean demo/checkpoint\?"),
        ("demmo/checkpoint/", r"Did you mean demo/checkpoint\?"),
        ("./lihgt", "holds no folder"),
        ("~/light", "no checkpoint folder"),
        ("a/b/c", "no checkpoint folder"),
        ("org/my model", "no checkpoint folder"),
        ("órg/model", "no checkpoint folder"),
        ("/org/name", "no checkpoint folder"),
        (Path("runs/lihgt"), r"Did you mean runs/light\?"),
        (Path("org/name"), "no checkpoint folder"),
        ("a\0b", "is no name that a file or folder can have"),
        ("x" * 5000, "is no name that a file or folder can have"),
    ],
)
def test_a_local_typo_asks_no_hub(
    source: str | Path, hint: str, hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/light", "demo/checkpoint"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(CheckpointError, match=hint):
        load_checkpoint(source)
    assert hub == []


def test_a_repository_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"Hub's org/name holds no partreid checkpoint: no config\.json"):
        load_checkpoint("org/name")


def test_a_folder_without_a_checkpoint_says_what_was_expected(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no checkpoint.*'checkpoint'.*partreid\.load_official"):
        load_checkpoint(tmp_path)
    save_checkpoint(checkpoint, tmp_path / "light" / "checkpoint")
    with pytest.raises(CheckpointError, match=r"Runs in it: light\. Give one of them"):
        load_checkpoint(tmp_path)
    folder = save_checkpoint(checkpoint, tmp_path / "alone" / "weights")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"weights are there, but not config\.json"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run/config.json", r"one file of a checkpoint\. Give its folder: .*run\."),
        ("run/model.safetensors", r"one file of a checkpoint\. Give its folder: .*run\."),
        ("model.onnx", r"an exported file.* Give the run .*from_pretrained"),
        ("model.xml", r"an exported file.* Give the run .*from_pretrained"),
        ("weights.pth", r"a checkpoint is a folder .*import-official.*--set pretrained=FILE"),
        ("weights.safetensors", r"a checkpoint is a folder .*import-official.*--set pretrained=FILE"),
    ],
)
def test_a_file_in_the_place_of_a_folder(checkpoint: Checkpoint, tmp_path: Path, name: str, message: str) -> None:
    save_checkpoint(checkpoint, tmp_path / "run")
    (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / name)
