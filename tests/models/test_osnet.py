"""OSNet: golden figures, the zoo's files, its embedding, a finer map, training by the presets and export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError
from partreid.export.parity import TOLERANCE
from partreid.export.write import export_checkpoint
from partreid.models.backbones import Backbone, build_backbone, gains_from_bfloat16, map_geometry
from partreid.models.backbones.osnet import InstanceNorm, OSBlock
from partreid.models.backbones.osnet_names import OSNETS
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from partreid.training.presets import get_preset
from partreid.training.supervised import build_model
from tests.export.tiny import PREPROCESS, random_pixels
from tests.golden.official import FOLDER, official_state_dict
from tests.models.backbone_contract import check_backbone

GOLDEN = ("osnet_x1_0", "osnet_ain_x1_0")
PARAMETERS = {"x1_0": 2_169_508, "x0_75": 1_285_754, "x0_5": 630_034, "x0_25": 201_864}
"""Without the classifier. AIN's are as many: an instance norm has those of the batch norm whose place it takes."""


@pytest.mark.parametrize("name", OSNETS)
def test_contract(name: str, tmp_path: Path) -> None:
    backbone = check_backbone(lambda weights: build_backbone(name, weights=weights), tmp_path)
    width = {"x1_0": 1, "x0_75": 0.75, "x0_5": 0.5, "x0_25": 0.25}[size := name[name.index("x") :]]
    assert backbone.stage_channels == {4: 256 * width, 8: 384 * width, 16: 512 * width}
    assert backbone.vector_dim == 512
    assert map_geometry(name) == (16, 16)
    assert not gains_from_bfloat16(name)
    extra = 1024 if name == "osnet_ibn_x1_0" else 0  # two norms of 256 channels beside those that the others have
    assert sum(p.numel() for p in backbone.parameters()) == PARAMETERS[size] + extra


