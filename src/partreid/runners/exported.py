"""An exported file behind PartExtractor: what it says of itself, and how it is run without PyTorch's network.

``partreid export`` writes such files (docs/export.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partreid.errors import CheckpointError
from partreid.files import nameable
from partreid.runners.export_digest import check_seal
from partreid.runners.runner import PoseInput
from partreid.runners.sessions import OnnxSession, OpenVinoSession, Session
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

SESSIONS: dict[str, type[OnnxSession] | type[OpenVinoSession]] = {".onnx": OnnxSession, ".xml": OpenVinoSession}
"""What opens an exported file, by its suffix."""


def is_exported(source: object) -> bool:
    """Whether a path means an exported file.

    Example:
        >>> is_exported("model.onnx"), is_exported("runs/light")
        (True, False)
    """
    return isinstance(source, str | Path) and Path(source).suffix in SESSIONS


class ExportedRunner:
    """Runs an exported file behind :class:`~partreid.inference.extractor.PartExtractor`.

    Args:
        file: ``.onnx`` or ``.xml`` (with its ``.bin`` beside it), written by ``partreid export``.
        runtime: device and precision. For ONNX the device is "cpu", "cuda" or "tensorrt", the latter two with a number
            (``cuda:1``) if there are several; "auto" is a GPU where this onnxruntime can use one. An OpenVINO file runs
            on the CPU. "auto" precision is what the file says.

    Raises:
        CheckpointError: there is no such file, it is not as it was exported, or partreid did not write it.
        ConfigError: it cannot run on that device, or with that precision.
        MissingDependencyError: the library is not installed.
    """

    def __init__(self, file: str | Path, runtime: RuntimeConfig | None = None) -> None:
        path = nameable(file, error=CheckpointError)
        if path.suffix not in SESSIONS:
            raise CheckpointError(f"Expected an exported file (.onnx or .xml), got {path}.")
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}. Write it with: partreid export RUN --to onnx -o {path}")
        if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
            raise CheckpointError(f"{path} needs {path.with_suffix('.bin').name} beside it. Copy both, or export anew.")
        check_seal(path)  # before a library opens it: what is damaged never reaches one
        self.session: Session = SESSIONS[path.suffix](path, runtime or RuntimeConfig())
        self.info = self.session.info
        self.device = self.session.device
        self.preprocess = self.info.preprocess
        self.mirror = self.info.mirror
        self.pose: PoseInput | None = None  # networks that need one are not exported

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.info.slots

    @property
    def fingerprint(self) -> str:
        """That of the extractor it was made from."""
        return self.info.fingerprint

    @property
    def normalize_embeddings(self) -> bool:
        """Whether the model was made for normalised vectors."""
        return self.info.normalize_embeddings

    @property
    def visibility(self) -> str:
        """The rule of visibility; "always" for stripes and for a global embedding."""
        return "always" if self.info.network in ("BoT", "PCB") else self.info.visibility

    @property
    def visibility_threshold(self) -> float | None:
        """λ_v of Eq. 4; None where the rule is another."""
        return self.info.visibility_threshold if self.visibility == "threshold" else None

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        """What the file says of images uint8 [B, H, W, 3]: embeddings, visibility and attention, nothing else."""
        vectors, visibility, attention = map(torch.from_numpy, self.session(np.ascontiguousarray(pixels)))
        parts = visibility[:, len(self.slots) - len(self.info.part_names) :]
        embeddings = PartEmbeddings(vectors, visibility, self.slots)
        return ModelOutput(None, attention, RegionVectors(), RegionVectors(), None, parts, embeddings)
