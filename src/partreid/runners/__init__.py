"""Runners of networks: PyTorch, or an exported ONNX or OpenVINO file."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.runners.exported import ExportedRunner
    from partreid.runners.runner import Runner, TorchRunner

__all__ = ["ExportedRunner", "Runner", "TorchRunner"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
