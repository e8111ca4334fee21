"""Persons by human-pose-estimation-0001 of Open Model Zoo (or a network with the same outputs), on OpenVINO.

The network file is not part of this package; get it with Open Model Zoo's downloader. What was measured on person
crops of 128×64 (docs/labels.md): pictures in BGR order, as its documentation says; a grey border of 1/16 of the crop's
height; 192×96, where it finds more heads and feet than at 256×128; each crop together with its mirror image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, MissingDependencyError
from partreid.labels.assembly import OPENPOSE_KEYPOINTS, AssemblyOptions, assemble, unmirror
from partreid.labels.providers import Crop, PoseLabel, PoseProvider, label_persons
from partreid.labels.providers.letterbox import Placement, letterbox
from partreid.parts import KEYPOINTS

_HEAT_MAPS, _AFFINITY = 19, 38
"""Channels of the two outputs, by which they are told apart: networks name them differently."""

_COCO = [OPENPOSE_KEYPOINTS.index(name) for name in KEYPOINTS]


class OpenVinoPose(PoseProvider):
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
        input_size: tuple[int, int] = (192, 96),
        options: AssemblyOptions | None = None,
    ) -> None:
        self.stride = stride
        self.input_size = input_size
        self.options = options or AssemblyOptions()
        self._network = _Network(Path(model), input_size)

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each picture's target person; see :class:`~partreid.labels.providers.PoseProvider`."""
        sizes: deque[tuple[int, int]] = deque()

        def pictures() -> Iterator[NDArray[np.uint8]]:
            for crop in crops:
                sizes.append(crop.pixels.shape[:2])
                yield crop.pixels

        for persons in self.keypoints(pictures()):
            yield label_persons(persons, sizes.popleft(), stride=self.stride)

    def keypoints(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float64]]:
        """All persons of each picture, in order. A stream: while one is grouped, the network sees the next.

        Args:
            pictures: uint8 [H, W, 3] RGB.

        Yields:
            For each picture [P, 17, 3] COCO keypoints: x, y in the picture's pixels, confidence (0 = not found).
        """
        places: deque[Placement] = deque()

        def canvases() -> Iterator[NDArray[np.uint8]]:
            for picture in pictures:
                pair = np.empty((2, *self.input_size, 3), np.uint8)
                pair[0], place = letterbox(picture, self.input_size)
                pair[1] = pair[0, :, ::-1]
                places.append(place)
                yield pair

        for heat_maps, affinity in self._network.run(canvases()):
            mirrored_heat_maps, mirrored_affinity = unmirror(heat_maps[1], affinity[1])
            persons = assemble(
                (heat_maps[0, : len(OPENPOSE_KEYPOINTS)] + mirrored_heat_maps) / 2,
                (affinity[0] + mirrored_affinity) / 2,
                self.options,
            )[:, _COCO]
            place = places.popleft()
            cell = self.input_size[0] / heat_maps.shape[2]
            persons[..., :2] = place.to_picture((persons[..., :2] + 0.5) * cell)
            yield persons


class _Network:
    """The compiled network: pairs of canvases in, their heat maps and affinity fields out."""

    def __init__(self, path: Path, input_size: tuple[int, int]) -> None:
        try:
            import openvino
        except ImportError:
            raise MissingDependencyError(
                "openvino", extra="openvino", purpose="The label provider 'openvino'"
            ) from None
        if not path.is_file():
            raise LabelError(
                f"Network file {path} does not exist. Expected the .xml of human-pose-estimation-0001 (get it from "
                "Open Model Zoo: omz_downloader --name human-pose-estimation-0001), with its .bin beside it."
            )
        core = openvino.Core()
        try:
            model = _with_pictures_as_input(core.read_model(path), input_size)
            # Without this hint OpenVINO takes bfloat16 where the processor has it: other keypoints on other machines.
            settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise LabelError(
                f"OpenVINO cannot read network file {path}: {str(error).strip().splitlines()[-1]}"
            ) from None
        outputs = {int(output.shape[1]): i for i, output in enumerate(self._compiled.outputs) if len(output.shape) == 4}
        if not {_HEAT_MAPS, _AFFINITY} <= set(outputs):
            shapes = [list(output.shape) for output in self._compiled.outputs]
            raise LabelError(
                f"{path} is no OpenPose-type network: expected outputs of {_HEAT_MAPS} and {_AFFINITY} channels, "
                f"got shapes {shapes}."
            )
        self._outputs = outputs[_HEAT_MAPS], outputs[_AFFINITY]

    def run(self, pairs: Iterable[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Heat maps [2, 19, h, w] and affinity fields [2, 38, h, w] of each pair uint8 [2, H, W, 3] RGB, in order."""
        # One request more than run at once: the next is ready when one ends.
        count = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        free = [self._compiled.create_infer_request() for _ in range(count)]
        busy: deque[Any] = deque()
        for pair in pairs:
            if not free:
                yield self._result(busy[0])
                free.append(busy.popleft())
            request = free.pop()
            request.start_async({0: pair})
            busy.append(request)
        while busy:
            yield self._result(busy.popleft())

    def _result(self, request: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        request.wait()
        heat_maps, affinity = (request.get_output_tensor(n).data.copy() for n in self._outputs)
        return heat_maps, affinity


def _with_pictures_as_input(model: Any, input_size: tuple[int, int]) -> Any:
    """The network with an input of two RGB pictures uint8 [2, H, W, 3]; it wants BGR planes of floats."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    model.reshape([2, 3, *input_size])
    steps = PrePostProcessor(model)
    given = steps.input()
    given.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_color_format(ColorFormat.RGB)
    given.model().set_layout(Layout("NCHW"))
    given.preprocess().convert_color(ColorFormat.BGR).convert_element_type(Type.f32)
    return steps.build()
