"""ONNX files as backbones: every operation as onnxruntime computes it, and whole networks of PyTorch's exporters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from partreid.errors import CheckpointError, PartReIDError
from partreid.models.backbones import FineMap, build_backbone
from partreid.models.backbones.graph import FileBackbone
from partreid.models.backbones.onnx_file import read_onnx
from partreid.models.backbones.onnx_operations import OPERATIONS
from tests.models.backbone_contract import check_backbone
from tests.models.network_files import OnnxNet, check_same, random, run_graph, run_onnx, tiny_onnx

Build = Callable[[OnnxNet], str]
X = "images"
I64 = np.int64


def one(kind: str, *inputs: Any, **attributes: Any) -> Build:
    return lambda net: net(kind, X, *inputs, **attributes)


def unary(kind: str, **attributes: Any) -> Build:
    return lambda net: net(kind, net("Conv", X, random(2, 3, 1, 1)), **attributes)


def positive(kind: str, *inputs: Any, **attributes: Any) -> Build:
    return lambda net: net(kind, net("Add", net("Abs", X), np.array([0.5], np.float32)), *inputs, **attributes)


def split(opset_13: bool) -> Build:
    def build(net: OnnxNet) -> str:
        told = [np.array([1, 2])] if opset_13 else []
        parts = net("Split", X, *told, outputs=2 if told else 3, axis=1)
        return net("Concat", *reversed(parts), axis=1)

    return build


def sizes(net: OnnxNet) -> str:
    """What PyTorch writes for ``x.view(x.size(0), x.size(1), x.size(2) * x.size(3))``."""
    shape = net("Shape", X)
    first = [net("Unsqueeze", net("Gather", shape, np.array(i), axis=0), np.array([0])) for i in (0, 1)]
    rest = net("Mul", *(net("Gather", shape, np.array(i), axis=0) for i in (2, 3)))
    half = net("Div", net("Cast", rest, to=7), np.array(2))
    return net("Reshape", X, net("Concat", *first, net("Unsqueeze", half, np.array([0])), np.array([-1]), axis=0))


def twice(net: OnnxNet) -> str:
    """Upsampling to twice the size, which is computed as old exporters do."""
    shape = net("Shape", X)
    sides = [net("Gather", shape, np.array(i), axis=0) for i in (2, 3)]
    large = [net("Cast", net("Floor", net("Mul", net("Cast", s, to=1), np.array(2, np.float32))), to=7) for s in sides]
    new = net("Concat", *(net("Unsqueeze", s, np.array([0])) for s in large), axis=0)
    size = net("Concat", net("Slice", shape, np.array([0]), np.array([2]), np.array([0])), new, axis=0)
    return net("Resize", X, "", "", size, mode="linear", coordinate_transformation_mode="half_pixel")


def padded(net: OnnxNet) -> str:
    """What the old exporter of PyTorch writes for ``F.pad(x, (1, 0, 2, 1))``."""
    zeros = net("ConstantOfShape", np.array([4]), value=onnx.numpy_helper.from_array(np.array([0])))
    rows = net("Reshape", net("Concat", np.array([1, 0, 2, 1]), zeros, axis=0), np.array([-1, 2]))
    back = net("Slice", rows, np.array([-1]), np.array([-(2**63) + 1]), np.array([0]), np.array([-1]))
    flat = net("Reshape", net("Transpose", back, perm=[1, 0]), np.array([-1]))
    return net("Pad", X, net("Cast", flat, to=7), np.array(0.5, np.float32), mode="constant")


def expanded(net: OnnxNet) -> str:
    ones = net("ConstantOfShape", np.array([4]), value=onnx.numpy_helper.from_array(np.array([1])))
    want = np.array([-1, 3, 12, 8])
    size = net("Where", net("Equal", want, np.array([-1])), ones, want)
    return net("Mul", X, net("Expand", net("ReduceMean", X, axes=[2, 3], keepdims=1), size))


def normalised(net: OnnxNet) -> str:
    """``F.normalize``."""
    length = net("ReduceL2", X, axes=[1], keepdims=1)
    return net("Div", X, net("Expand", net("Clip", length, np.array(1e-12, np.float32)), net("Shape", X)))


C1 = np.array([0.3], np.float32)
NORM = (random(3, seed=1), random(3, seed=2))
CASES: dict[str, tuple[Build, int]] = {
    "Conv": (one("Conv", random(4, 3, 3, 3), random(4, seed=1), pads=[1, 0, 1, 2], strides=[2, 1]), 17),
    "Conv dilated": (one("Conv", random(4, 3, 3, 3), dilations=[2, 1], pads=[2, 1, 2, 1]), 9),
    "Conv depthwise": (one("Conv", random(6, 1, 3, 3), group=3), 11),
    "Conv SAME_UPPER": (one("Conv", random(4, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 3]), 17),
    "Conv SAME_LOWER": (one("Conv", random(4, 3, 2, 4), auto_pad="SAME_LOWER", strides=[1, 3]), 17),
    "Conv VALID": (one("Conv", random(4, 3, 2, 2), auto_pad="VALID"), 17),
    "Conv 1-d": (lambda n: n("Conv", n("ReduceMean", X, axes=[2], keepdims=0), random(4, 3, 3), pads=[1, 1]), 17),
    "BatchNormalization": (one("BatchNormalization", *NORM, random(3), np.abs(random(3)) + 0.1, epsilon=1e-3), 9),
    "BatchNormalization 2-d": (lambda n: n("BatchNormalization", n("Flatten", n("GlobalMaxPool", X)), *NORM, random(3),
                                           np.abs(random(3)) + 0.1), 15),
    "InstanceNormalization": (one("InstanceNormalization", *NORM), 17),
    "InstanceNormalization 1-d": (lambda n: n("InstanceNormalization", n("Reshape", X, np.array([0, 3, -1])), *NORM),
                                  17),
    "LayerNormalization": (one("LayerNormalization", random(8), random(8, seed=1), axis=-1), 17),
    "LayerNormalization 3": (one("LayerNormalization", random(12, 8), epsilon=1e-3, axis=2), 17),
    "GroupNormalization": (lambda n: n("GroupNormalization", n("Conv", X, random(4, 3, 1, 1)), random(4),
                                       random(4, seed=1), num_groups=2), 21),
    "PRelu": (one("PRelu", random(3, 1, 1)), 9),
    "PRelu one": (one("PRelu", random(1)), 9),
    "LeakyRelu": (unary("LeakyRelu", alpha=0.2), 9),
    "Clip attributes": (unary("Clip", min=-0.5, max=0.3), 9),
    "Clip": (unary("Clip"), 13),
    "Clip both": (one("Clip", np.array(-0.5, np.float32), np.array(0.3, np.float32)), 13),
    "Clip max": (one("Clip", "", np.array(0.3, np.float32)), 13),
    "HardSigmoid": (unary("HardSigmoid", alpha=0.3, beta=0.4), 9),
    "HardSwish": (unary("HardSwish"), 14),
    "Elu": (unary("Elu", alpha=0.7), 9),
    "Mish": (unary("Mish"), 18),
    "Gelu": (unary("Gelu"), 20),
    "Gelu tanh": (unary("Gelu", approximate="tanh"), 20),
    "Softmax 12": (unary("Softmax", axis=2), 12),
    "Softmax 13": (unary("Softmax", axis=1), 13),
    **{kind: (unary(kind), 17) for kind in ("Relu", "Sigmoid", "Tanh", "Erf", "Softplus", "Exp", "Neg", "Abs", "Floor",
                                            "Ceil", "Identity", "Dropout")},
    **{kind: (positive(kind), 17) for kind in ("Sqrt", "Log", "Reciprocal")},
    "Pow": (positive("Pow", np.array([1.7], np.float32)), 13),
    **{kind: (one(kind, random(3, 1, 1)), 14) for kind in ("Add", "Sub", "Mul", "Div")},
    **{kind: (one(kind, random(3, 1, 1), np.array(0.1, np.float32)), 13) for kind in ("Max", "Min")},
    "Sub from a number": (lambda n: n("Sub", np.array(1, np.float32), X), 14),
    "MatMul": (one("MatMul", random(8, 5)), 13),
    "Gemm": (lambda n: n("Gemm", n("Flatten", X), random(288, 5), random(5), alpha=0.5, beta=2.0), 13),
    "Gemm transB": (lambda n: n("Gemm", n("Flatten", X, axis=-2), random(5, 96), transB=1), 13),
    "MaxPool": (one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 12),
    "MaxPool uneven": (one("MaxPool", kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 2]), 12),
    "MaxPool ceil": (one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 12),
    "MaxPool dilated": (one("MaxPool", kernel_shape=[3, 2], dilations=[2, 3], strides=[1, 2]), 12),
    "MaxPool SAME": (one("MaxPool", kernel_shape=[3, 3], strides=[2, 3], auto_pad="SAME_UPPER"), 12),
    "AveragePool": (one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 12),
    "AveragePool counted": (one("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 2, 1], count_include_pad=1), 12),
    "AveragePool uneven": (one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 2, 0]), 12),
    "AveragePool ceil": (one("AveragePool", kernel_shape=[4, 2], strides=[4, 2], ceil_mode=1), 12),
    "GlobalAveragePool": (one("GlobalAveragePool"), 9),
    "GlobalMaxPool": (one("GlobalMaxPool"), 9),
    **{f"{kind} {opset}": (one(kind, axes=[2, -1], keepdims=opset % 2), opset) for opset in (12, 11)
       for kind in ("ReduceMean", "ReduceSum", "ReduceL2", "ReduceMax", "ReduceMin")},
    "ReduceSum input": (one("ReduceSum", np.array([1]), keepdims=0), 13),
    "ReduceMean input": (one("ReduceMean", np.array([2, 3])), 18),
    "Flatten 2": (one("Flatten", axis=2), 13),
    "Reshape": (one("Reshape", np.array([0, 3, -1, 4])), 13),
    "Transpose": (one("Transpose", perm=[0, 2, 3, 1]), 13),
    "Transpose reversed": (one("Transpose"), 13),
    "Squeeze": (lambda n: n("Squeeze", n("GlobalMaxPool", X), np.array([2, -1])), 13),
    "Squeeze attribute": (lambda n: n("Squeeze", n("GlobalMaxPool", X), axes=[3]), 11),
    "Unsqueeze": (one("Unsqueeze", np.array([1, -1])), 13),
    "Unsqueeze attribute": (one("Unsqueeze", axes=[0, 3]), 11),
    "Concat": (one("Concat", X, axis=-1), 13),
    "Split 12": (split(False), 12),
    "Split 13": (split(True), 13),
    "Slice 9": (one("Slice", starts=[1, -5], ends=[3, 2**31], axes=[1, 2]), 9),
    "Slice": (one("Slice", np.array([1, -7]), np.array([2**63 - 1, -1]), np.array([3, 2]), np.array([2, 3])), 13),
    "Gather": (one("Gather", np.array([2, -3]), axis=1), 13),
    "Gather one": (one("Gather", np.array(-1), axis=2), 13),
    "Gather to the parts of a shape": (sizes, 13),
    "Shape in part": (lambda n: n("Reshape", X, n("Concat", n("Shape", X, end=2), np.array([-1]), axis=0)), 15),
    "Expand": (expanded, 13),
    "ReduceL2, Clip, Expand and Div": (normalised, 13),
    "Pad": (one("Pad", np.array([0, 1, 2, 1, 0, 0, 1, 3]), np.array(0.7, np.float32)), 13),
    "Pad attribute": (one("Pad", pads=[0, 0, 2, 1, 0, 0, 1, 3], mode="reflect"), 10),
    "Pad edge": (one("Pad", np.array([2, 1, 1, 3]), "", np.array([2, -1]), mode="edge"), 18),
    "Pad cut": (one("Pad", np.array([0, 0, -1, 0, 0, 0, 0, -2])), 13),
    "Pad by the old exporter": (padded, 13),
    "Cast": (one("Cast", to=1), 13),
    "Resize nearest": (one("Resize", "", np.array([1, 1, 2, 3], np.float32), mode="nearest",
                           coordinate_transformation_mode="asymmetric", nearest_mode="floor"), 13),
    "Resize nearest down": (one("Resize", "", np.array([1, 1, 0.5, 0.25], np.float32), mode="nearest"), 13),
    "Resize linear": (one("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear"), 13),
    "Resize align_corners": (one("Resize", "", "", np.array([1, 3, 7, 13]), mode="linear",
                                 coordinate_transformation_mode="align_corners"), 13),
    "Resize pytorch_half_pixel": (one("Resize", np.zeros(0, np.float32), np.array([1, 1, 1.5, 1.5], np.float32),
                                      mode="linear", coordinate_transformation_mode="pytorch_half_pixel"), 11),
    "Resize 10": (one("Resize", np.array([1, 1, 2, 2], np.float32)), 10),
    "Upsample": (one("Upsample", np.array([1, 1, 2, 2], np.float32)), 9),
    "Resize to what is computed": (twice, 13),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations_are_computed_as_onnxruntime_does(name: str, tmp_path: Path) -> None:
    build, opset = CASES[name]
    net = OnnxNet()
    path = net.save(tmp_path / "a.onnx", build(net), opset=opset)
    batches = (1,) if "align_corners" in name else (1, 2, 5)
    check_same(read_onnx(path), path, run_onnx, (3, 12, 8), batches)


def window(generator: np.random.Generator, kind: str) -> dict[str, Any]:
    """Kernel, strides and padding at random."""
    kernel, strides = generator.integers(1, 5, 2).tolist(), generator.integers(1, 4, 2).tolist()
    how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if generator.random() < 0.7:
        how["pads"] = [int(generator.integers(0, kernel[side % 2])) for side in range(4)]
    else:
        how["auto_pad"] = str(generator.choice(["SAME_UPPER", "SAME_LOWER"]))
    if kind != "AveragePool":
        how["dilations"] = generator.integers(1, 3, 2).tolist()
    if kind != "Conv":
        how["ceil_mode"] = int(generator.random() < 0.5)
    if kind == "AveragePool":
        how["count_include_pad"] = int(generator.random() < 0.5)
    return how


def resizing(generator: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Scales or sizes at random."""
    how = {
        "mode": ["nearest", "linear"],
        "coordinate_transformation_mode": ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"],
        "nearest_mode": ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
    }
    scales = ["", np.float32([1, 1, *generator.choice([0.25, 0.5, 1, 1.5, 2, 3], 2)])]
    told = scales if generator.random() < 0.5 else ["", "", np.array([1, 3, *generator.integers(1, 30, 2)])]
    return told, {name: str(generator.choice(values)) for name, values in how.items()}


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "Conv", "Resize"])
def test_windows_of_any_shape_are_computed_alike_or_refused(kind: str, tmp_path: Path) -> None:
    computed = 0
    for seed in range(40):
        generator, net = np.random.default_rng([seed, len(kind)]), OnnxNet()
        told, how = resizing(generator) if kind == "Resize" else ([], window(generator, kind))
        if kind == "Conv":
            told = [random(4, 3, *how["kernel_shape"])]
        size = (3, *generator.integers(5, 14, 2).tolist())
        path = net.save(tmp_path / f"{seed}.onnx", net(kind, X, *told, **how), (1, *size), 18)
        try:
            found = run_graph(read_onnx(path), images := random(1, *size, seed=seed))
        except PartReIDError:
            continue
        try:
            expected = run_onnx(path, images)
        except Exception:  # onnxruntime has errors of its own, for forms that it cannot compute
            continue
        computed += 1
        assert found.shape == expected.shape, how
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=str(how))
    assert computed > 10


