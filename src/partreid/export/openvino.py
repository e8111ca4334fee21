"""From an ONNX model to OpenVINO's IR: a pair of files, ``.xml`` (the graph) and ``.bin`` (the weights)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from partreid.errors import ExportError, needs_extra
from partreid.runners.export_info import METADATA_KEY, OUTPUTS, ExportInfo


def to_openvino(model: Any) -> Any:
    """An ``openvino.Model`` of an ``onnx.ModelProto``, with the same names of input and outputs.

    Raises:
        ExportError: OpenVINO cannot read it. MissingDependencyError: OpenVINO is not installed.
    """
    with needs_extra("export", "Exporting to OpenVINO"):
        import openvino
    try:
        return openvino.Core().read_model(model.SerializeToString())
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot read the exported network: {str(error).strip()}") from None


def save_openvino(model: Any, info: ExportInfo, path: Path) -> None:
    """Write ``path`` (.xml) and its ``.bin``; weights stay float32, or 8-bit where they are quantised.

    Raises:
        ExportError: it cannot be written.
    """
    import openvino

    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    model.set_rt_info(info.to_json(), [METADATA_KEY])
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot write {path}: {str(error).strip()}") from None
