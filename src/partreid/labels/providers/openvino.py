"""Persons by human-pose-estimation-0001 of Open Model Zoo (or a network with the same outputs), on OpenVINO.

The network file is not part of this package; get it with Open Model Zoo's downloader. What was measured on person
crops of 128×64 (docs/label_quality.md): images in BGR order, as its documentation says; a grey border of 1/16 of the
crop's height; 192×96, where it finds more heads and feet than at 256×128; each crop together with its mirror image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, needs_extra
from partreid.labels.assembly import OPENPOSE_KEYPOINTS, assemble, unmirror
from partreid.labels.providers.network import KeypointNetwork, compile_network
from partreid.parts import KEYPOINTS

_HEAT_MAPS, _AFFINITY = 19, 38
"""Channels of the two outputs. They identify the outputs, because networks name them differently."""

_EXPECTED = (
    "the .xml of human-pose-estimation-0001 (get it from Open Model Zoo: "
    "omz_downloader --name human-pose-estimation-0001), with its .bin beside it"
)

_COCO = [OPENPOSE_KEYPOINTS.index(name) for name in KEYPOINTS]


class OpenVinoPose(KeypointNetwork):
    """Pose fields of the target person through an OpenPose-type network.

    Args:
        model: the network's ``.xml`` file, its ``.bin`` beside it.
        stride: pixels of the image between two nodes of the fields.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        LabelError: the file is missing, or is not such a network.
    """

    name = "openvino"

    input_size = (192, 96)

    def __init__(self, model: str | Path, *, stride: int = 8) -> None:
        self.stride = stride
        with needs_extra("openvino", "The label provider 'openvino'"):
            import openvino
        self.network = compile_network(openvino.Core(), Path(model), self._prepared, expected=_EXPECTED)
        outputs = {int(one.shape[1]): i for i, one in enumerate(self.network.outputs) if len(one.shape) == 4}
        if not {_HEAT_MAPS, _AFFINITY} <= set(outputs):
            raise LabelError(
                f"{model} is no OpenPose-type network: expected outputs of {_HEAT_MAPS} and {_AFFINITY} channels, "
                f"got shapes {[list(one.shape) for one in self.network.outputs]}."
            )
        self._outputs = outputs[_HEAT_MAPS], outputs[_AFFINITY]

    def _input(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack([canvas, canvas[:, ::-1]])

    def _persons(self, outputs: tuple[NDArray[np.float32], ...]) -> NDArray[np.float64]:
        heat_maps, affinity = (outputs[n] for n in self._outputs)  # [2, 19, h, w], [2, 38, h, w]
        mirrored_heat_maps, mirrored_affinity = unmirror(heat_maps[1], affinity[1])
        mean_heat_maps = (heat_maps[0, : len(OPENPOSE_KEYPOINTS)] + mirrored_heat_maps) / 2
        persons = assemble(mean_heat_maps, (affinity[0] + mirrored_affinity) / 2)[:, _COCO]
        persons[..., :2] = (persons[..., :2] + 0.5) * (self.input_size[0] / heat_maps.shape[2])
        return persons

    def _prepared(self, model: Any) -> Any:
        """The network with two RGB images uint8 [2, H, W, 3] as input. They are converted to the BGR planes that it
        needs."""
        from openvino import Layout, Type
        from openvino.preprocess import ColorFormat, PrePostProcessor

        model.reshape([2, 3, *self.input_size])
        steps = PrePostProcessor(model)
        given = steps.input()
        given.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_color_format(ColorFormat.RGB)
        given.model().set_layout(Layout("NCHW"))
        given.preprocess().convert_color(ColorFormat.BGR).convert_element_type(Type.f32)
        return steps.build()
