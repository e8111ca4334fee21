"""The common base of providers on OpenVINO: placing images on a network's canvas, and drawing labels from its
keypoints.

Pose networks find more in a small image if it is surrounded by grey.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import LabelError
from partreid.labels.providers import Crop, PoseLabel, PoseProvider, label_persons

_SETTINGS = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
"""Without the second option OpenVINO uses bfloat16 if the processor has it. Keypoints would then depend on the
machine."""

_GREY = 128
_BORDER = 1 / 16
"""Smallest border above and below, as a fraction of the crop's height."""


@dataclass(frozen=True)
class Placement:
    """The place of an image on its canvas: (x, y) of its corner, and network pixels per image pixel along x and y.

    The two scales differ a little, because the image has a whole number of pixels there.
    """

    corner: tuple[int, int]
    scale: tuple[float, float]

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [..., 2] (x, y) in network pixels, in pixels of the image."""
        return (points - self.corner) / self.scale


def letterbox(image: NDArray[np.uint8], input_size: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    """The image on a grey canvas, with its aspect ratio kept.

    Args:
        image: uint8 [H, W, 3]. input_size: (height, width) of the canvas.
    """
    height, width = image.shape[:2]
    border = 2 * _BORDER * height
    scale = min(input_size[0] / (height + border), input_size[1] / (width + border))
    new = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (input_size[0] - new[0]) // 2, (input_size[1] - new[1]) // 2
    canvas = np.full((*input_size, 3), _GREY, np.uint8)
    resized = Image.fromarray(image).resize((new[1], new[0]), Image.Resampling.BICUBIC)
    canvas[top : top + new[0], left : left + new[1]] = np.asarray(resized)
    return canvas, Placement((left, top), (new[1] / width, new[0] / height))


class KeypointNetwork(PoseProvider):
    """A provider that finds persons' keypoints.

    Attributes:
        stride: pixels of the image between two nodes of the fields. input_size: (height, width) the network sees.
        network: as :func:`compile_network` gives it.
    """

    stride: int
    input_size: tuple[int, int]
    network: Any

    @abstractmethod
    def _input(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]: ...

    @abstractmethod
    def _persons(self, outputs: tuple[NDArray[np.float32], ...]) -> NDArray[np.float64]:
        """[P, 17, 3] COCO keypoints: x, y in the canvas's pixels, confidence (0 = not found)."""

    def keypoints(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float64]]:
        """All persons of each image, in order. It is a stream: the network runs on the next image while one is
        processed.

        Args:
            images: uint8 [H, W, 3] RGB.

        Yields:
            For each image [P, 17, 3] COCO keypoints: x, y in the image's pixels, confidence (0 = not found).
        """
        places: deque[Placement] = deque()

        def inputs() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                canvas, place = letterbox(image, self.input_size)
                places.append(place)
                yield self._input(canvas)

        for outputs in _infer_in_order(self.network, inputs()):
            persons = self._persons(outputs)
            persons[..., :2] = places.popleft().to_image(persons[..., :2])
            yield persons

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each image's target person; see :class:`~partreid.labels.providers.PoseProvider`."""
        crops, ahead = tee(crops)
        for persons, crop in zip(self.keypoints(one.pixels for one in ahead), crops, strict=True):
            yield label_persons(persons, crop.pixels.shape[:2], stride=self.stride)


def compile_network(core: Any, path: Path, prepare: Callable[[Any], Any], *, expected: str) -> Any:
    """Read a network file with OpenVINO's core and compile it for the CPU. ``prepare`` sets the network's input."""
    if not path.is_file():
        raise LabelError(f"Network file {path} does not exist. Expected {expected}.")
    try:
        return core.compile_model(prepare(core.read_model(path)), "CPU", _SETTINGS)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise LabelError(f"OpenVINO cannot read network file {path}: {reason} Expected {expected}.") from None


def _infer_in_order(compiled: Any, inputs: Iterable[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.float32], ...]]:
    """The outputs of a compiled network for each input, in order. Several are computed at once."""
    # One request more than can run at once, so that the next is ready when one ends.
    count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
    free = [compiled.create_infer_request() for _ in range(count)]
    busy: deque[Any] = deque()

    def result(request: Any) -> tuple[NDArray[np.float32], ...]:
        request.wait()
        return tuple(request.get_output_tensor(i).data.copy() for i in range(len(compiled.outputs)))

    for given in inputs:
        if not free:
            yield result(busy[0])
            free.append(busy.popleft())
        request = free.pop()
        request.start_async({0: given})
        busy.append(request)
    while busy:
        yield result(busy.popleft())
