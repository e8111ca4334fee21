"""A frame and its boxes, as a tracker gives them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from partreid import PartExtractor
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.retrieval import MatchCalibration
from partreid.tracking import FrameEmbedder

BOXES = np.array([[10, 5, 40, 85], [60, 5, 90, 85.0]])


@pytest.fixture(scope="module")
def embedder() -> FrameEmbedder:
    return FrameEmbedder(order="rgb")


def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def test_a_row_per_box_as_the_extractor_says(embedder: FrameEmbedder) -> None:
    found = embedder(frame(), BOXES)
    alone = embedder.extractor.embed([frame()[5:85, 10:40], frame()[5:85, 60:90]])
    torch.testing.assert_close(found.vectors, alone.vectors, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.visibility, alone.visibility)
    detections = SimpleNamespace(xyxy=BOXES, confidence=None)
    assert torch.equal(embedder(frame(), detections).vectors, found.vectors)


def test_the_order_of_channels_must_be_said(embedder: FrameEmbedder) -> None:
    swapped = FrameEmbedder(embedder.extractor, order="bgr")
    assert torch.equal(swapped(frame()[..., ::-1], BOXES).vectors, embedder(frame(), BOXES).vectors)
    with pytest.raises(TypeError, match="order"):
        FrameEmbedder(embedder.extractor)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r'order="bgr"'):
        FrameEmbedder(embedder.extractor, order="gbr")  # type: ignore[arg-type]


@pytest.mark.parametrize("nobody", [None, [], np.empty((0, 4)), SimpleNamespace(xyxy=np.empty((0, 4)))])
def test_a_frame_without_anybody(embedder: FrameEmbedder, nobody: object) -> None:
    found = embedder(frame(), nobody)  # type: ignore[arg-type]
    assert found.shape == (0, 6, 256)


def test_boxes_that_show_nothing_are_unknown_and_others_refused(embedder: FrameEmbedder) -> None:
    with pytest.warns(UserWarning, match="1 of 2 boxes"):
        found = embedder(frame(), [BOXES[0], [300, 5, 340, 85]])
    assert found.visibility[1].tolist() == [0.0] * 6
    with pytest.raises(DataError, match="fractions"):
        embedder(frame(), BOXES / 160)
    with pytest.raises(ShapeError, match="N, 4"):
        embedder(frame(), [[1, 2, 3]])


def test_it_finds_the_calibration_that_fits(embedder: FrameEmbedder, tmp_path: Path) -> None:
    assert embedder.calibration is not None
    assert embedder.calibration.model == embedder.extractor.fingerprint
    otherwise = PartExtractor.from_pretrained(mirror=True)
    assert FrameEmbedder(otherwise, order="rgb").calibration is None  # it was fitted without mirror images
    foreign = MatchCalibration(prior=0.5, offsets=(1.0,) * 6, slopes=(1.0,) * 6, model="other")
    with pytest.raises(DataError, match="made for another model"):
        FrameEmbedder(embedder.extractor, order="rgb", calibration=foreign)