def test_every_operation_is_tried() -> None:
    tried = set()
    for build, _ in CASES.values():
        net = OnnxNet()
        build(net)
        tried |= {node.op_type for node in net.nodes}
    assert set(OPERATIONS) - tried == set()


REFUSED: dict[str, tuple[Build, int, str]] = {
    "group norm by groups": (one("GroupNormalization", random(3), random(3), num_groups=3, nothing=1), 20, "nothing"),
    "antialias": (one("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear", antialias=1), 18, "antialias"),
    "cubic": (one("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="cubic"), 13, "mode = 'cubic'"),
    "asymmetric linear": (one("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear",
                              coordinate_transformation_mode="asymmetric"), 13, "'asymmetric' is not supported"),
    "wrap": (one("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="wrap"), 19, "mode = 'wrap'"),
    "training": (one("BatchNormalization", *NORM, *NORM, training_mode=1), 15, "training_mode = 1"),
    "unknown": (one("Einsum", equation="i->i"), 13, "operation 'Einsum' 'v0': it is not supported"),
    "foreign": (one("Relu", domain="com.microsoft"), 13, "domain 'com.microsoft'"),
    "old": (one("Relu"), 6, "operation set is 6"),
    "new": (one("Relu"), 99, "operation set is 99"),
    "quantised": (one("QuantizeLinear", np.array(0.1, np.float32), np.array(0, np.uint8)), 13, "take the file it was"),
    "second answer": (lambda n: n("Identity", n("MaxPool", X, outputs=2, kernel_shape=[2, 2])[1]), 13, "second answer"),
    "to whole numbers": (one("Cast", to=3), 13, "to = 3"),
    "dilated mean": (one("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), 19, "dilated means"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_computed_exactly_is_refused_by_name(name: str, tmp_path: Path) -> None:
    build, opset, message = REFUSED[name]
    net = OnnxNet()
    path = net.save(tmp_path / "a.onnx", build(net), opset=opset)
    with pytest.raises(CheckpointError, match=message):
        read_onnx(path)


class Small(nn.Module):
    """Layers that exporters write in several operations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(3, 2, 1)
        )
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.GroupNorm(2, 8), nn.Hardswish(), nn.GELU())
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images)
        x = x + nn.functional.interpolate(self.deep(x), scale_factor=2.0, mode="bilinear")
        x = nn.functional.silu(x).permute(0, 2, 3, 1)
        x = self.norm(x).permute(0, 3, 1, 2)
        return nn.functional.normalize(self.head(x.mean((2, 3))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 11), (False, 17), (True, 18), (True, 20)])
def test_networks_that_pytorch_writes(dynamo: bool, opset: int, tmp_path: Path) -> None:
    module = Small().eval()
    for value in module.state_dict().values():
        value.normal_(0.5, 0.1) if value.is_floating_point() else None
    path = tmp_path / "a.onnx"
    how: dict[str, Any] = {"dynamo": True, "dynamic_shapes": ({0: "n"},), "external_data": False, "verbose": False}
    if not dynamo:
        how = {"dynamo": False, "dynamic_axes": {"images": {0: "n"}}, "do_constant_folding": opset == 17}
    torch.onnx.export(module, (torch.randn(2, 3, 64, 32),), path, input_names=["images"], opset_version=opset, **how)
    backbone = build_backbone(f"onnx/{path}").eval()
    assert isinstance(backbone, FileBackbone)
    assert (backbone.channels, backbone.output_stride, backbone.vector_dim, backbone.size) == (8, 4, 5, (64, 32))
    for batch in (1, 3):
        images = torch.randn(batch, 3, 64, 32)
        with torch.inference_mode():
            vector = backbone.vector(backbone.stages(images))
        torch.testing.assert_close(vector, module(images), rtol=1e-5, atol=1e-5)
    learned = sum(p.numel() for p in module.parameters())
    found = sum(p.numel() for p in backbone.parameters())
    assert found >= learned - 40, "exporters fold batch normalisation; everything else stays to be trained"


def test_the_contract_of_backbones(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "a.onnx")
    backbone = check_backbone(lambda weights: build_backbone(f"onnx/{path}", weights=weights), tmp_path)
    assert isinstance(backbone, FileBackbone)
    assert (backbone.stage_channels, backbone.vector_dim) == ({2: 4, 4: 8}, 6)
    assert {name for name, _ in backbone.named_buffers()} == {"weights.w4", "weights.w5"}, "the statistics"
    check_backbone(lambda weights: build_backbone(f"onnx/{path}#gated", weights=weights), tmp_path)
    fine = check_backbone(lambda weights: build_backbone(f"onnx/{path}", weights=weights, map_stride=2), tmp_path)
    assert isinstance(fine, FineMap)
    assert fine.channels == 12


def test_statistics_are_known_behind_other_operations(tmp_path: Path) -> None:
    """Exporters write equal weights once, and ``Identity`` for the others; halves are cast."""
    net = OnnxNet()
    norm = [net("Identity", random(4, seed=2), name="scale"), random(4, seed=3), net("Cast", random(4), to=1)]
    x = net("Conv", "images", random(4, 3, 2, 2), strides=[2, 2])
    x = net("BatchNormalization", x, *norm, net("Identity", net.weight(np.abs(random(4)) + 0.5, "spread")))
    backbone = build_backbone(f"onnx/{net.save(tmp_path / 'a.onnx', x)}")
    assert {name for name, _ in backbone.named_parameters()} == {"weights.w0", "weights.w2", "weights.w4"}
    assert {name for name, _ in backbone.named_buffers()} == {"weights.w1", "weights.spread"}


def test_a_file_for_one_image_serves_any_number(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "a.onnx", (1, 3, 64, 32), sizes_as_made=True)
    backbone = build_backbone(f"onnx/{path}").eval()
    images = random(3, 3, 64, 32)
    with torch.inference_mode():
        vectors = backbone.vector(backbone.stages(torch.tensor(images)))
    expected = np.concatenate([run_onnx(path, images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_halves_and_files_beside(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "a.onnx")
    expected = build_backbone(f"onnx/{tmp_path / 'a.onnx'}").state_dict()
    onnx.save(onnx.load(path), tmp_path / "b.onnx", save_as_external_data=True, location="b.bin", size_threshold=0)
    beside = build_backbone(f"onnx/{tmp_path / 'b.onnx'}").state_dict()
    assert all(torch.equal(beside[key], value) for key, value in expected.items())
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), tensor.name))
    spelled = onnx.helper.make_tensor("w0", 10, [4, 3, 3, 3], random(4, 3, 3, 3).astype(np.float16).reshape(-1))
    model.graph.initializer[0].CopyFrom(spelled)
    onnx.save(model, tmp_path / "c.onnx")
    halves = build_backbone(f"onnx/{tmp_path / 'c.onnx'}").state_dict()
    assert all(torch.equal(halves[key], value.half().float()) for key, value in expected.items())
    assert all(value.dtype == torch.float32 for value in halves.values())
