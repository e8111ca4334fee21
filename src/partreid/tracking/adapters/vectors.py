"""One vector of length 1 per detection, even if nothing is visible, for trackers that divide by the length."""

from __future__ import annotations

from itertools import count

import numpy as np
import torch
from torch import Tensor

from partreid.objects import Guided
from partreid.tracking.memory import single_vector
from partreid.types import PartEmbeddings
from partreid.types.numbers import require_whole


class UnitVectors(Guided):
    """:func:`~partreid.tracking.memory.single_vector`, with a random direction for each detection that shows too
    little.

    Such trackers cannot represent "unknown". Zeros would lead to a division by zero, or be refused. One fixed vector
    would make all unknown detections one person. So each gets a random direction. With some hundred dimensions it is
    almost orthogonal to every other vector, so the tracker sees "another person". In trackers that take the smaller of
    two costs, such as BoT-SORT, the boxes then decide. But each such detection makes the track's average worse.

    Args:
        least_parts: how many body parts a detection must show.

    Raises:
        ShapeError: ``least_parts`` is not a whole number of at least 1.

    Example:
        >>> embeddings = PartEmbeddings(torch.ones(2, 1, 2), torch.tensor([[1.0], [0.0]]))
        >>> vectors = UnitVectors()(embeddings)
        >>> vectors[0], vectors.norm(dim=1)
        (tensor([0.7071, 0.7071]), tensor([1., 1.]))
    """

    def __init__(self, *, least_parts: int = 1) -> None:
        self.least_parts = require_whole("least_parts", least_parts, least=1)
        self._unknown = count()

    def __call__(self, embeddings: PartEmbeddings) -> Tensor:
        """[N, S·D] float32 in main memory, each of length 1.

        Raises:
            ShapeError: a value is not allowed.
        """
        vectors = single_vector(embeddings, least_parts=self.least_parts).cpu()
        for row in (~vectors.any(dim=1)).nonzero().flatten().tolist():
            random = np.random.default_rng(next(self._unknown)).standard_normal(vectors.shape[1])
            vectors[row] = torch.from_numpy(random / np.linalg.norm(random))
        return vectors
