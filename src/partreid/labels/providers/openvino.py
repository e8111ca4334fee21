"""Persons by human-pose-estimation-0001 of Open Model Zoo (or a network with the same outputs), on OpenVINO.

The network file is not part of this package; get it with Open Model Zoo's downloader. Measured on person crops of
128×64: pictures in BGR order, as its documentation says (mean peak 0.43, in RGB 0.35), about 256×128 with a grey
border of 1/16 of the crop's height; larger inputs find less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import LabelError, MissingDependencyError
from partreid.labels.assembly import OPENPOSE_KEYPOINTS, AssemblyOptions, assemble
from partreid.labels.providers import Crop, PoseLabel, label_persons
from partreid.parts import KEYPOINTS

_HEAT_MAPS, _AFFINITY = 19, 38
"""Channels of the two outputs, by which they are told apart: networks name them differently."""

_COCO = [OPENPOSE_KEYPOINTS.index(name) for name in KEYPOINTS]
_GREY = 128
_BORDER = 1 / 16


class OpenVinoPose:
    """Pose fields of the target person through an OpenPose-type network.

    Args:
        model: the network's ``.xml`` file, its ``.bin`` beside it.
        stride: pixels of the picture between two nodes of the fields.
        input_size: (height, width) of the network's input; multiples of 8.
        options: thresholds of peak finding and joining.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        LabelError: the file is missing, or is not such a network.
    """

    name = "openvino"

    def __init__(
        self,
        model: str | Path,
        *,
        stride: int = 8,
        input_size: tuple[int, int] = (256, 128),
        options: AssemblyOptions | None = None,
    ) -> None:
        self.stride = stride
        self.input_size = input_size
        self.options = options or AssemblyOptions()
        self._network = _compile(Path(model), input_size)

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each picture's target person; see :class:`~partreid.labels.providers.PoseProvider`."""
        crops = iter(crops)
        while batch := list(itertools.islice(crops, 64)):
            for persons, crop in zip(self.keypoints([c.pixels for c in batch]), batch, strict=True):
                yield label_persons(persons, crop.pixels.shape[:2], stride=self.stride)

    def keypoints(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """All persons of each picture.

        Args:
            pictures: uint8 [H, W, 3] RGB.

        Returns:
            For each picture [P, 17, 3] COCO keypoints: x, y in the picture's pixels, confidence (0 = not found).
        """
        boxes = [_letterbox(picture, self.input_size) for picture in pictures]
        found = []
        for (heat_maps, affinity), (_, scale, left, top) in zip(
            self._network([canvas for canvas, *_ in boxes]), boxes, strict=True
        ):
            persons = assemble(heat_maps, affinity, self.options)[:, _COCO]
            cell = self.input_size[0] / heat_maps.shape[1]
            persons[..., 0] = ((persons[..., 0] + 0.5) * cell - left) / scale
            persons[..., 1] = ((persons[..., 1] + 0.5) * cell - top) / scale
            found.append(persons)
        return found


def _letterbox(picture: NDArray[np.uint8], input_size: tuple[int, int]) -> tuple[NDArray[np.uint8], float, int, int]:
    """(canvas in RGB, network pixels per picture pixel, left, top): grey all around, sides in proportion."""
    height, width = picture.shape[:2]
    border = 2 * _BORDER * height
    scale = min(input_size[0] / (height + border), input_size[1] / (width + border))
    new = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (input_size[0] - new[0]) // 2, (input_size[1] - new[1]) // 2
    canvas = np.full((*input_size, 3), _GREY, np.uint8)
    resized = Image.fromarray(picture).resize((new[1], new[0]), Image.Resampling.BICUBIC)
    canvas[top : top + new[0], left : left + new[1]] = np.asarray(resized)
    return canvas, scale, left, top


_Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


def _compile(path: Path, input_size: tuple[int, int]) -> Callable[[Sequence[NDArray[np.uint8]]], list[_Maps]]:
    """A function from RGB canvases to (heat maps [19, h, w], affinity [38, h, w]) of each."""
    try:
        import openvino
    except ImportError:
        raise MissingDependencyError("openvino", extra="openvino", purpose="The label provider 'openvino'") from None
    if not path.is_file():
        raise LabelError(
            f"Network file {path} does not exist. Expected the .xml of human-pose-estimation-0001 (get it from Open "
            "Model Zoo: omz_downloader --name human-pose-estimation-0001), with its .bin beside it."
        )
    core = openvino.Core()
    try:
        model = core.read_model(path)
        model.reshape([1, 3, *input_size])
        compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    except RuntimeError as error:
        raise LabelError(f"OpenVINO cannot read network file {path}: {str(error).strip().splitlines()[-1]}") from None
    outputs = {int(output.shape[1]): i for i, output in enumerate(compiled.outputs) if len(output.shape) == 4}
    if not {_HEAT_MAPS, _AFFINITY} <= set(outputs):
        shapes = [list(output.shape) for output in compiled.outputs]
        raise LabelError(
            f"{path} is no OpenPose-type network: expected outputs of {_HEAT_MAPS} and {_AFFINITY} channels, "
            f"got shapes {shapes}."
        )
    queue = openvino.AsyncInferQueue(compiled)

    def run(canvases: Sequence[NDArray[np.uint8]]) -> list[_Maps]:
        found: list[_Maps | None] = [None] * len(canvases)

        def keep(request: Any, index: int) -> None:
            heat_maps, affinity = (
                request.get_output_tensor(outputs[n]).data[0].copy() for n in (_HEAT_MAPS, _AFFINITY)
            )
            found[index] = (heat_maps, affinity)

        queue.set_callback(keep)
        for index, canvas in enumerate(canvases):
            bgr = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1))[None]
            queue.start_async({0: bgr.astype(np.float32)}, index)
        queue.wait_all()
        return [maps for maps in found if maps is not None]

    return run
