"""``load_official`` reproduces every golden figure of the published network, and refuses what it must."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from partreid import load_official, part_distances
from partreid.errors import CheckpointError, ConfigError
from partreid.functional.losses import identity_loss, part_attention_loss, part_averaged_triplet
from partreid.losses.loss_config import GiLtConfig
from partreid.losses.objective import gilt_terms
from partreid.models.checkpoint import Checkpoint
from partreid.models.official import FoundSetting, OfficialImport, OfficialOptions, StoredConfig, read_official
from partreid.types import ModelOutput
from tests.golden.official import FOLDER, official_state_dict

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(FOLDER / "official_r50_k5.npz"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "model.pth.tar"
    state = {f"module.{key}": value for key, value in official_state_dict("official_r50_k5.keys.json").items()}
    torch.save({"state_dict": state, "epoch": 120, "rank1": np.float64(0.5), "mAP": 0.25}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(published: Path) -> Checkpoint:
    with pytest.warns(UserWarning, match=r"parts = five_v \(assumed, .*height = 256 \(assumed"):
        return load_official(published)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.Generator(np.random.PCG64(0)).standard_normal((4, 3, 256, 128)).astype("f4"))


@pytest.fixture(scope="module")
def evaluated(checkpoint: Checkpoint, images: torch.Tensor) -> ModelOutput:
    with torch.inference_mode():
        output: ModelOutput = checkpoint.model.eval()(images)
    return output


@pytest.fixture
def trained(published: Path, images: torch.Tensor) -> Iterator[ModelOutput]:
    with pytest.warns(UserWarning, match="does not tell"):
        model = load_official(published).model.train()
    with torch.no_grad():
        yield model(images)


def test_embeddings(evaluated: ModelOutput, golden: dict[str, np.ndarray]) -> None:
    _close(evaluated.embeddings.vectors, golden["embeddings"])
    assert np.array_equal(evaluated.embeddings.visibility.bool().numpy(), golden["visibility"])


def test_attention_and_regions(evaluated: ModelOutput, golden: dict[str, np.ndarray]) -> None:
    assert evaluated.attention.shape[2:] == tuple(golden["feature_shape"][2:])
    _close(evaluated.attention.amax(dim=(2, 3)), golden["part_max"])
    _close(evaluated.attention.mean(dim=(2, 3)), golden["attention_mean"])
    _close(evaluated.features.global_, golden["globl"])
    _close(evaluated.features.foreground, golden["foreg"])
    _close(evaluated.features.concat.norm(dim=1), golden["conct_norm"])


def test_matching(evaluated: ModelOutput, golden: dict[str, np.ndarray]) -> None:
    e = evaluated.embeddings
    _close(part_distances(e[:2], e[2:], normalize=True), golden["distance"])


def test_losses(trained: ModelOutput, golden: dict[str, np.ndarray]) -> None:
    pids = torch.tensor([0, 0, 1, 1])
    logits = trained.identity_logits
    assert logits is not None
    for name, value in (("id_g", logits.global_), ("id_f", logits.foreground), ("id_c", logits.concat)):
        _close(identity_loss(value, pids), golden[name])
    _close(part_averaged_triplet(trained.features.parts, pids).loss, golden["tri"])
    terms, _ = gilt_terms(trained, pids, GiLtConfig())
    _close(torch.stack(list(terms.values())).sum(), golden["gilt"])
    labels = np.random.Generator(np.random.PCG64(1)).integers(0, 6, (4, 16, 8))
    _close(part_attention_loss(trained.part_logits, torch.from_numpy(labels)), golden["pixel"])


def test_metrics_and_names_without_a_stored_configuration(checkpoint: Checkpoint) -> None:
    assert checkpoint.metrics == {"rank1": 0.5, "mAP": 0.25, "epoch": 120}
    assert checkpoint.model.config.part_schema.name == "five_v"
    assert checkpoint.preprocess.size == (256, 128)


def _close(ours: torch.Tensor, golden: np.ndarray) -> None:
    assert np.allclose(ours.detach().numpy(), golden, rtol=TOLERANCE, atol=TOLERANCE * np.abs(golden).max())


def _saved(tmp_path: Path, zipped: bool = True, /, **content: Any) -> Path:
    path = tmp_path / "model.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def test_a_stored_configuration_gives_grouping_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written by a class of the name that published files carry, and read without that package."""

    class CfgNode(dict[str, Any]):
        pass

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    package, module = ModuleType("yacs"), ModuleType("yacs.config")
    module.CfgNode = CfgNode  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", package)
        patch.setitem(sys.modules, "yacs.config", module)
        config = CfgNode(data=CfgNode(height=384, width=128), model=CfgNode(masks=CfgNode(preprocess="five")))
        config.__dict__["__immutable__"] = True
        path = _saved(tmp_path, state_dict=official_state_dict("official_r50_k5.keys.json"), config=config)
    checkpoint = load_official(path)
    assert checkpoint.model.config.part_schema.name == "five"
    assert checkpoint.preprocess.size == (384, 128)


