"""Persons by OpenPifPaf (the paper's provider): its own confidence fields, the other persons' removed.

Written for the interface of OpenPifPaf 0.13: ``Predictor`` with ``preprocess``, ``model``, ``model_cpu.head_metas`` and
``processor``. Its release 0.13.11 demands PyTorch 1.13 and NumPy 1, which partreid and Python 3.11 do not go with:
this provider needs a build of one's own, and is tested with a stand-in of that interface, never with the network.
Where OpenPifPaf runs in an environment of its own, the provider ``keypoints`` takes what it finds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import LabelError, MissingDependencyError
from partreid.labels.draw import draw_pose_fields
from partreid.labels.providers import Crop, PoseLabel, PoseProvider
from partreid.labels.target import choose_target
from partreid.parts import KEYPOINTS, LIMBS, NUM_POSE_FIELDS

_CONFIDENCE = 1
"""Component of a composite field that is the confidence."""


class OpenPifPaf(PoseProvider):
    """Confidence fields of the target person, on the network's own grid: 2·ceil((n-1)/16) + 1 nodes a side.

    The target is chosen among the decoded persons (:func:`~partreid.labels.target.choose_target`). To remove the
    others' fields, every person's fields are drawn from the keypoints; in each channel a node keeps its confidence
    where the target's drawn value is not below any other person's. What lies nearer to another person's joint or limb
    than to the target's is thus background; where the target lacks a joint, the channel is the others'. Where nobody
    was decoded all is zero, however strong the fields.

    An image whose sides are not 16n + 1 is padded around, as OpenPifPaf does: its nodes lie up to
    7 pixels beside the corner-aligned places (128×64: 1 pixel).

    Args:
        checkpoint: an OpenPifPaf checkpoint's name or file.
        device: of PyTorch; None = OpenPifPaf's choice.
        batch_size: images of the same size, in a row, that go through the network together.

    Raises:
        MissingDependencyError: OpenPifPaf is not installed.
        LabelError: the checkpoint has no heads for the 17 keypoints and 19 limbs.
    """

    name = "openpifpaf"
    stride = 8

    def __init__(
        self, checkpoint: str = "shufflenetv2k30", *, device: str | torch.device | None = None, batch_size: int = 16
    ) -> None:
        try:
            import openpifpaf
        except ImportError:
            raise MissingDependencyError(
                "openpifpaf",
                purpose="The label provider 'openpifpaf'",
                advice="Its release 0.13.11 demands PyTorch 1.13: run it in an environment of its own and give its "
                "keypoints to the provider 'keypoints' (docs/labels.md), or build it for this environment.",
            ) from None
        self.batch_size = batch_size

        # The device is an attribute of the class: one of our own leaves OpenPifPaf's settings as they are.
        class Predictor(openpifpaf.Predictor):  # type: ignore[misc]
            pass

        if device is not None:
            Predictor.device = torch.device(device)
        self._predictor: Any = Predictor(checkpoint)
        self._heads = _heads(self._predictor.model_cpu.head_metas, checkpoint)

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        """Pose fields of each image's target person; see :class:`~partreid.labels.providers.PoseProvider`."""
        for _, same in itertools.groupby(crops, key=lambda crop: crop.pixels.shape):
            while batch := list(itertools.islice(same, self.batch_size)):
                yield from self._detect(batch)

    def _detect(self, crops: Sequence[Crop]) -> Iterator[PoseLabel]:
        """Labels of images of one size."""
        predictor = self._predictor
        inputs, metas = [], []
        for crop in crops:
            tensor, _, meta = predictor.preprocess(Image.fromarray(crop.pixels), [], {})
            inputs.append(tensor)
            metas.append(meta)
        batch = predictor.processor.fields_batch(predictor.model, torch.stack(inputs), device=predictor.device)
        for crop, meta, fields in zip(crops, metas, batch, strict=True):
            found = [person.inverse_transform(meta).data for person in predictor.processor(fields)]
            persons = np.array(found, dtype=np.float64).reshape(-1, len(KEYPOINTS), 3)
            confidences = np.concatenate(
                [np.asarray(fields[index], np.float32)[channels, _CONFIDENCE] for index, channels in self._heads]
            )
            yield PoseLabel(_of_target(confidences.clip(0, 1), persons, crop.pixels.shape[:2]), len(persons))


def _heads(metas: Iterable[Any], checkpoint: str) -> list[tuple[int, list[int]]]:
    """For keypoints and limbs: the head's place among the outputs, and its channels in our order."""
    keypoints = limbs = None
    for meta in metas:
        names = list(getattr(meta, "keypoints", ()))
        if sorted(names) != sorted(KEYPOINTS):
            continue
        skeleton = getattr(meta, "skeleton", None)
        if skeleton is None:
            keypoints = keypoints or (meta.head_index, [names.index(name) for name in KEYPOINTS])
            continue
        pairs = [{names[first - 1], names[second - 1]} for first, second in skeleton]
        if limbs is None and all(set(limb) in pairs for limb in LIMBS):
            limbs = meta.head_index, [pairs.index(set(limb)) for limb in LIMBS]
    if keypoints is None or limbs is None:
        raise LabelError(
            f"OpenPifPaf checkpoint {checkpoint!r} lacks heads for COCO's {len(KEYPOINTS)} keypoints and "
            f"{len(LIMBS)} limbs. Take one trained for persons of COCO, e.g. shufflenetv2k30."
        )
    return [keypoints, limbs]


def _of_target(
    confidences: NDArray[np.float32], persons: NDArray[np.float64], image_size: tuple[int, int]
) -> NDArray[np.float32]:
    """The confidences [36, h, w] with the other persons' nodes set to 0."""
    if not len(persons):
        return np.zeros_like(confidences)
    target = choose_target(persons, image_size)
    persons = persons.copy()
    persons[..., 2] = persons[..., 2] > 0
    drawn = np.zeros((len(persons), NUM_POSE_FIELDS, *confidences.shape[1:]))
    for person, fields in zip(persons, drawn, strict=True):
        fields[:] = draw_pose_fields(person, image_size=image_size, field_size=confidences.shape[1:])
    return np.where(drawn[target] >= drawn.max(axis=0), confidences, 0).astype(np.float32)
