"""What the model sees in an image: embedded once; its attention is drawn on request."""

from __future__ import annotations

import base64
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch

from partreid.app.recent import Recent
from partreid.app.uploads import encode
from partreid.inference.extractor import PartExtractor
from partreid.parts import FOREGROUND
from partreid.types import PartEmbeddings
from partreid.viz.attention import slot_maps
from partreid.viz.overlay import enlarge, overlay_heat, overlay_parts

_SHOWN = 144, 288
_KEPT = 256


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


class Eye:
    """Runs the model on one image at a time, and keeps its last outputs: it runs only once for each image."""

    def __init__(self, extractor: PartExtractor) -> None:
        self.extractor = extractor
        self._seen = Recent[tuple[PartEmbeddings, np.ndarray]](_KEPT)
        self._lock = Lock()

    def look(self, image: np.ndarray, name: Hashable) -> Seen:
        """What the model says of an image.

        Args:
            image: uint8 [H, W, 3]. name: images of one name are the same.

        Raises:
            DataError: the model needs more than an image.
        """
        with self._lock:
            if (seen := self._seen.get(name)) is None:
                (output,) = self.extractor.outputs([image])
                seen = output.embeddings.to(dtype=torch.float32), output.attention[0].float().numpy()
                self._seen.put(name, seen)
            return Seen(image, *seen)
