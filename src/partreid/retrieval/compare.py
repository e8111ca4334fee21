"""Comparing a few images with a few others: the distance, the distance of each part, and the probability of a match."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partreid.errors import ConfigError, ShapeError
from partreid.functional.distance import pairwise_slot_distances
from partreid.objects import Guided, guided
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings
from partreid.types.tensors import check_comparable


@dataclass(frozen=True, eq=False, repr=False)
class ImageComparison(Guided):
    """The result of comparing A images with B others.

    Attributes:
        slots: S names of the compared slots.
        distances: [A, B] (Eq. 9), infinity where nothing was compared.
        compared: [A, B] int64, the number of slots in each mean distance; the more, the more certain.
        part_distances: [A, B, S], NaN where a slot was not compared because it is not visible in both images.
        probability: [A, B] that both show one person; None without a calibration.
    """

    slots: tuple[str, ...]
    distances: Tensor
    compared: Tensor
    part_distances: Tensor
    probability: Tensor | None

    def parts(self, first: int = 0, second: int = 0) -> dict[str, float]:
        """The distance of one pair by slot, for the slots that were compared.

        Raises:
            ShapeError: there is no such pair.
        """
        for index, count in ((first, len(self.distances)), (second, self.distances.shape[1])):
            if not isinstance(index, int) or not 0 <= index < count:
                raise ShapeError(f"Expected the number of an image in 0..{count - 1}, got {index!r:.80}.")
        row = self.part_distances[first, second].tolist()
        return {slot: value for slot, value in zip(self.slots, row, strict=True) if value == value}


@guided
def compare(
    first: PartEmbeddings,
    second: PartEmbeddings,
    *,
    matching: MatchingConfig | None = None,
    calibration: MatchCalibration | None = None,
) -> ImageComparison:
    """Compare every image of one side with every image of the other.

    This is for a few images. Put large collections into a :class:`~partreid.retrieval.gallery.Gallery`.

    Args:
        first: [A, S, D]. second: [B, S, D], of the same model.
        matching: how to compare; None = as the calibration was fitted, or without calibration as the model was made
            for.
        calibration: of this model, for probabilities.

    Raises:
        ShapeError: slots, widths or models differ, or values are not allowed.
        WrongTypeError: one side is no embedding, for example an image.
        DataError: the calibration belongs to another model.
        ConfigError: a matching rule is given together with a calibration for another rule.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[None], torch.tensor([[1.0, 0.0]]), ("head", "feet"))
        >>> other = PartEmbeddings(torch.zeros(1, 2, 2), torch.ones(1, 2), ("head", "feet"))
        >>> calibration = MatchCalibration(prior=0.5, offsets=(2.0, 6.0), slopes=(1.0, 2.0))
        >>> found = compare(e, other, calibration=calibration)
        >>> found.distances, found.compared, found.parts(), found.probability
        (tensor([[1.]]), tensor([[1]]), {'head': 1.0}, tensor([[0.7311]]))
    """
    check_comparable(first, second)
    if calibration is None:
        matching = MatchingConfig.given(matching).resolved(first, second)
    else:
        calibration.check_models(first.model, second.model)
        own = calibration.matching.resolved(first, second)
        if matching is not None and matching.resolved(first, second) != own:
            raise ConfigError(
                "A calibration is only valid for its own way of matching. Leave `matching` out, or fit another one."
            )
        matching = own
    a, b = matching.prepare(first), matching.prepare(second)
    rule = matching.prepared
    distances, compared = rule.distances(a, b), rule.comparable(a, b)
    everyone = torch.arange(len(b)).expand(len(a), len(b))
    return ImageComparison(
        slots=a.slots,
        distances=distances,
        compared=compared,
        part_distances=pairwise_slot_distances(a, b, everyone, normalize=rule.normalize, visibility=rule.visibility),
        probability=None if calibration is None else calibration.probability(distances, compared),
    )
