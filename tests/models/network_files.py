"""Small networks in files, made for tests, and what the programs they are made for compute of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper

from partreid.models.backbones.graph import _shapes
from partreid.models.backbones.nodes import Graph, Plan

Size = tuple[Any, ...]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class OnnxNet:
    """Nodes and weights of a file that is being written; arrays among the inputs become weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, array: Any, name: str = "") -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def __call__(self, kind: str, *inputs: Any, outputs: int = 0, name: str = "", **attributes: Any) -> Any:
        names = [one if isinstance(one, str) else self.weight(one, f"w{len(self.weights)}") for one in inputs]
        name = name or f"v{len(self.nodes)}"
        given = [f"{name}_{i}" for i in range(outputs)] if outputs else [name]
        self.nodes.append(helper.make_node(kind, names, given, name=name, **attributes))
        return given if outputs else given[0]

    def proto(self, output: str, size: Size = ("n", 3, 12, 8), opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("images", TensorProto.FLOAT, size)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], self.weights,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

    def save(self, path: Path, output: str, size: Size = ("n", 3, 12, 8), opset: int = 17) -> Path:
        onnx.save(self.proto(output, size, opset), path)
        return path


def run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def run_openvino(path: Path, images: np.ndarray) -> np.ndarray:
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return np.asarray(openvino.Core().compile_model(str(path), "CPU", hints)(images)[0])


def run_graph(graph: Graph, images: np.ndarray) -> np.ndarray:
    """What is computed here, and that the sizes found without computing were right."""
    given = {name: torch.tensor(np.asarray(array, np.float32)) for name, array in graph.weights.items()}
    plan = Plan(graph.nodes, {graph.output}, graph.source)
    answer = plan.run({**graph.constants, **given, graph.input: torch.tensor(images)})[graph.output]
    assert tuple(answer.shape) == _shapes(graph, images.shape)[graph.output]
    return np.asarray(answer.detach())


def check_same(
    graph: Graph, path: Path, run: Callable[[Path, np.ndarray], np.ndarray], size: Sequence[int], batches: Sequence[int]
) -> None:
    """That a file's network computes here what it computes in the program it was made for."""
    for batch in batches:
        images = random(batch, *size, seed=batch)
        expected = run(path, images)
        found = run_graph(graph, images)
        assert found.shape == expected.shape
        assert np.abs(expected).max() > 1e-3, "nothing to compare"
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def tiny_onnx(path: Path, size: Size = ("n", 3, 64, 32), *, opset: int = 17, sizes_as_made: bool = False) -> Path:
    """Two stages of convolutions, a gate, norms, pooling and a linear layer, as PyTorch writes them.

    Args:
        sizes_as_made: the answer is reshaped to [1, C], as in files for one image.
    """
    net = OnnxNet()
    x = net("Conv", "images", random(4, 3, 3, 3), random(4, seed=1), pads=[1, 1, 1, 1], strides=[2, 2])
    norm = [random(4, seed=2), random(4, seed=3), random(4, seed=4), np.abs(random(4, seed=5)) + 0.5]
    x = net("Relu", net("BatchNormalization", x, *norm, name="norm"), name="stage1")
    y = net("Conv", x, random(8, 2, 3, 3, seed=6), pads=[1, 1, 1, 1], strides=[2, 2], group=2)
    y = net("InstanceNormalization", y, random(8, seed=7), random(8, seed=8))
    gate = net("Conv", net("GlobalAveragePool", y), random(8, 8, 1, 1, seed=9), random(8, seed=10))
    y = net("Mul", y, net("Sigmoid", gate), name="gated")
    y = net("Add", y, random(1, 8, 1, 1, seed=11), name="stage2")
    v = net("GlobalAveragePool", y)
    v = net("Reshape", v, np.array([1, 8] if sizes_as_made else [0, -1])) if sizes_as_made else net("Flatten", v)
    v = net("Gemm", v, random(6, 8, seed=12), random(6, seed=13), transB=1, name="embedding")
    return net.save(path, v, size, opset)


def tiny_openvino(path: Path, size: Size = (-1, 3, 64, 32), *, half: bool = False) -> Path:
    """As :func:`tiny_onnx`, as OpenVINO's converter writes it."""
    from openvino import opset13 as ops

    def conv(x: Any, *shape: int, stride: int = 2, seed: int) -> Any:
        weight, pad = random(*shape, seed=seed), [shape[-1] // 2] * 2
        function = ops.convolution if len(shape) == 4 else ops.group_convolution
        return function(x, weight, [stride] * 2, pad, pad, [1, 1])

    images = ops.parameter(list(size), np.float32, name="images")
    x = ops.add(conv(images, 4, 3, 3, 3, seed=0), random(1, 4, 1, 1, seed=1))
    x = ops.relu(x, name="stage1")
    y = conv(x, 2, 4, 2, 3, 3, seed=2)
    y = ops.mvn(y, [2, 3], True, 1e-5, "inside_sqrt")
    y = ops.add(ops.multiply(y, random(1, 8, 1, 1, seed=3)), random(1, 8, 1, 1, seed=4))
    gate = ops.add(conv(ops.reduce_mean(y, [2, 3], True), 8, 8, 1, 1, stride=1, seed=5), random(1, 8, 1, 1, seed=6))
    y = ops.multiply(y, ops.sigmoid(gate), name="gated")
    y = ops.prelu(y, random(8, seed=7))
    y.set_friendly_name("stage2")
    v = ops.reshape(ops.reduce_mean(y, [2, 3], True), [1 if size[0] == 1 else 0, 8], special_zero=True)
    v = ops.matmul(v, random(6, 8, seed=8), False, True)
    openvino.save_model(openvino.Model([v], [images], "g"), str(path), compress_to_fp16=half)
    return path
