"""Models as one file for other runtimes: ONNX and OpenVINO."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.export.model import Exported, export_model
    from partreid.export.parity import Agreement, check_agreement
    from partreid.export.quality import Quality, measure_quality
    from partreid.export.single_vector import export_single_vector
    from partreid.export.write import ExportOptions, export_checkpoint

__all__ = [
    "Agreement", "ExportOptions", "Exported", "Quality", "check_agreement", "export_checkpoint", "export_model",
    "export_single_vector", "measure_quality",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
