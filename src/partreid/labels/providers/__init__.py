"""Sources of pose fields: a provider converts images to fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError
from partreid.labels.draw import draw_pose_fields
from partreid.labels.fields import label_size
from partreid.labels.target import choose_target
from partreid.objects import Guided
from partreid.parts import NUM_POSE_FIELDS
from partreid.registry import Registry


@dataclass(frozen=True, eq=False, repr=False)
class Crop(Guided):
    """An image to be labelled.

    Attributes:
        path: its file. pixels: uint8 [H, W, 3] RGB.
    """

    path: Path
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class PoseLabel(Guided):
    """The output of a provider for one image.

    Attributes:
        fields: float32 [36, h, w] in [0, 1] of the target person; all zero if no person was found.
        persons: how many persons were found.
    """

    fields: NDArray[np.float32]
    persons: int


class PoseProvider(Protocol):
    """Converts images to pose fields of their target persons.

    Attributes:
        name: name of the label folder the fields belong in.
    """

    name: str

    def check(self, images: Sequence[Path], others: Sequence[Path] = ()) -> None:
        """Called with all images of a run before the first label, also with images that have a label. Most providers
        ignore it.

        Args:
            images: of the run. others: images of the same set that are not labelled now.

        Raises:
            LabelError: the provider cannot label these images.
        """
        return

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """One label per crop, in order. It is a stream: crops are read when they are needed, and may differ in size."""
        ...


def label_persons(persons: NDArray[np.floating], image_size: tuple[int, int], *, stride: int) -> PoseLabel:
    """The label of an image with known keypoints of its persons: the target person is chosen and drawn.

    Every found keypoint counts fully, whatever the network's confidence. Otherwise, with the peaks of blurred crops
    (about 0.4), everything except the trunk would fall below the threshold of Eq. 10.

    Args:
        persons: [P, 17, 3] COCO keypoints: x, y in pixels, confidence (0 = not found). P may be 0.
        image_size: (H, W) in pixels. stride: pixels between two nodes of the fields.

    Raises:
        LabelError: ``persons`` has another shape or is not finite.
    """
    size = label_size(*image_size, stride=stride)
    if not len(persons):
        return PoseLabel(np.zeros((NUM_POSE_FIELDS, *size), np.float32), 0)
    target = persons[choose_target(persons, image_size)].copy()
    target[:, 2] = target[:, 2] > 0
    return PoseLabel(draw_pose_fields(target, image_size=image_size, field_size=size), len(persons))


LABEL_PROVIDERS: Registry[Callable[..., PoseProvider]] = Registry(
    "label provider",
    group="partreid.label_providers",
    own={
        "openvino": "partreid.labels.providers.openvino:OpenVinoPose",
        "movenet": "partreid.labels.providers.movenet:MoveNetPose",
        "keypoints": "partreid.labels.providers.keypoints:KeypointFile",
    },
)
"""Classes of label providers by name. They are built with ``(model, *, stride)``, as in :func:`load_provider`. None is
imported before it is needed."""

_NEEDED = {"openvino": "its network file, e.g. human-pose-estimation-0001.xml", "keypoints": "a .json or .npz file"}


DEFAULT_STRIDE = 8
"""Pixels between the nodes of a label."""


def load_provider(
    name: str, *, model: str | Path | None = None, stride: int = DEFAULT_STRIDE, images: str | Path | None = None
) -> PoseProvider:
    """A provider by name.

    Args:
        name: one of :data:`LABEL_PROVIDERS`.
        model: openvino: its network's ``.xml`` file. keypoints: the file of keypoints, or OpenPifPaf's folder of them.
            movenet: its ``.tflite`` file, None for the installed one. Other providers: as documented there.
        stride: pixels between the fields' nodes.
        images: keypoints: JSON with the list of images to which numbers refer.

    Raises:
        ConfigError: there is no such provider, or it cannot work without a file or with these options.
        MissingDependencyError: its library is not installed.
        LabelError: the file cannot be read.
    """
    provider = LABEL_PROVIDERS[name]
    if images is not None and name != "keypoints":
        raise ConfigError(f"Only the label provider 'keypoints' takes a list of images, not {name!r}.")
    if model is None and name in _NEEDED:
        raise ConfigError(f"The label provider {name!r} needs {_NEEDED[name]} (model; on the command line --network).")
    return provider(model, stride=stride) if images is None else provider(model, stride=stride, images=images)
