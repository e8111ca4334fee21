"""What the model sees in an image; its attention is drawn on request."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from partreid.app.uploads import encode
from partreid.parts import FOREGROUND
from partreid.types import PartEmbeddings
from partreid.viz.attention import slot_maps
from partreid.viz.overlay import enlarge, overlay_heat, overlay_parts

_SHOWN = 144, 288


@dataclass(frozen=True, eq=False)
class Seen:
    """An image and what the model says of it.

    Attributes:
        image: uint8 [H, W, 3]. embeddings: [1, S, D]. attention: [K+1, h, w], background first; K = 0 without parts.
    """

    image: np.ndarray
    embeddings: PartEmbeddings
    attention: np.ndarray

    @property
    def visibility(self) -> dict[str, float]:
        """Of each slot, by name."""
        return dict(zip(self.embeddings.slots, self.embeddings.visibility[0].tolist(), strict=True))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the K parts that have maps."""
        slots = self.embeddings.slots
        return slots[len(slots) - len(self.attention) + 1 :]

    def draw_slot(self, slot: str) -> str:
        """Where the model looks for one slot, as the address of an image that holds itself; "" if nowhere special."""
        maps = slot_maps(self.attention[1:], (FOREGROUND, *self.parts))
        return _address(overlay_heat(enlarge(self.image, *_SHOWN), maps[slot])) if slot in maps else ""

    def draw(self) -> str:
        """The image with its visible parts in their colours."""
        image = enlarge(self.image, *_SHOWN)
        if self.parts:
            seen = np.array([self.visibility[part] for part in self.parts])
            image = overlay_parts(image, self.attention, self.parts, visibility=seen)
        return _address(image)


def _address(image: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode(image, longest=2 * _SHOWN[1])).decode("ascii")
