"""Weights of any file: wrapped in whatever way they fit, and no number that cannot be right is loaded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from partreid.errors import CheckpointError
from partreid.models.backbones import Backbone, build_backbone
from partreid.models.backbones.weights import load_exactly, plain_names, read_state_dict, tensor_shapes
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.models.official import translate_keys
from partreid.preprocessing import PreprocessConfig

State = dict[str, Tensor]
NAME = "layer2.0.conv1.weight"


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(1)
    return dict(build_backbone("resnet18").state_dict())


def load(path: Path) -> State:
    return dict(build_backbone("resnet18", weights=path).state_dict())


def _prefixed(prefix: str) -> Callable[[State], Any]:
    return lambda state: {prefix + key: value for key, value in state.items()}


def _compiled_within(state: State) -> Any:
    return {f"backbone.{key.replace('layer1.', 'layer1._orig_mod.')}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "iteration": 3},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {0: torch.zeros(2)}}},
        lambda state: {"net": state, "acc": 0.5},
        lambda state: {"whatever": state},
        lambda state: {"state_dict": state, "state_dict_ema": {k: torch.zeros_like(v) for k, v in state.items()}},
        lambda state: {"model": {"state_dict": state}, "epoch": 1},
        _prefixed("backbone."),
        _prefixed("base."),
        _prefixed("module.model.backbone."),
        _prefixed("_orig_mod."),
        _prefixed("module._orig_mod."),
        _compiled_within,
        lambda state: {k: v.reshape(1) if "num_batches" in k else v for k, v in state.items()},
        lambda state: {"model": {f"module.backbone.{k}": v for k, v in state.items()}},
    ],
)
def test_however_they_are_wrapped(wrap: Callable[[State], Any], state: State, tmp_path: Path) -> None:
    torch.save(wrap(state), tmp_path / "w.pth")
    loaded = load(tmp_path / "w.pth")
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_a_whole_network_gives_its_backbone_and_says_what_is_left(state: State, tmp_path: Path) -> None:
    """As fast-reid, reid-strong-baseline and our own runs keep it."""
    heads = {"heads.bottleneck.weight": torch.zeros(3), "pixel_mean": torch.zeros(3)}
    torch.save({"model": {**_prefixed("backbone.")(state), **heads}}, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=r"the backbone is 'backbone\.'; not used: heads, pixel_mean\."):
        loaded = load(tmp_path / "w.pth")
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    model = BPBReID(ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=4), 3)
    folder = save_checkpoint(Checkpoint(model.eval(), PreprocessConfig(height=64, width=32)), tmp_path / "run")
    with pytest.warns(UserWarning, match="not used: concat_neck"):
        loaded = load(folder / "model.safetensors")
    assert torch.equal(loaded[NAME], model.state_dict()[f"backbone.{NAME}"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda s: {"student": s, "teacher": s}, r"several networks: 'student', 'teacher'\. Save the one"),
        (lambda s: {**_prefixed("q.")(s), **_prefixed("k.")(s)}, r"holds the backbone 2 times, below 'k\.', 'q\.'"),
        (lambda s: {**s, "module.conv1.weight": s["conv1.weight"]}, r"holds conv1\.weight twice"),
        (lambda s: {k: v for k, v in s.items() if k.startswith("fc")}, "expected a mapping of names to tensors"),
        (lambda s: {"a": {"b": {"c": {"d": {"e": {"f": s}}}}}}, "expected a mapping of names to tensors"),
        (lambda s: {"x.conv1.weight": s["conv1.weight"]}, r"missing keys \(100\): .*foreign keys \(1\): x\.conv1"),
        (lambda s: _prefixed("b.")({k: v for k, v in s.items() if k != NAME}), rf"missing keys \(1\): {NAME}\."),
        (lambda s: {k: v for i, (k, v) in enumerate(s.items()) if i % 9}, r"missing keys \(\d+\): conv1\.weight, "),
        (lambda s: {**s, NAME: torch.zeros(3)}, rf"wrong shapes \(1\): {NAME} is \(3,\), expected \(128, 64, 3, 3\)"),
    ],
)
def test_what_is_no_or_another_backbone(content: Any, message: str, state: State, tmp_path: Path) -> None:
    torch.save(content(state), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "w.pth")


def test_published_names_behind_other_wrappers() -> None:
    needed = {
        "pixel_classifier.classifier.weight": torch.zeros(6, 8, 1, 1),
        "parts_after_pooling_dim_reduce.layers.0.weight": torch.zeros(4, 8),
        "global_identity_classifier.classifier.weight": torch.zeros(3, 4),
    }
    expected = translate_keys(needed, source="w")
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        assert translate_keys({prefix + key: value for key, value in needed.items()}, source="w") == expected


BROKEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "nan": (lambda v: v * float("nan"), "numbers that are NaN or infinite"),
    "one infinity": (lambda v: v.index_fill(0, torch.tensor([1]), float("inf")), "numbers that are NaN or infinite"),
    "too large": (lambda v: v.double() * 1e300, "numbers that are NaN or infinite"),
    "int8": (lambda v: (v * 127).to(torch.int8), "is int8, expected floating point"),
    "uint8": (lambda v: (v.abs() * 127).to(torch.uint8), "is uint8, expected floating point"),
    "bool": (lambda v: v > 0, "is bool, expected floating point"),
    "complex": (lambda v: v.to(torch.complex64), "is complex64, expected floating point"),
    "float8": (lambda v: v.to(torch.float8_e4m3fn), "is float8_e4m3fn, expected floating point"),
    "sparse": (lambda v: v.to_sparse(), "is no plain tensor"),
    "meta": (lambda v: v.to("meta"), "is no plain tensor"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", BROKEN)
def test_numbers_that_are_no_weights_are_named(kind: str, state: State, tmp_path: Path) -> None:
    change, message = BROKEN[kind]
    bent = change(state[NAME])
    torch.save({**state, NAME: bent}, tmp_path / "w.pth")
    backbone: Backbone = build_backbone("resnet18")
    before = backbone.state_dict()["conv1.weight"].clone()
    with pytest.raises(CheckpointError, match=rf"cannot be used: {NAME} .*{message}"):
        load_exactly(backbone, read_state_dict(tmp_path / "w.pth"), source="w.pth")
    assert torch.equal(backbone.state_dict()["conv1.weight"], before)


@pytest.mark.parametrize("kind", ["nan", "int8", "uint8", "bool"])
def test_a_checkpoint_of_such_numbers_is_refused(kind: str, tmp_path: Path) -> None:
    model = BPBReID(ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=4), 3).eval()
    folder = save_checkpoint(Checkpoint(model, PreprocessConfig(height=64, width=32)), tmp_path / "run")
    weights = load_file(folder / "model.safetensors")
    name = "heads.parts.layers.0.weight"
    save_file({**weights, name: BROKEN[kind][0](weights[name])}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"model\.safetensors .*cannot be used: {name}"):
        load_checkpoint(folder)


def test_a_variance_below_zero_is_refused(state: State) -> None:
    bent = {**state, "bn1.running_var": state["bn1.running_var"] - 2}
    with pytest.raises(CheckpointError, match=r"bn1\.running_var has a negative variance"):
        load_exactly(build_backbone("resnet18"), bent, source="w")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_precision_fit(dtype: torch.dtype, state: State) -> None:
    """Counters become floats too where a whole file is halved, and may overflow: nothing depends on them."""
    backbone = build_backbone("resnet18")
    counters = {key: torch.tensor(1e9) for key in state if "num_batches" in key}
    load_exactly(backbone, {key: value.to(dtype) for key, value in {**state, **counters}.items()}, source="w")
    loaded = backbone.state_dict()
    assert torch.equal(loaded[NAME], state[NAME].to(dtype).float())
    assert loaded["bn1.num_batches_tracked"].dtype == torch.int64
    assert int(loaded["bn1.num_batches_tracked"]) in (0, int(torch.tensor(1e9).bfloat16()), 10**9)


def test_names_and_shapes_without_the_tensors(state: State, tmp_path: Path) -> None:
    save_file(_prefixed("module.")(state), tmp_path / "w.safetensors")
    shapes = plain_names(tensor_shapes(tmp_path / "w.safetensors"), source="w")
    assert shapes == {key: tuple(value.shape) for key, value in state.items()}
    for damaged in (b"", b"\xff" * 8, (2**63 - 1).to_bytes(8, "little") + b"{}", (90_000).to_bytes(8, "little")):
        (tmp_path / "w.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            tensor_shapes(tmp_path / "w.safetensors")


def test_a_file_that_unpacks_a_thousandfold_is_refused(state: State, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(4_000_000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as source,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    assert (tmp_path / "w.pth").stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"w\.pth was refused: it would unpack to 160\d+ bytes"):
        read_state_dict(tmp_path / "w.pth")


def test_a_tensor_larger_than_its_file_is_refused(state: State, tmp_path: Path) -> None:
    """A view that repeats one number takes no room in a file, and any amount once it is copied."""
    torch.save({**state, NAME: torch.zeros(1).expand(10**12)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"{NAME} is \(1000000000000,\)"):
        load(tmp_path / "w.pth")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_no_file_of_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="There is no weights file"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(30))
def test_flipped_bits_are_an_error_or_weights_that_are_numbers(seed: int, state: State, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    path = tmp_path / ("w.pth" if seed % 2 else "w.safetensors")
    small = {key: value for key, value in state.items() if value.ndim < 2}
    torch.save(small, path) if seed % 2 else save_file(small, path)
    content = bytearray(path.read_bytes())
    for place in random.integers(0, min(len(content), 6000), 3):
        content[place] ^= 1 << int(random.integers(8))
    path.write_bytes(content)
    try:
        load_exactly(torch.nn.Identity(), read_state_dict(path), source=str(path))
    except CheckpointError:
        return
    pytest.fail("nothing fits a network without weights")


def test_weights_of_zeros_are_refused(state: State) -> None:
    """What a file holds that was not wholly copied: the header says all is there."""
    for name in (NAME, "layer2.0.bn1.running_var"):
        with pytest.raises(CheckpointError, match=rf"cannot be used: {name} holds zeros only"):
            load_exactly(build_backbone("resnet18"), {**state, name: state[name] * 0}, source="w")


def test_the_content_says_what_a_file_is(state: State, tmp_path: Path) -> None:
    for name in ("w.pth", "w.SAFETENSORS", "w"):
        save_file(state, tmp_path / name)
        assert torch.equal(read_state_dict(tmp_path / name)[NAME], state[NAME])
    torch.save(state, tmp_path / "w.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "w.safetensors")[NAME], state[NAME])


def test_networks_that_are_not_taken_are_named(state: State, tmp_path: Path) -> None:
    torch.save({"model": state, "model_ema": {k: v + 1 for k, v in state.items()}}, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match="the network is 'model'; not used: 'model_ema'"):
        assert torch.equal(read_state_dict(tmp_path / "w.pth")[NAME], state[NAME])
