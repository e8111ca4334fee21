"""OpenVINO files as backbones: every operation as OpenVINO computes it, and a whole network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from openvino import opset1
from openvino import opset13 as ops
from openvino.utils.node_factory import NodeFactory

from partreid.errors import CheckpointError, PartReIDError
from partreid.models.backbones import FineMap, build_backbone
from partreid.models.backbones.graph import FileBackbone
from partreid.models.backbones.openvino_file import read_openvino
from partreid.models.backbones.openvino_operations import OPERATIONS
from tests.models.backbone_contract import check_backbone
from tests.models.network_files import check_same, random, run_graph, run_openvino, tiny_openvino

Build = Callable[[Any], Any]
I64 = np.int64


def save(build: Build, path: Path, size: Sequence[int] = (-1, 3, 12, 8)) -> Path:
    images = ops.parameter(list(size), np.float32, name="images")
    openvino.save_model(openvino.Model([build(images)], [images], "g"), str(path), compress_to_fp16=False)
    return path


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, I64)


def learned(x: Any) -> Any:
    return ops.convolution(x, random(2, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])


def positive(x: Any) -> Any:
    return ops.add(ops.abs(x), np.float32(0.5))


def of(name: str, before: Build | None, *inputs: Any) -> Build:
    """The operation of a name, behind ``before`` if that is given."""
    return lambda x: getattr(ops, name)(x if before is None else before(x), *inputs)


def sizes(x: Any) -> Any:
    shape = ops.shape_of(x)
    batch = ops.unsqueeze(ops.gather(shape, np.array(0, I64), np.array(0, I64)), whole(0))
    area = ops.divide(ops.multiply(*(ops.gather(shape, whole(i), np.array(0, I64)) for i in (2, 3))), whole(2))
    return ops.reshape(x, ops.concat([batch, whole(-1), area], 0), special_zero=False)


def interpolated(told: Any, axes: Any = None, mode: str = "linear_onnx", **how: Any) -> Build:
    by = "scales" if np.asarray(told).dtype == np.float32 else "sizes"
    return lambda x: ops.interpolate(x, told, mode, by, axes=axes, **how)


def interpolate_4(x: Any, *inputs: Any) -> Any:
    how = {"mode": "linear_onnx", "shape_calculation_mode": "sizes", "coordinate_transformation_mode": "half_pixel",
           "nearest_mode": "round_prefer_floor", "antialias": False, "pads_begin": [0], "pads_end": [0],
           "cube_coeff": -0.75}  # fmt: skip
    return NodeFactory("opset4").create("Interpolate", [x, *(ops.constant(one) for one in inputs)], how)


SCALES = np.array([2, 2], np.float32)
PAD = (whole(0, 0, 2, 1), whole(0, 0, 1, 3))
CASES: dict[str, Build] = {
    "Convolution": lambda x: ops.convolution(x, random(4, 3, 3, 2), [2, 1], [1, 0], [1, 2], [1, 2]),
    "Convolution same_upper": of("convolution", None, random(4, 3, 4, 3), [2, 3], *[[0, 0]] * 2, [1, 1], "same_upper"),
    "Convolution same_lower": of("convolution", None, random(4, 3, 2, 4), [1, 3], *[[0, 0]] * 2, [1, 1], "same_lower"),
    "Convolution valid": of("convolution", None, random(4, 3, 2, 4), [1, 3], *[[0, 0]] * 2, [1, 1], "valid"),
    "GroupConvolution": lambda x: ops.group_convolution(x, random(3, 2, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]),
    "BatchNormInference": lambda x: ops.batch_norm_inference(
        x, random(3), random(3, seed=1), random(3, seed=2), np.abs(random(3)) + 0.1, 1e-3),
    "BatchNormInference 1": lambda x: opset1.batch_norm_inference(
        x, random(3), random(3, seed=1), random(3, seed=2), np.abs(random(3)) + 0.1, 1e-3),
    "GroupNormalization": lambda x: ops.group_normalization(
        ops.convolution(x, random(4, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]), random(4), random(4, seed=1), 2, 1e-4),
    "MVN": lambda x: ops.mvn(x, whole(2, 3), True, 1e-4, "inside_sqrt"),
    "MVN all": lambda x: ops.mvn(x, whole(1, 2, 3), True, 1e-4, "inside_sqrt"),
    "NormalizeL2": lambda x: ops.normalize_l2(x, whole(1), 1e-3, "add"),
    "NormalizeL2 max": lambda x: ops.normalize_l2(x, whole(1, 2), 0.9, "max"),
    "MatMul": lambda x: ops.matmul(x, random(5, 8), False, True),
    "MatMul a": lambda x: ops.matmul(x, random(12, 5), True, False),
    "PReLU": lambda x: ops.prelu(x, random(3)),
    "PReLU one": lambda x: ops.prelu(x, random(1)),
    "MaxPool": lambda x: ops.max_pool(x, [2, 2], [1, 1], [1, 0], [1, 1], [3, 3]).output(0),
    "MaxPool ceil": lambda x: ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "ceil").output(0),
    "MaxPool same": lambda x: ops.max_pool(x, [2, 3], [1, 1], [0, 0], [0, 0], [3, 3], auto_pad="same_lower").output(0),
    "MaxPool dilated": lambda x: ops.max_pool(x, [1, 1], [2, 3], [0, 0], [0, 0], [2, 2]).output(0),
    "AvgPool": lambda x: ops.avg_pool(x, [2, 2], [1, 1], [1, 1], [3, 3], True),
    "AvgPool counted": lambda x: ops.avg_pool(x, [2, 2], [1, 0], [1, 1], [3, 3], False),
    "AvgPool uneven": lambda x: ops.avg_pool(x, [1, 2], [1, 0], [0, 2], [3, 3], True),
    "AvgPool same": lambda x: ops.avg_pool(x, [2, 3], [0, 0], [0, 0], [3, 3], True, auto_pad="same_upper"),
    **{f"Reduce{name} {keep}": of(f"reduce_{name.lower()}", None, whole(1, -1), keep)
       for name in ("Mean", "Sum", "Max", "Min", "L2") for keep in (True, False)},
    **{name: of(name, None, random(3, 1, 1)) for name in (
        "add", "subtract", "multiply", "divide", "maximum", "minimum", "squared_difference")},
    "power": lambda x: ops.power(positive(x), np.float32(1.7)),
    "divide a number": lambda x: ops.divide(np.float32(2), positive(x)),
    **{name: of(name, learned) for name in (
        "relu", "sigmoid", "hsigmoid", "hswish", "swish", "mish", "softplus", "tanh", "erf", "exp", "abs", "negative",
        "floor", "ceiling")},
    **{name: of(name, positive) for name in ("log", "sqrt")},
    "Elu": lambda x: ops.elu(x, 0.7),
    "HardSigmoid": lambda x: ops.hard_sigmoid(x, np.float32(0.3), np.float32(0.4)),
    "Swish beta": lambda x: ops.swish(x, np.float32(1.5)),
    "Gelu": lambda x: ops.gelu(x, "erf"),
    "Gelu tanh": lambda x: ops.gelu(x, "tanh"),
    "Clamp": lambda x: ops.clamp(x, -0.5, 0.3),
    "Softmax": lambda x: ops.softmax(x, -2),
    "Reshape": lambda x: ops.reshape(x, whole(0, 3, -1), special_zero=True),
    "Transpose": lambda x: ops.transpose(x, whole(0, 2, 3, 1)),
    "Squeeze": lambda x: ops.squeeze(ops.reduce_mean(x, whole(2, 3), True), whole(3, -2)),
    "Unsqueeze": lambda x: ops.unsqueeze(x, whole(1, -1)),
    "sizes": sizes,
    "Gather": lambda x: ops.gather(x, whole(2, 0), np.array(1, I64)),
    "Gather one": lambda x: ops.gather(x, np.array(-1, I64), np.array(2, I64)),
    "Concat": lambda x: ops.concat([x, ops.relu(x)], 1),
    "Split": lambda x: ops.concat(ops.split(x, np.array(1, I64), 3).outputs()[::-1], 1),
    "VariadicSplit": lambda x: ops.concat(ops.variadic_split(x, np.array(2, I64), whole(3, -1, 2)).outputs()[::-1], 2),
    "StridedSlice": lambda x: ops.strided_slice(
        x, whole(0, 1, 2, 3), whole(0, 3, -1, 7), whole(1, 1, 2, 1), [1, 0, 0, 1], [1, 0, 0, 1]),
    "Slice": lambda x: ops.slice(x, whole(1, -7), whole(2**40, -1), whole(1, 2), whole(3, 2)),
    "Broadcast": lambda x: ops.multiply(x, ops.broadcast(ops.reduce_mean(x, whole(1), True), ops.shape_of(x))),
    "Convert": lambda x: ops.reshape(x, ops.convert(ops.floor(ops.convert(ops.shape_of(x), "f32")), "i64"), False),
    "Pad": lambda x: ops.pad(x, *PAD, "constant", np.float32(0.7)),
    "Pad reflect": lambda x: ops.pad(x, *PAD, "reflect"),
    "Pad edge": lambda x: ops.pad(x, *PAD, "edge"),
    "Interpolate": interpolated(SCALES, whole(2, 3)),
    "Interpolate sizes": interpolated(whole(7, 13), whole(2, 3)),
    "Interpolate align_corners": interpolated(whole(7, 13), whole(2, 3),
                                              coordinate_transformation_mode="align_corners"),
    "Interpolate nearest": interpolated(SCALES, whole(2, 3), "nearest", coordinate_transformation_mode="asymmetric",
                                        nearest_mode="floor"),
    "Interpolate nearest half": interpolated(whole(24, 4), whole(2, 3), "nearest"),
    "Interpolate 4": lambda x: interpolate_4(x, whole(24, 12), np.array([2, 1.5], np.float32), whole(2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations_are_computed_as_openvino_does(name: str, tmp_path: Path) -> None:
    path = save(CASES[name], tmp_path / "a.xml")
    check_same(read_openvino(path), path, run_openvino, (3, 12, 8), (1, 3))


def at_random(generator: np.random.Generator, kind: str) -> Build:
    """A window, or a size, of any form."""
    kernel, strides = generator.integers(1, 5, 2).tolist(), generator.integers(1, 4, 2).tolist()
    begin, end = ([int(generator.integers(0, k)) for k in kernel] for _ in range(2))
    auto = str(generator.choice(["explicit", "explicit", "same_upper", "same_lower", "valid"]))
    rounding, dilations = str(generator.choice(["floor", "ceil"])), generator.integers(1, 3, 2).tolist()
    either = bool(generator.random() < 0.5)
    if kind == "MaxPool":
        return lambda x: ops.max_pool(x, strides, dilations, begin, end, kernel, rounding, auto).output(0)
    if kind == "AvgPool":
        return lambda x: ops.avg_pool(x, strides, begin, end, kernel, either, rounding, auto)
    if kind == "Convolution":
        return lambda x: ops.convolution(x, random(4, 3, *kernel), strides, begin, end, dilations, auto)
    coordinates = str(generator.choice(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]))
    nearest = str(generator.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    scales = generator.choice([0.25, 0.5, 1, 1.5, 2, 3], 2).astype(np.float32)
    told = scales if either else generator.integers(1, 30, 2)
    mode = str(generator.choice(["nearest", "linear_onnx"]))
    return interpolated(told, whole(2, 3), mode, coordinate_transformation_mode=coordinates, nearest_mode=nearest)


@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "Convolution", "Interpolate"])
def test_windows_of_any_shape_are_computed_alike_or_refused(kind: str, tmp_path: Path) -> None:
    computed = 0
    for seed in range(30):
        generator = np.random.default_rng([seed, len(kind)])
        size = (1, 3, *generator.integers(5, 14, 2).tolist())
        try:
            path = save(at_random(generator, kind), tmp_path / f"{seed}.xml", size)
            found = run_graph(read_openvino(path), images := random(*size, seed=seed))
        except (RuntimeError, PartReIDError):  # OpenVINO itself refuses some forms
            continue
        computed += 1
        expected = run_openvino(path, images)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert computed > 5


def test_every_operation_is_tried(tmp_path: Path) -> None:
    tried = set()
    for build in CASES.values():
        images = ops.parameter([-1, 3, 12, 8], np.float32)
        tried |= {one.get_type_name() for one in openvino.Model([build(images)], [images], "g").get_ops()}
    assert {kind.lower() for kind in OPERATIONS} - {kind.lower() for kind in tried} == set()


REFUSED: dict[str, tuple[Build, str]] = {
    "linear": (interpolated(SCALES, whole(2, 3), "linear"), "mode = 'linear' is not supported"),
    "antialias": (interpolated(SCALES, whole(2, 3), antialias=True), "antialias = 'true'"),
    "symmetric": (lambda x: ops.pad(x, *PAD, "symmetric"), "pad_mode = 'symmetric'"),
    "outside": (lambda x: ops.mvn(x, whole(2, 3), True, 1e-4, "outside_sqrt"), "eps_mode = 'OUTSIDE_SQRT'"),
    "unknown": (lambda x: ops.round(x, "half_to_even"), "operation 'Round' .* is not supported"),
    "quantised": (lambda x: ops.fake_quantize(x, *np.float32([-1, 1, -1, 1]), 256), "take the file it was made from"),
    "bytes": (lambda x: ops.convolution(x, ops.convert(ops.constant(np.ones((4, 3, 1, 1), np.int8)), "f32"), [1, 1],
                                        [0, 0], [0, 0], [1, 1]), "of the type 'i8'"),
    "second answer": (lambda x: ops.convert(ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(1), "f32"),
                      "second answer of MaxPool"),
    "shrunk": (lambda x: ops.strided_slice(x, whole(0), whole(1), whole(1), [0], [0], shrink_axis_mask=[1]),
               "shrink_axis_mask is not supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_computed_exactly_is_refused_by_name(name: str, tmp_path: Path) -> None:
    build, message = REFUSED[name]
    path = save(build, tmp_path / "a.xml")
    with pytest.raises(CheckpointError, match=message):
        read_openvino(path)


@pytest.mark.parametrize("half", [False, True])
def test_the_contract_of_backbones(half: bool, tmp_path: Path) -> None:
    path = tiny_openvino(tmp_path / "a.xml", half=half)
    backbone = check_backbone(lambda weights: build_backbone(f"openvino/{path}", weights=weights), tmp_path)
    assert isinstance(backbone, FileBackbone)
    assert (backbone.stage_channels, backbone.vector_dim) == ({2: 4, 4: 8}, 6)
    names = {node.operation for node, _ in backbone._before.steps}
    assert "Add" not in names, "all sums of this network are biases, of convolutions and norms"
    fine = check_backbone(lambda weights: build_backbone(f"openvino/{path}", weights=weights, map_stride=2), tmp_path)
    assert isinstance(fine, FineMap)


@pytest.mark.parametrize("batch", [-1, 1])
def test_the_whole_network_is_that_of_openvino(batch: int, tmp_path: Path) -> None:
    path = tiny_openvino(tmp_path / "a.xml", (batch, 3, 64, 32))
    backbone = build_backbone(f"openvino/{path}").eval()
    images = random(3, 3, 64, 32)
    with torch.inference_mode():
        vectors = backbone.vector(backbone.stages(torch.tensor(images)))
    expected = np.concatenate([run_openvino(path, images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_bias_of_one_number_is_a_weight_and_a_factor_is_not(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        one = ops.convolution(x, random(1, 3, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1])
        biased = ops.add(one, random(1, 1, 1, 1, seed=1))
        return ops.multiply(ops.relu(biased), np.float32(0.5))

    graph = read_openvino(save(build, tmp_path / "a.xml"))
    assert sorted(array.size for array in graph.weights.values()) == [1, 27]