class _Runs:
    """Pickled, it is a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


class _Builds:
    """Pickled, it is an object of a class that the file names, filled by it."""

    def __setstate__(self, state: object) -> None:
        Path("executed").touch()

    def __getstate__(self) -> object:
        return {"a": 1}


TOUCH = "open('executed', 'w').close()"
MALICIOUS = {
    "exec": _Runs(exec, TOUCH),
    "eval": _Runs(eval, TOUCH),
    "os.system": _Runs(os.system, "touch executed"),
    "getattr": _Runs(getattr, "a", "upper"),
    "import": _Runs(importlib.import_module, "this"),
    "Popen": _Runs(subprocess.Popen, ["touch", "executed"]),
    "open": _Runs(open, "executed", "w"),
    "object": _Builds(),
    "loads": _Runs(pickle.loads, pickle.dumps(_Runs(exec, TOUCH))),
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda evil: evil,
    "config": lambda evil: {"state_dict": {}, "config": evil},
    "deep in config": lambda evil: {"state_dict": {}, "config": {"model": {"masks": [1, (2, {"a": evil})]}}},
    "state_dict": lambda evil: {"state_dict": evil},
    "tensor": lambda evil: {"state_dict": {"a": torch.zeros(1), "b": evil}},
    "metric": lambda evil: {"state_dict": {}, "rank1": evil},
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_file_is_refused_and_runs_nothing(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = PLACES[place](MALICIOUS[name])
    path = tmp_path / "model.pth.tar"
    for zipped in (True, False):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(CheckpointError, match=r"refused and none of it was run: .* for one"):
            load_official(path)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError):
        load_official(path)
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_hand_written_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opcodes that no pickler of today writes: a call by INST, by OBJ, and an attribute of an allowed module."""
    monkeypatch.chdir(tmp_path)
    whole = tmp_path / "whole.pth.tar"
    torch.save({"state_dict": {}}, whole)
    for code in (
        b"(S'touch executed'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch executed'\no.",
        b"\x80\x04\x8c\x05torch\x8c\x0eserialization.os.system\x93\x8c\x0etouch executed\x85R.",
        b"cyacs.config\nCfgNode\n)R}S'__class__'\ncos\nsystem\nsb.",
    ):
        path = tmp_path / "model.pth.tar"
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
            for item in source.namelist():
                target.writestr(item, code if item.endswith("data.pkl") else source.read(item))
        with pytest.raises(CheckpointError):
            load_official(path)
        assert not (tmp_path / "executed").exists()


