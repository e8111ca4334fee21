"""The OpenPifPaf provider on a stand-in of OpenPifPaf's interface: the library itself cannot be installed here."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, LabelError, MissingDependencyError
from partreid.labels.providers import Crop, load_provider
from partreid.labels.providers.openpifpaf import OpenPifPaf
from partreid.parts import KEYPOINTS, LIMBS

SKELETON = [(KEYPOINTS.index(a) + 1, KEYPOINTS.index(b) + 1) for a, b in LIMBS]
LEFT = np.column_stack([np.full(17, 16.0), np.linspace(8, 120, 17), np.full(17, 0.6)])
RIGHT = LEFT + np.array([32, 6, 0])


class Annotation:
    """A decoded person in the pixels of the padded image."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    def inverse_transform(self, meta: dict[str, Any]) -> "Annotation":
        return Annotation(self.data + np.array([*meta["offset"], 0]))


def stand_in(persons: list[np.ndarray], skeleton: list[tuple[int, int]]) -> ModuleType:
    """A module whose network gives in channel c the confidence (c + 1)/100 everywhere, and these persons."""
    heads = [
        SimpleNamespace(keypoints=list(KEYPOINTS), head_index=0),
        SimpleNamespace(keypoints=list(KEYPOINTS), skeleton=skeleton, head_index=1),
    ]

    def model(images: torch.Tensor) -> list[torch.Tensor]:
        size = [(n - 1) // 8 + 1 for n in images.shape[2:]]
        fields = [
            torch.full((len(images), 17, 5, *size), -1.0),
            torch.full((len(images), len(skeleton), 8, *size), -1.0),
        ]
        for field, first in zip(fields, (1, 18), strict=True):
            field[:, :, 1] = (torch.arange(field.shape[1]) + first).view(-1, 1, 1) / 100
        return fields

    class Processor:
        batches: list[int] = []  # noqa: RUF012

        def fields_batch(self, model: Any, images: torch.Tensor, *, device: torch.device) -> list[list[torch.Tensor]]:
            self.batches.append(len(images))
            return [list(heads) for heads in zip(*model(images.to(device)), strict=True)]

        def __call__(self, fields: list[torch.Tensor]) -> list[Annotation]:
            return [Annotation(person) for person in persons]

    class Predictor:
        device = torch.device("cpu")

        def __init__(self, checkpoint: str) -> None:
            self.checkpoint, self.model, self.processor = checkpoint, model, Processor()
            self.model_cpu = SimpleNamespace(head_metas=heads)

        def preprocess(self, image: Any, anns: list[Any], meta: dict[str, Any]) -> tuple[Any, ...]:
            width, height = (16 * -(-(n - 1) // 16) + 1 for n in image.size)
            return torch.zeros(3, height, width), anns, {**meta, "offset": (0.0, 0.0)}

    module = ModuleType("openpifpaf")
    module.Predictor = Predictor  # type: ignore[attr-defined]
    return module


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def put(*persons: np.ndarray, skeleton: list[tuple[int, int]] = SKELETON) -> None:
        monkeypatch.setitem(sys.modules, "openpifpaf", stand_in(list(persons), skeleton))

    return put


def crop(height: int = 128) -> Crop:
    return Crop(Path("drawn.png"), np.zeros((height, 64, 3), np.uint8))


def test_the_fields_are_the_networks_own(install) -> None:  # type: ignore[no-untyped-def]
    install(LEFT)
    (label,) = OpenPifPaf().detect([crop()])
    assert label.persons == 1
    assert label.fields.shape == (36, 17, 9)
    np.testing.assert_allclose(label.fields, np.broadcast_to(np.arange(1, 37)[:, None, None] / 100, (36, 17, 9)))


def test_limbs_are_ordered_by_name(install) -> None:  # type: ignore[no-untyped-def]
    install(LEFT, skeleton=[(b, a) for a, b in reversed(SKELETON)])
    (label,) = OpenPifPaf().detect([crop()])
    np.testing.assert_allclose(label.fields[17:, 0, 0], np.arange(36, 17, -1) / 100)


def test_the_others_nodes_are_removed(install) -> None:  # type: ignore[no-untyped-def]
    hidden = LEFT.copy()
    hidden[15, 2] = 0  # left ankle
    install(RIGHT, hidden)
    (label,) = OpenPifPaf().detect([crop()])
    assert label.persons == 2
    # The noses lie at x = 16 and 48; the left ankle at x = 48 is the other's.
    assert (label.fields[0, :4, :4] > 0).all()
    assert (label.fields[0, :4, 5:] == 0).all()
    assert (label.fields[15, 12:, 5:] == 0).all()


def test_nobody_decoded_is_nobody(install) -> None:  # type: ignore[no-untyped-def]
    install()
    (label,) = OpenPifPaf().detect([crop()])
    assert label.persons == 0
    assert not label.fields.any()


def test_images_of_one_size_share_a_batch_and_stay_in_order(install) -> None:  # type: ignore[no-untyped-def]
    install(LEFT)
    provider = OpenPifPaf("resnet50", device="cpu", batch_size=2)
    labels = list(provider.detect(crop(height) for height in (128, 128, 128, 100, 128)))
    assert [label.fields.shape[1] for label in labels] == [17, 17, 17, 15, 17]
    assert provider._predictor.processor.batches == [2, 1, 1, 1]
    assert provider._predictor.checkpoint == "resnet50"


def test_a_checkpoint_of_other_keypoints_is_refused(install) -> None:  # type: ignore[no-untyped-def]
    install(LEFT, skeleton=SKELETON[:-1])
    with pytest.raises(LabelError, match=r"'animals' lacks heads for COCO's 17 keypoints and 19 limbs"):
        load_provider("openpifpaf", model="animals")


def test_the_grid_is_the_networks(install) -> None:  # type: ignore[no-untyped-def]
    install(LEFT)
    assert load_provider("openpifpaf").name == "openpifpaf"
    with pytest.raises(ConfigError, match="always 8 pixels apart, got stride 4"):
        load_provider("openpifpaf", stride=4)


def test_without_openpifpaf_the_way_round_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpifpaf", None)
    with pytest.raises(MissingDependencyError, match=r"needs openpifpaf.*environment of its own.*'keypoints'"):
        OpenPifPaf()
