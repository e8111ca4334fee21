"""What providers on OpenVINO share: a stream of images through a network, and labels from the keypoints it finds."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.labels.providers import Crop, PoseLabel, PoseProvider, label_persons

SETTINGS = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
"""Without the second OpenVINO takes bfloat16 where the processor has it: other keypoints on other machines."""


class KeypointNetwork(PoseProvider):
    """A provider that finds persons' keypoints. ``stride``: pixels of the image between two nodes of the fields."""

    stride: int

    @abstractmethod
    def keypoints(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float64]]:
        """All persons of each image, in order. A stream: while one is looked at, the network sees the next.

        Args:
            images: uint8 [H, W, 3] RGB.

        Yields:
            For each image [P, 17, 3] COCO keypoints: x, y in the image's pixels, confidence (0 = not found).
        """

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each image's target person; see :class:`~partreid.labels.providers.PoseProvider`."""
        sizes: deque[tuple[int, int]] = deque()

        def images() -> Iterator[NDArray[np.uint8]]:
            for crop in crops:
                sizes.append(crop.pixels.shape[:2])
                yield crop.pixels

        for persons in self.keypoints(images()):
            yield label_persons(persons, sizes.popleft(), stride=self.stride)


def infer_in_order(compiled: Any, inputs: Iterable[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.float32], ...]]:
    """The outputs of a compiled network for each input, in order, several being computed at once."""
    # One request more than run at once: the next is ready when one ends.
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
