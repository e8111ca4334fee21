"""``load_official`` reproduces every golden figure of the published network, and refuses what it must."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from partreid import load_official, part_distances
from partreid.errors import CheckpointError
from partreid.functional.losses import identity_loss, part_attention_loss, part_averaged_triplet
from partreid.losses.config import GiLtConfig
from partreid.losses.gilt import gilt_terms
from partreid.models.checkpoint import Checkpoint
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
    with pytest.warns(UserWarning, match="stores no part grouping"):
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
    with pytest.warns(UserWarning, match="grouping"):
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


def _saved(tmp_path: Path, **content: Any) -> Path:
    path = tmp_path / "model.pth.tar"
    torch.save(content, path)
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


class _RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import pathlib; pathlib.Path('executed').touch()",))


def test_a_malicious_file_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _saved(tmp_path, state_dict={}, config=_RunsCode())
    with pytest.raises(CheckpointError, match="refused"):
        load_official(path)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(_RunsCode()))
    with pytest.raises(CheckpointError):
        load_official(tmp_path / "plain.pkl")
    assert not (tmp_path / "executed").exists()


def test_foreign_missing_and_misshapen_keys_are_listed(tmp_path: Path) -> None:
    state = official_state_dict("official_r50_k5.keys.json")
    with pytest.raises(CheckpointError, match="not of a BPBReID model: surprise"):
        load_official(_saved(tmp_path, state_dict={**state, "surprise": torch.zeros(1)}))
    lacking = {k: v for k, v in state.items() if "layer1.0.conv1" not in k}
    with (
        pytest.warns(UserWarning),
        pytest.raises(CheckpointError, match=r"missing keys \(1\): backbone.layer1.0.conv1"),
    ):
        load_official(_saved(tmp_path, state_dict=lacking))
    bent = {**state, "pixel_classifier.bn.weight": torch.zeros(3)}
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="part_classifier.bn.weight is"):
        load_official(_saved(tmp_path, state_dict=bent))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_official(path)
    with pytest.raises(CheckpointError, match="no file"):
        load_official(tmp_path / "absent")


def test_an_hrnet_file_is_refused_by_name_so_far(tmp_path: Path) -> None:
    state = {"backbone_appearance_feature_extractor.stage2.0.weight": torch.zeros(1)}
    state |= {
        "pixel_classifier.classifier.weight": torch.zeros(9, 4, 1, 1),
        "parts_after_pooling_dim_reduce.layers.0.weight": torch.zeros(8, 4),
        "global_identity_classifier.classifier.weight": torch.zeros(3, 8),
    }
    with pytest.raises(CheckpointError, match="only ResNet-50"):
        load_official(_saved(tmp_path, state_dict=state))
