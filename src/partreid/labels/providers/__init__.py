"""Where pose fields come from. A provider turns images into fields; each imports its own library when built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, nearest
from partreid.labels.draw import draw_pose_fields
from partreid.labels.fields import label_size
from partreid.labels.target import choose_target
from partreid.objects import Guided
from partreid.parts import NUM_POSE_FIELDS

PROVIDERS = ("openvino", "movenet", "keypoints")
"""Names that :func:`load_provider` knows."""


@dataclass(frozen=True, eq=False)
class Crop:
    """An image to be labelled.

    Attributes:
        path: its file. pixels: uint8 [H, W, 3] RGB.
    """

    path: Path
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class PoseLabel(Guided):
    """What a provider says of one image.

    Attributes:
        fields: float32 [36, h, w] in [0, 1] of the target person; all zero where no person was found.
        persons: how many persons were found.
    """

    fields: NDArray[np.float32]
    persons: int


class PoseProvider(Protocol):
    """Turns images into pose fields of their target persons.

    Attributes:
        name: name of the label folder the fields belong in.
    """

    name: str

    def check(self, images: Sequence[Path], others: Sequence[Path] = ()) -> None:
        """Told of all images of a run before the first label, those with a label too; most providers do not care.

        Args:
            images: of the run. others: of the same set, which are not labelled now.

        Raises:
            LabelError: the provider cannot label these images.
        """
        return

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """One label per crop, in order. A stream: crops are taken as they are needed, and may differ in size."""
        ...


def label_persons(persons: NDArray[np.floating], image_size: tuple[int, int], *, stride: int) -> PoseLabel:
    """The label of an image whose persons' keypoints are known: the target is chosen and drawn.

    A keypoint counts fully however confident the network was: with the peaks of blurred crops (about 0.4) everything
    but the trunk would fall below the threshold of Eq. 10.

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


def load_provider(
    name: str, *, model: str | Path | None = None, stride: int = 8, images: str | Path | None = None
) -> PoseProvider:
    """A provider by name.

    Args:
        name: one of :data:`PROVIDERS`.
        model: openvino: its network's ``.xml`` file. keypoints: the file of keypoints, or OpenPifPaf's folder of
            them. movenet: its ``.tflite`` file, None for the one that is installed.
        stride: pixels between the fields' nodes.
        images: keypoints: JSON with the list of images that explains numbers.

    Raises:
        ConfigError: there is no such provider, or it cannot work without a file or with these options.
        MissingDependencyError: its library is not installed.
        LabelError: the file cannot be read.
    """
    if images is not None and name != "keypoints":
        raise ConfigError(f"Only the label provider 'keypoints' takes a list of images, not {name!r}.")
    if name == "openvino":
        from partreid.labels.providers.openvino import OpenVinoPose

        return OpenVinoPose(
            _needed(model, name, "its network file, e.g. human-pose-estimation-0001.xml"), stride=stride
        )
    if name == "movenet":
        from partreid.labels.providers.movenet import MoveNetPose

        return MoveNetPose(model, stride=stride)
    if name == "keypoints":
        from partreid.labels.providers.keypoints import KeypointFile

        file = _needed(model, name, "the file of keypoints, .json or .npz")
        return KeypointFile(file, stride=stride, images=images)
    raise ConfigError(f"Unknown label provider {name!r}. {nearest(name, PROVIDERS)}")


def _needed(model: str | Path | None, name: str, what: str) -> str | Path:
    if model is None:
        raise ConfigError(f"The label provider {name!r} needs {what} (model; on the command line --network).")
    return model
