"""From a network to ONNX, preprocessing inside, and to OpenVINO: ``.xml`` (the graph) and ``.bin`` (the weights)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from partreid.errors import ExportError, needs_extra
from partreid.export.network import ExportedNetwork
from partreid.runners._export_info import INPUT, METADATA_KEY, OUTPUTS, ExportInfo

OPSET = 18
"""Version of the standard operators. onnxruntime reads it from 1.14 on, TensorRT from 8.6 on."""


def to_onnx(network: ExportedNetwork, info: ExportInfo) -> Any:
    """An ``onnx.ModelProto`` that takes bytes. The network is on the CPU, in evaluation mode."""
    with needs_extra("export", "Exporting"):
        import onnxscript  # noqa: F401
    # The tracer treats the sizes 0 and 1 specially. A graph traced with 3 is valid for any size.
    return traced(network, torch.zeros(3, *info.preprocess.size, 3, dtype=torch.uint8), OUTPUTS, name=info.network)


def traced(network: nn.Module, example: Tensor, outputs: Sequence[str], *, name: str) -> Any:
    """An ``onnx.ModelProto`` that ONNX's checker and shape inference accept.

    Args:
        network: on the CPU, in evaluation mode. name: for messages. example: three images. outputs: their names.
    """
    with needs_extra("export", "Exporting"):
        import onnx
        import onnxscript  # noqa: F401 - PyTorch's exporter needs it
    with torch.no_grad(), _quiet():
        try:
            program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=list(outputs),
                verbose=False,
            )  # fmt: skip
            assert exported is not None
            model = exported.model_proto
            _name_batch(model)
            if example.dtype == torch.uint8:
                _cast_first(model)
            # Strictly: a shape that cannot be inferred, or contradicts the written one, is an error.
            inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
            onnx.checker.check_model(inferred, full_check=True)
        except Exception as error:  # the tracer, the translator and ONNX have no common base
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ExportError(f"{name} cannot be exported to ONNX: {line}") from error
    return inferred


def save_onnx(model: Any, info: ExportInfo, path: Path) -> None:
    """Write a model into one file, with ``info`` in its metadata."""
    import onnx

    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    model.producer_name, model.producer_version = "partreid", info.partreid
    try:
        onnx.save(model, path)
    except ValueError as error:  # of Protocol Buffers: 2 GiB
        raise ExportError(f"{path} cannot be written as one file: {error}") from None


def _name_batch(model: Any) -> None:
    """Call the free dimension "batch" wherever the tracer wrote a number of its own."""
    graph = model.graph
    (free,) = {d.dim_param for d in graph.input[0].type.tensor_type.shape.dim if d.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == free:
                dimension.dim_param = "batch"


def _cast_first(model: Any) -> None:
    """Let only the cast to numbers read the bytes, because TensorRT requires it. Sizes are read from the numbers."""
    nodes = model.graph.node
    (cast,) = [node for node in nodes if node.op_type == "Cast" and node.input[0] == INPUT]
    nodes.remove(cast)
    nodes.insert(0, cast)
    for node in nodes[1:]:
        for index, name in enumerate(node.input):
            if name == INPUT:
                node.input[index] = cast.output[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of PyTorch's exporter about its own deprecated calls and a missing torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def to_openvino(model: Any) -> Any:
    """An ``openvino.Model`` of an ``onnx.ModelProto``, with the same names of input and outputs."""
    with needs_extra("export", "Exporting to OpenVINO"):
        import openvino
    try:
        return openvino.Core().read_model(model.SerializeToString())
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot read the exported network: {str(error).strip()}") from None


def save_openvino(model: Any, info: ExportInfo, path: Path) -> None:
    """Write ``path`` (.xml) and its ``.bin``; weights stay float32, or 8-bit where they are quantised."""
    import openvino

    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    model.set_rt_info(info.to_json(), [METADATA_KEY])
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot write {path}: {str(error).strip()}") from None
