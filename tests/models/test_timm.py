"""The timm seam. What needs timm is skipped without it: docs/models.md says how to run it, on any PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import CheckpointError, ConfigError, MissingDependencyError
from partreid.models.backbones import Backbone, build_backbone, map_geometry
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.training.train_config import TrainConfig
from tests.models.backbone_contract import check_backbone


def find_timm() -> Any:
    """timm or None. On a CPU-only PyTorch the torchvision of PyPI imports once the operators it misses are declared."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    try:
        import timm
    except (ImportError, RuntimeError):
        return None
    return timm


timm = find_timm()
needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed")
STRIDES = {
    "resnet18": 32, "convnext_atto": 32, "vit_tiny_patch16_224": 16, "deit_tiny_distilled_patch16_224": 16,
    "vit_wee_patch16_reg1_gap_256": 16, "vit_small_patch14_reg4_dinov2": 14, "swin_tiny_patch4_window7_224": 32,
    "hrnet_w18_small": 32, "beitv2_base_patch16_224": 0,
}  # fmt: skip
"""Own stride of a few models of each kind; 0 = takes one size of images only."""


def test_without_timm_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    config = ModelConfig(backbone="timm/resnet18")  # a configuration can be read without
    for refusing in (lambda: build_network(config, 2), lambda: config.stride, lambda: TrainConfig(model=config)):
        with pytest.raises(MissingDependencyError, match=r'needs timm.*pip install "partreid\[timm\]"'):
            refusing()


@pytest.mark.parametrize("broken", [
    "raise RuntimeError('operator torchvision::nms does not exist')", "import torchvision_that_is_not_there",
])  # fmt: skip
def test_a_broken_torchvision_is_said(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "timm.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"needs a torchvision built for this PyTorch.*torchvision.*nst"):
        build_backbone("timm/resnet18", weights="imagenet")
    monkeypatch.delitem(sys.modules, "timm", raising=False)


@needs_timm
@pytest.mark.parametrize("name", [name for name, stride in STRIDES.items() if stride])
def test_contract(name: str, tmp_path: Path) -> None:
    def build(weights: Path | None) -> Backbone:
        return build_backbone(f"timm/{name}", weights=weights)

    backbone = check_backbone(build, tmp_path)
    assert backbone.output_stride == STRIDES[name] == map_geometry(f"timm/{name}").stride
    assert [key for key, p in backbone.named_parameters() if not p.requires_grad] == []


@needs_timm
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224",
                                  "vit_small_patch14_reg4_dinov2", "swin_tiny_patch4_window7_224"])  # fmt: skip
def test_tokens_lie_where_their_patch_lies(name: str) -> None:
    backbone = build_backbone(f"timm/{name}").eval()
    stride = backbone.output_stride
    images = torch.randn(1, 3, 4 * stride, 2 * stride)
    with torch.inference_mode():
        features = backbone(images)
        raw = backbone.get_submodule("network").forward_features(images)  # type: ignore[operator]
    tokens = raw[:, -8:] if raw.ndim == 3 else raw.flatten(1, 2)
    for row in range(4):
        for column in range(2):
            assert torch.equal(features[:, :, row, column], tokens[:, row * 2 + column])


@needs_timm
def test_the_last_stride_is_removed_as_our_own_resnet_does(tmp_path: Path) -> None:
    theirs = build_backbone("timm/resnet18", output_stride=16).eval()
    state = {key.removeprefix("network."): value for key, value in theirs.state_dict().items()}
    torch.save(state, tmp_path / "resnet18.pth")
    ours = build_backbone("resnet18", weights=tmp_path / "resnet18.pth").eval()
    images = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        assert torch.allclose(theirs(images), ours(images), atol=1e-5)
    assert (
        map_geometry("timm/resnet18", 8).stride == build_backbone("timm/resnet18", output_stride=8).output_stride == 8
    )


@needs_timm
@pytest.mark.parametrize(("name", "stride", "message"), [
    ("convnext_atto", 16, r"stages.3.downsample.1 is Conv2d.*timm's own output_stride dilates.*map_stride=16"),
    ("swin_tiny_patch4_window7_224", 16, "no convolution makes it.*map_stride=16"),
    ("resnet50d", 16, "AvgPool2d"),
    ("vit_tiny_patch16_224", 8, "no convolution makes it.*output_stride=null and take larger images"),
    ("vit_tiny_patch16_224", 32, "has the output stride 16; set model.output_stride=null"),
    ("beitv2_base_patch16_224", None, "no feature map for images of any size: Input height"),
    ("resnet-18", None, "timm has no model 'resnet-18'. Did you mean timm/resnet18?"),
    ("qqqq", None, r"timm has no model 'qqqq'. timm.list_models\(\) lists them"),
])  # fmt: skip
def test_what_cannot_be_had_is_said(name: str, stride: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(f"timm/{name}", output_stride=stride)


@needs_timm
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_a_file_of_timms_own_keys_loads_and_what_does_not_fit_is_named(name: str, tmp_path: Path) -> None:
    state = timm.create_model(name).state_dict()
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    backbone = build_backbone(f"timm/{name}", weights=path)
    loaded = {key.removeprefix("network."): value for key, value in backbone.state_dict().items()}
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    assert all(key.startswith(backbone.unused_keys) for key in state.keys() - loaded.keys())

    first, second = list(loaded)[:2]
    del state[first]
    state |= {"surprise": torch.zeros(1), second: torch.zeros(2, 9)}
    torch.save(state, path)
    with pytest.raises(CheckpointError) as error:
        build_backbone(f"timm/{name}", weights=path)
    for part in (
        f"missing keys (1): network.{first}",
        "foreign keys (1): network.surprise",
        f"network.{second} is (2, 9)",
    ):
        assert part in str(error.value)


@needs_timm
def test_a_whole_model_with_a_finer_map_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    train = TrainConfig().override(
        ["model.backbone=timm/resnet18", "model.map_stride=8", "model.embedding_dim=8", "preprocess.height=128"]
    )
    assert train.map_size == (16, 16)
    model = build_network(train.model, 3).eval()
    save_checkpoint(Checkpoint(model, PreprocessConfig(height=128, width=64)), tmp_path / "checkpoint")
    images = torch.randn(1, 3, 128, 64)
    with torch.inference_mode():
        output = model(images)
        again = load_checkpoint(tmp_path / "checkpoint").model(images)
    assert output.attention.shape[2:] == (16, 8)
    assert torch.equal(output.embeddings.vectors, again.embeddings.vectors)
    with pytest.raises(ConfigError, match="must be multiples of 32"):
        TrainConfig().override(["model.backbone=timm/resnet18", "preprocess.height=144"])


@needs_timm
def test_asking_for_a_size_draws_no_random_numbers() -> None:
    state = torch.random.get_rng_state()
    map_geometry("timm/regnetx_002")
    assert torch.equal(torch.random.get_rng_state(), state)


@needs_timm
def test_weights_that_cannot_be_fetched_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    backbone = build_backbone("timm/resnet18")
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(CheckpointError, match=r'could not be had from timm \(no network\).*"none"'):
        backbone.imagenet_state()