def test_foreign_missing_and_misshapen_keys_are_listed(tmp_path: Path) -> None:
    state = official_state_dict("official_r50_k5.keys.json")
    with pytest.raises(CheckpointError, match="not of a BPBReID model: surprise"):
        load_official(_saved(tmp_path, state_dict={**state, "surprise": torch.zeros(1)}))
    lacking = {k: v for k, v in state.items() if "layer1.0.conv1" not in k}
    with pytest.raises(CheckpointError, match=r"missing keys \(1\): backbone.layer1.0.conv1"):
        load_official(_saved(tmp_path, state_dict=lacking))
    bent = {**state, "pixel_classifier.bn.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match="part_classifier.bn.weight is"):
        load_official(_saved(tmp_path, state_dict=bent))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_official(path)
    with pytest.raises(CheckpointError, match="no weights file"):
        load_official(tmp_path / "absent")


SIZED = {
    "pixel_classifier.classifier.weight": torch.zeros(9, 4, 1, 1),
    "parts_after_pooling_dim_reduce.layers.0.weight": torch.zeros(8, 4),
    "global_identity_classifier.classifier.weight": torch.zeros(3, 8),
}


def test_an_unknown_backbone_and_a_partial_model_are_named(tmp_path: Path) -> None:
    osnet = {"backbone_appearance_feature_extractor.conv2.0.IN.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="backbone is none of hrnet_w32, resnet50_ibn_a, resnet50"):
        load_official(_saved(tmp_path, state_dict=SIZED | osnet))
    for key in SIZED:
        for state in ({k: v for k, v in SIZED.items() if k != key}, SIZED | {key: torch.zeros(())}):
            with pytest.raises(CheckpointError, match=r"not a whole BPBReID model: missing keys \S+\.$"):
                load_official(_saved(tmp_path, state_dict=state))
    for content in ({"state_dict": 3}, {}, {"state_dict": {1: torch.zeros(1)}}, {"state_dict": {"a": 1}}):
        with pytest.raises(CheckpointError, match="state_dict"):
            load_official(_saved(tmp_path, **content))


@pytest.fixture(scope="module")
def hrnet_state() -> dict[str, torch.Tensor]:
    return official_state_dict("official_hr32_k8.keys.json")


@pytest.fixture(scope="module")
def hrnet(hrnet_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> OfficialImport:
    path = _saved(tmp_path_factory.mktemp("hrnet"), state_dict=hrnet_state)
    return read_official(path)


def test_every_key_of_hrnet_is_used_or_named(hrnet: OfficialImport, hrnet_state: dict[str, torch.Tensor]) -> None:
    config = hrnet.checkpoint.model.config
    assert (config.backbone, config.parts, config.embedding_dim) == ("hrnet_w32", "eight", 512)
    assert hrnet.checkpoint.model.num_identities == 7
    assert hrnet.checkpoint.preprocess.size == (384, 128)
    assert [name for name, found in hrnet.choices.items() if found.assumed] == [
        "parts",
        "height",
        "width",
        "mean",
        "std",
    ]
    assert {*hrnet.used, *hrnet.ignored} == set(hrnet_state)
    assert not set(hrnet.used) & set(hrnet.ignored)
    unused = ("background_", "backbone_appearance_feature_extractor.cls_head.")
    assert set(hrnet.ignored) == {key for key in hrnet_state if key.startswith(unused)}
    ours = hrnet.checkpoint.model.state_dict()
    assert len(ours) == len(hrnet.used)
    name = "stage4.2.fuse_layers.3.0.2.0.weight"
    assert torch.equal(ours[f"backbone.{name}"], hrnet_state[f"backbone_appearance_feature_extractor.{name}"])


def test_the_published_hrnet_looks_at_a_image(hrnet: OfficialImport) -> None:
    with torch.inference_mode():
        output = hrnet.checkpoint.model(torch.randn(2, 3, 64, 32))
    assert output.attention.shape == (2, 9, 16, 8)
    assert output.embeddings.vectors.shape == (2, 9, 512)
    assert output.embeddings.vectors.isfinite().all()


def test_options_and_their_messages(published: Path) -> None:
    result = read_official(published, options=OfficialOptions(parts="five", height=128, width=64))
    assert result.checkpoint.model.config.parts == "five"
    assert result.checkpoint.preprocess.size == (128, 64)
    assert not any(result.choices[name].assumed for name in ("backbone", "parts", "height", "width"))
    with pytest.raises(ConfigError, match=r"K = 5 parts, and the part schema 'eight' has 8.*five, five_v"):
        read_official(published, options=OfficialOptions(parts="eight"))
    with pytest.raises(ConfigError, match="Did you mean 'five'"):
        read_official(published, options=OfficialOptions(parts="fife"))
    with pytest.raises(ConfigError, match=r"input 130×128 \(chosen; assumed, .*must be multiples of 16 for resnet50"):
        read_official(published, options=OfficialOptions(height=130))


def test_a_stored_configuration_is_searched_by_what_its_fields_hold() -> None:
    stored = StoredConfig({"a": {"b": {"grouping": "eight", "Height": 256, "other": "five"}}, "WIDTH": 64, "c": [1]})
    assert stored.schema(8, None) == FoundSetting("eight", "stored configuration, a.b.grouping")
    assert stored.schema(5, None).value == "five"
    assert stored.schema(3, None) == FoundSetting(
        "three_v", "assumed, the usual one for K = 3; matching does not depend on the names", assumed=True
    )
    assert stored.schema(7, None).value == "unnamed_7"
    inputs = stored.preprocess("hrnet_w32", OfficialOptions(width=128))
    assert (inputs["height"].value, inputs["width"]) == (256, FoundSetting(128, "chosen"))
    for wrong in (
        {"mean": [123.7, 116.3, 103.5]},
        {"norm_mean": [0.5]},
        {"mean": "0.5"},
        {"demean": [0.1] * 3},
        3,
        None,
    ):
        assert StoredConfig(wrong).preprocess("resnet50", OfficialOptions())["mean"].assumed
    assert StoredConfig({"height": True, "width": "128"}).preprocess("resnet50", OfficialOptions())["height"].assumed


@pytest.mark.parametrize(("sources", "expected"), [
    (["market1501"], "five_v"), (["occluded_duke"], "five"), ("Occluded_Duke", "five"), ([], "five_v"),
])  # fmt: skip
def test_five_parts_are_named_after_the_training_set(sources: object, expected: str) -> None:
    found = StoredConfig({"data": {"sources": sources, "targets": ["occluded_reid"]}}).schema(5, None)
    assert (found.value, found.assumed) == (expected, expected == "five_v")
