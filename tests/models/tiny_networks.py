"""Tiny network files: two convolutions, a gate, pooling, an embedding of 6 numbers; images 64×32, a map of stride 8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.models.backbones import preprocess_for
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint
from partreid.models.model_config import ModelConfig

IMAGENET_BYTES = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""Mean and deviation of red, green, blue in 0..255."""
SIZE = (64, 32)
KINDS = {".xml": "openvino/", ".onnx": "onnx/"}


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Random numbers that keep the maps of about the same size."""
    random = np.random.default_rng(seed)
    shapes = {"first": (8, 3, 5, 5), "second": (12, 8, 3, 3), "gate": (12, 12, 1, 1), "linear": (12, 6)}
    return {name: random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
            for name, shape in shapes.items()}  # fmt: skip


def save_openvino(
    path: Path, *, seed: int = 0, turned: bool = False, normalise: Sequence[Sequence[float]] | None = None,
    said: dict[str, str] | None = None, activation: str = "relu", fixed: bool = False,
) -> Path:  # fmt: skip
    """Write ``path`` (.xml) and its ``.bin``.

    Args:
        path: the file. seed: of the weights. turned: whether it turns the channels round first.
        normalise: mean to subtract, deviation to divide by, behind that.
        said: what stands among the converter's parameters. activation: "relu" or "sigmoid".
        fixed: whether it pools under a window of the map's size, and so answers for images of :data:`SIZE` only.
    """
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    def number(value: Any) -> Any:
        return ops.constant(np.asarray(value, np.float32))

    def learned(name: str) -> Any:
        weight = number(numbers[name])
        weight.set_friendly_name(name)  # names that OpenVINO gives count all constants of the process
        return weight

    def convolved(x: Any, name: str, stride: int, pad: int) -> Any:
        return ops.convolution(x, learned(name), [stride] * 2, [pad] * 2, [pad] * 2, [1, 1], name=name + "_map")

    numbers = weights(seed)
    images = x = ops.parameter([1, 3, *SIZE], np.float32, name="images")
    if turned:
        x = ops.gather(x, ops.constant(np.array([2, 1, 0])), ops.constant(np.array([1])))
    if normalise is not None:
        mean, deviation = (np.asarray(values).reshape(1, 3, 1, 1) for values in normalise)
        x = ops.divide(ops.subtract(x, number(mean)), number(deviation))
    x = getattr(ops, activation)(convolved(x, "first", 4, 2))
    x = ops.relu(convolved(x, "second", 2, 1))
    pooled = ops.reduce_mean(x, ops.constant(np.array([2, 3])), keep_dims=True)
    x = ops.multiply(x, ops.sigmoid(convolved(pooled, "gate", 1, 0)))
    if fixed:
        x = ops.avg_pool(x, [8, 4], [0, 0], [0, 0], [8, 4], True)
        x = ops.reshape(x, ops.constant(np.array([1, 12])), False)
    else:
        x = ops.reduce_mean(x, ops.constant(np.array([2, 3])), keep_dims=False)
    model = openvino.Model([ops.matmul(x, learned("linear"), False, False)], [images])
    for key, value in (said or {}).items():
        model.set_rt_info(value, ["conversion_parameters", key])
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def named(path: Path) -> str:
    """The name of a backbone that is read from a file."""
    return f"{KINDS[path.suffix]}{path}"


def save_onnx(
    path: Path, *, turned: bool = False, normalise: Sequence[Sequence[float]] | None = None, beside: str | None = None
) -> Path:
    """The same network as PyTorch's exporter writes it: for any number of images.

    Args:
        path, turned, normalise: as of :func:`save_openvino`. beside: a file for its numbers, by its name.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    numbers = weights()
    sizes = {"first": (4, 2), "second": (2, 1), "gate": (1, 0)}

    def convolved(x: str, name: str) -> Any:
        stride, pad = sizes[name]
        kernel = list(numbers[name].shape[2:])
        return helper.make_node("Conv", [x, name], [name + "_map"], kernel_shape=kernel, strides=[stride] * 2,
                                pads=[pad] * 4)  # fmt: skip

    nodes, x, first = [], "images", dict[str, np.ndarray]()
    if turned:
        first["order"] = np.array([2, 1, 0])
        nodes.append(helper.make_node("Gather", [x, "order"], [x := "turned"], axis=1))
    if normalise is not None:
        for name, kind, values in zip(("mean", "deviation"), ("Sub", "Div"), normalise, strict=True):
            first[name] = np.asarray(values, np.float32).reshape(1, 3, 1, 1)
            nodes.append(helper.make_node(kind, [x, name], [x := f"without_{name}"]))
    nodes += [
        convolved(x, "first"),
        helper.make_node("Relu", ["first_map"], ["a"]),
        convolved("a", "second"),
        helper.make_node("Relu", ["second_map"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["pooled"]),
        convolved("pooled", "gate"),
        helper.make_node("Sigmoid", ["gate_map"], ["open"]),
        helper.make_node("Mul", ["b", "open"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"], axis=1),
        helper.make_node("Gemm", ["e", "linear"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *SIZE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(array, name) for name, array in (first | numbers).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=beside is not None, location=beside, size_threshold=0)
    return path


def model_of(name: str, **fields: object) -> Checkpoint:
    """Five parts on the network file of a name, with its own embedding."""
    torch.manual_seed(0)
    config = ModelConfig.parse({"backbone": name, "parts": "five", "own_embedding": True, **fields})
    return Checkpoint(build_network(config, 3).eval(), preprocess_for(name))
