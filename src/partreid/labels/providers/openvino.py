"""Persons by human-pose-estimation-0001 of Open Model Zoo (or a network with the same outputs), on OpenVINO.

The network file is not part of this package; get it with Open Model Zoo's downloader. What was measured on person
crops of 128×64 (docs/label_quality.md): images in BGR order, as its documentation says; a grey border of 1/16 of the
crop's height; 192×96, where it finds more heads and feet than at 256×128; each crop together with its mirror image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, needs_extra
from partreid.labels.assembly import OPENPOSE_KEYPOINTS, AssemblyOptions, assemble, unmirror
from partreid.labels.providers.letterbox import Placement, letterbox
from partreid.labels.providers.network import SETTINGS, KeypointNetwork, infer_in_order
from partreid.parts import KEYPOINTS

_HEAT_MAPS, _AFFINITY = 19, 38
"""Channels of the two outputs, by which they are told apart: networks name them differently."""

_COCO = [OPENPOSE_KEYPOINTS.index(name) for name in KEYPOINTS]


class OpenVinoPose(KeypointNetwork):
    """Pose fields of the target person through an OpenPose-type network.

    Args:
        model: the network's ``.xml`` file, its ``.bin`` beside it.
        stride: pixels of the image between two nodes of the fields.
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
        self._network, self._outputs = _compile(Path(model), input_size)

    def keypoints(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float64]]:
        """All persons of each image; see :meth:`KeypointNetwork.keypoints`."""
        places: deque[Placement] = deque()

        def canvases() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                pair = np.empty((2, *self.input_size, 3), np.uint8)
                pair[0], place = letterbox(image, self.input_size)
                pair[1] = pair[0, :, ::-1]
                places.append(place)
                yield pair

        for found in infer_in_order(self._network, canvases()):
            heat_maps, affinity = (found[n] for n in self._outputs)  # [2, 19, h, w], [2, 38, h, w]
            mirrored_heat_maps, mirrored_affinity = unmirror(heat_maps[1], affinity[1])
            persons = assemble(
                (heat_maps[0, : len(OPENPOSE_KEYPOINTS)] + mirrored_heat_maps) / 2,
                (affinity[0] + mirrored_affinity) / 2,
                self.options,
            )[:, _COCO]
            place = places.popleft()
            cell = self.input_size[0] / heat_maps.shape[2]
            persons[..., :2] = place.to_image((persons[..., :2] + 0.5) * cell)
            yield persons


def _compile(path: Path, input_size: tuple[int, int]) -> tuple[Any, tuple[int, int]]:
    """The network, ready to run on pairs uint8 [2, H, W, 3] RGB; which outputs are heat maps and affinity fields."""
    with needs_extra("openvino", "The label provider 'openvino'"):
        import openvino
    if not path.is_file():
        raise LabelError(
            f"Network file {path} does not exist. Expected the .xml of human-pose-estimation-0001 (get it from "
            "Open Model Zoo: omz_downloader --name human-pose-estimation-0001), with its .bin beside it."
        )
    core = openvino.Core()
    try:
        model = _with_images_as_input(core.read_model(path), input_size)
        compiled = core.compile_model(model, "CPU", SETTINGS)
    except RuntimeError as error:
        raise LabelError(f"OpenVINO cannot read network file {path}: {str(error).strip().splitlines()[-1]}") from None
    outputs = {int(output.shape[1]): i for i, output in enumerate(compiled.outputs) if len(output.shape) == 4}
    if not {_HEAT_MAPS, _AFFINITY} <= set(outputs):
        shapes = [list(output.shape) for output in compiled.outputs]
        raise LabelError(
            f"{path} is no OpenPose-type network: expected outputs of {_HEAT_MAPS} and {_AFFINITY} channels, "
            f"got shapes {shapes}."
        )
    return compiled, (outputs[_HEAT_MAPS], outputs[_AFFINITY])


def _with_images_as_input(model: Any, input_size: tuple[int, int]) -> Any:
    """The network with an input of two RGB images uint8 [2, H, W, 3]; it wants BGR planes of floats."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    model.reshape([2, 3, *input_size])
    steps = PrePostProcessor(model)
    given = steps.input()
    given.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_color_format(ColorFormat.RGB)
    given.model().set_layout(Layout("NCHW"))
    given.preprocess().convert_color(ColorFormat.BGR).convert_element_type(Type.f32)
    return steps.build()
