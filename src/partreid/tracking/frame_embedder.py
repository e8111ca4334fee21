"""The appearance of all persons in the boxes of a frame, for trackers."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from partreid.errors import CheckpointError, ConfigError, DataError
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ChannelOrder, ImageLike
from partreid.models.shipped import SHIPPED
from partreid.objects import Guided
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.how_compared import find_calibration, run_of
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings


class FrameEmbedder(Guided):
    """Embeds the persons in the boxes of a frame, one row per box.

    An exported model is fastest: ``partreid export shipped --to openvino`` (docs/tracking.md has figures).

    Args:
        model: as for :meth:`~partreid.inference.extractor.PartExtractor.from_pretrained`, or an extractor; default: the
            trained model inside the package.
        order: of a frame's channels: "bgr" for frames that OpenCV reads, "rgb" for all others. There is no default,
            because a wrong order would go unnoticed and only make all results a little worse.
        calibration: converts the model's distances to probabilities; itself or its file. None = the one beside the
            model, or that of the shipped model, if one of them fits.
        runtime: device and precision of a model that is not loaded yet.

    Attributes:
        extractor: of the model. calibration: that fits the model, or None.

    Raises:
        CheckpointError, ConfigError: as ``from_pretrained``. DataError: the calibration belongs to another model.

    Example:
        >>> embedder = FrameEmbedder(order="rgb")
        >>> embedder(np.zeros((90, 160, 3), np.uint8), [[10, 5, 40, 85], [300, 5, 340, 85]]).visibility.shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        model: str | Path | PartExtractor = SHIPPED,
        *,
        order: ChannelOrder,
        calibration: str | Path | MatchCalibration | None = None,
        runtime: RuntimeConfig | None = None,
    ) -> None:
        if order not in ("rgb", "bgr"):
            raise ConfigError(f'Expected order="bgr" (frames of OpenCV) or "rgb", got {order!r:.80}.')
        self.order = order
        if isinstance(model, PartExtractor):
            self.extractor = model
        else:
            self.extractor = PartExtractor.from_pretrained(model, runtime=runtime)
        given = None if calibration is None else find_calibration(calibration, model)
        self.calibration = _fitting(model, self.extractor) if given is None else given.check(self.extractor)

    def __call__(self, frame: ImageLike, boxes: ArrayLike | None) -> PartEmbeddings:
        """Embeddings of the persons in the boxes of one frame.

        Args:
            frame: uint8 [H, W, 3], or any other image.
            boxes: [N, 4] numbers x1, y1, x2, y2 in pixels; detections that hold them as ``xyxy``, such as those of
                supervision; None where nobody was found.

        Returns:
            [N, S, D], row i of box i. A box that shows nothing of the frame gets a row that is visible in no slot, and
            a warning.

        Raises:
            DataError: the frame cannot be read, or the boxes are no corners in pixels.
            ShapeError, WrongTypeError: the boxes are not [N, 4] numbers.
        """
        return self.extractor.embed_boxes(frame, [] if boxes is None else boxes, order=self.order)


def _fitting(model: str | Path | PartExtractor, extractor: PartExtractor) -> MatchCalibration | None:
    """The calibration beside the model, or the shipped model's, if one was made for this extractor."""
    for source in (SHIPPED,) if isinstance(model, PartExtractor) else (run_of(model), SHIPPED):
        try:
            return MatchCalibration.load(source, extractor=extractor)
        except (CheckpointError, DataError):
            continue
    return None
