"""Where pose fields come from. A provider turns pictures into fields; each imports its own library when built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, nearest

PROVIDERS = ("openvino",)
"""Names that :func:`load_provider` knows."""


@dataclass(frozen=True, eq=False)
class PoseLabel:
    """What a provider says of one picture.

    Attributes:
        fields: float32 [36, h, w] in [0, 1] of the target person; all zero where no person was found.
        persons: how many persons were found.
    """

    fields: NDArray[np.float32]
    persons: int


class PoseProvider(Protocol):
    """Turns pictures into pose fields of their target persons.

    Attributes:
        name: name of the label folder the fields belong in.
    """

    name: str

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[PoseLabel]:
        """One label per picture, in order. The pictures are uint8 [H, W, 3] RGB and may differ in size."""
        ...


def load_provider(name: str, *, model: Path, stride: int = 8) -> PoseProvider:
    """A provider by name.

    Args:
        name: one of :data:`PROVIDERS`. model: its network file. stride: pixels between the fields' nodes.

    Raises:
        ConfigError: there is no such provider.
        MissingDependencyError: its library is not installed.
        LabelError: the network file cannot be read.
    """
    if name == "openvino":
        from partreid.labels.providers.openvino import OpenVinoPose

        return OpenVinoPose(model, stride=stride)
    raise ConfigError(f"Unknown label provider {name!r}. {nearest(name, PROVIDERS)}")
