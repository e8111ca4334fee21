"""Checking that an exported file computes the same as PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partreid.errors import ExportError
from partreid.objects import Guided
from partreid.runners.runner import Runner

TOLERANCE = 1e-3
"""Largest difference that may be rounding: relative to its length for a vector, absolute for visibility and attention.

Both sides compute in float32, but in another order of their sums. This gives 1e-6 for most networks, and up to 1e-4 for
ResNet-50-IBN-a with random weights, because its instance norm divides by small numbers. Another padding or another mean
of the pixels gives more than 1e-2, and so does bfloat16 (docs/export.md).
"""

_REPORT = "Please report it, with the versions of PyTorch and of the library that runs the file."
_HINTS = {"visibility": "Where vectors and attention agree, this part lies right at its threshold: try other --images."}


@dataclass(frozen=True, repr=False)
class Agreement(Guided):
    """The largest differences between two runners over some images.

    Attributes:
        images: their number. vectors: largest distance of two vectors, relative to the length of PyTorch's.
        visibility, attention: largest difference.
    """

    images: int
    vectors: float
    visibility: float
    attention: float


def check_agreement(
    reference: Runner, exported: Runner, pixels: np.ndarray, *, tolerance: float = TOLERANCE
) -> Agreement:
    """Run images through both runners: the first image alone, and all as one batch.

    Args:
        reference: PyTorch, in float32. exported: the file, in float32.
        pixels: uint8 [N, H, W, 3] RGB. tolerance: as :data:`TOLERANCE`.

    Raises:
        ExportError: the outputs differ by more. The message names the output, batch size, place and difference.
    """
    found = [_compare(reference, exported, pixels[:count], tolerance) for count in dict.fromkeys((1, len(pixels)))]
    worst = [max(getattr(one, name) for one in found) for name in ("vectors", "visibility", "attention")]
    return Agreement(len(pixels), *worst)


def _compare(reference: Runner, exported: Runner, pixels: np.ndarray, tolerance: float) -> Agreement:
    expected, got = reference.run(pixels, None), exported.run(pixels, None)
    lengths = expected.embeddings.vectors.norm(dim=2)
    distances = (got.embeddings.vectors - expected.embeddings.vectors).norm(dim=2)
    differences = {
        # Relative to the length, or to a tenth of the mean length if that is more.
        "vectors": distances / lengths.clamp(min=float(lengths.mean()) / 10),
        "attention": (got.attention - expected.attention).abs().amax(dim=(2, 3)),
        # Visibility comes last, because a part at its threshold may differ even if everything else agrees.
        "visibility": (got.embeddings.visibility - expected.embeddings.visibility).abs(),
    }
    for name, values in differences.items():
        values = values.nan_to_num(nan=float("inf"))
        if float(values.max()) > tolerance:
            image, column = divmod(int(values.argmax()), values.shape[1])
            where = f"channel {column}" if name == "attention" else f"slot {reference.slots[column]!r}"
            raise ExportError(
                f"The exported network computes other {name} than PyTorch: in a batch of {len(pixels)} they differ by "
                f"{float(values.max()):.2g} at image {image}, {where}, and rounding gives less than {tolerance:g}. "
                f"Nothing was written. {_HINTS.get(name, _REPORT)}"
            )
    return Agreement(len(pixels), **{name: float(values.max()) for name, values in differences.items()})