@pytest.fixture(scope="module", params=GOLDEN)
def rebuilt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A file as a training with torchreid writes it, classifier and all."""
    path = tmp_path_factory.mktemp("zoo") / f"{request.param}.pth"
    state = official_state_dict(f"{request.param}.keys.json")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, path)
    return request.param, path


def test_golden_figures(rebuilt: tuple[str, Path]) -> None:
    name, path = rebuilt
    golden = np.load(FOLDER / f"{name}.npz")
    images = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3, 256, 128)).astype("f4")
    backbone = build_backbone(name, weights=path).eval()
    with torch.inference_mode():
        stages = backbone.stages(torch.from_numpy(images))
        features, vector = stages[16], backbone.vector(stages)
    assert features.shape == (2, 512, 16, 8)
    for found, expected in (
        (features.mean(dim=(2, 3)), golden["map_mean"]),
        (features.amax(dim=(2, 3)), golden["map_max"]),
        (features[:, :, :2, :2], golden["corner"]),
        (vector, golden["embedding"]),
    ):
        assert found.shape == expected.shape
        assert np.abs(found.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_file_of_any_number_of_identities_loads_and_no_key_is_left_over(rebuilt: tuple[str, Path]) -> None:
    name, path = rebuilt
    state = torch.load(path, weights_only=True)["state_dict"]
    keys = json.loads((FOLDER / f"{name}.keys.json").read_text())
    shapes = {key: list(value.shape) for key, value in build_backbone(name, weights=path).state_dict().items()}
    assert shapes == {key: shape for key, shape in keys.items() if not key.startswith("classifier.")}
    state["module.classifier.weight"], state["module.classifier.bias"] = torch.zeros(4101, 512), torch.zeros(4101)
    other = path.with_name("msmt17.pth")
    torch.save(state, other)
    loaded = build_backbone(name, weights=other).state_dict()
    assert all(torch.equal(value, state[f"module.{key}"]) for key, value in loaded.items())
    state["module.conv2.0.surprise"] = torch.zeros(1)
    torch.save(state, other)
    with pytest.raises(CheckpointError, match=r"foreign keys \(1\): conv2.0.surprise"):
        build_backbone(name, weights=other)


def test_another_networks_file_is_refused(rebuilt: tuple[str, Path]) -> None:
    name, path = rebuilt
    others = {"osnet_x1_0": ("osnet_x0_75", "osnet_ibn_x1_0"), "osnet_ain_x1_0": ("osnet_ain_x0_25", "osnet_x1_0")}
    for other in others[name]:
        with pytest.raises(CheckpointError, match=r"does not fit the model"):
            build_backbone(other, weights=path)


def test_instance_norms_stand_where_each_kind_has_them() -> None:
    """IBN's answer to an image whose branch says nothing; AIN's, of the same: its shortcut goes past the norm."""
    x = torch.rand(2, 64, 6, 4) + 1
    for name, passes in (("osnet_ibn_x1_0", False), ("osnet_ain_x1_0", True)):
        block = build_backbone(name).eval().get_submodule("conv2.0")
        nn.init.zeros_(block.get_submodule("conv3.conv").weight)  # type: ignore[arg-type]
        with torch.inference_mode():
            shortcut: Tensor = block.get_submodule("downsample")(x)
            normalised = nn.functional.instance_norm(shortcut)
            assert torch.allclose(block(x), (shortcut if passes else normalised).relu(), atol=1e-5)


def test_an_instance_norm_keeps_the_layout_in_memory() -> None:
    norm = InstanceNorm(6)
    nn.init.normal_(norm.weight)
    for layout in (torch.channels_last, torch.contiguous_format):
        x = torch.randn(2, 6, 5, 4).contiguous(memory_format=layout)
        assert norm(x).is_contiguous(memory_format=layout)
        expected = nn.functional.instance_norm(x) * norm.weight[:, None, None]
        assert torch.allclose(norm(x), expected, atol=1e-5)


@pytest.mark.parametrize(("stride", "channels"), [(8, 96 + 128), (4, 64 + 96 + 128)])
def test_a_finer_map_leaves_the_vector_as_it_is(stride: int, channels: int) -> None:
    fine = build_backbone("osnet_x0_25", map_stride=stride).eval()
    coarse = fine.get_submodule("backbone")
    assert isinstance(coarse, Backbone)
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        stages = fine.stages(images)
        assert stages[stride].shape == (2, channels, 64 // stride, 32 // stride)
        assert torch.equal(fine.vector(stages), coarse.vector(coarse.stages(images)))
    assert fine.vector_dim == 512


@pytest.mark.parametrize("preset", ["osnet-x1-0", "osnet-x0-25", "osnet-ain-x1-0"])
def test_presets_start_from_a_file_of_the_zoo(preset: str, tmp_path: Path) -> None:
    config = get_preset(preset)
    name = preset.replace("-", "_")
    assert (config.model.backbone, config.map_size) == (name, (16, 8))
    assert config.preprocess == get_preset("paper-holistic").preprocess
    message = rf'No ImageNet weights for {name} .*path .*model zoo.* {name}_imagenet.pth .*"none"'
    with pytest.raises(CheckpointError, match=message):
        build_model(config, 3)
    state = build_backbone(name).state_dict()
    torch.save(state, tmp_path / "zoo.pth")
    trained = build_model(config.override([f"pretrained={tmp_path / 'zoo.pth'}"]), 3).backbone.state_dict()
    assert all(torch.equal(trained[key], value) for key, value in state.items())


def test_a_preset_trains_and_leaves_the_layer_of_the_vector_as_it_is(blocks: Path, tmp_path: Path) -> None:
    size = ["preprocess.height=64", "preprocess.width=32", "augment.padding=2"]
    batch = ["batch.identities_per_batch=3", "batch.images_per_identity=2"]
    short = ["optimizer.epochs=1", "optimizer.warmup_epochs=0", "pretrained=none"]
    config = get_preset("osnet-x0-25").override([*size, *batch, *short])
    before = build_model(config, 6).backbone.state_dict()
    runtime = RuntimeConfig(device="cpu", precision="float32")
    trained = Trainer(config, read_dataset(blocks).train, tmp_path, runtime=runtime).fit().model.backbone.state_dict()
    same = {key for key, value in before.items() if torch.equal(trained[key], value)}
    assert same == {key for key in before if key.startswith("fc.")}


class _Blocks(Backbone):
    """A block of OSNet-AIN behind a convolution, then one of OSNet-IBN: tracing a whole network takes a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.output_stride, self.input_multiple = 64, 16, 16
        self.stage_channels = {16: 64}
        self.stem = nn.Conv2d(3, 16, 16, stride=16)
        self.blocks = nn.Sequential(OSBlock("ain", 16, 64, "inside"), OSBlock("ibn", 64, 64, "after"))

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        return {16: self.blocks(self.stem(images))}


@pytest.mark.parametrize("name", ["blocks", *(pytest.param(n, marks=pytest.mark.slow) for n in GOLDEN)])
def test_export_to_onnx(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(3)
    backbone = _Blocks() if name == "blocks" else build_backbone(name)
    model = build_network(get_preset("osnet-x1-0").model, 3, backbone=backbone)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    agreement = export_checkpoint(Checkpoint(model.eval(), PREPROCESS), tmp_path / "m.onnx", random_pixels(3))
    assert max(agreement.vectors, agreement.visibility, agreement.attention) < TOLERANCE
