"""Items, images and galleries in the form in which the page shows them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from partreid.app.messages import FoundItem, Question
from partreid.app.recent import Recent
from partreid.app.uploads import TRACK, Kept, encode
from partreid.functional.distance import pairwise_slot_distances
from partreid.parts import FOREGROUND
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings
from partreid.types.search import SearchResult
from partreid.viz.attention import slot_maps
from partreid.viz.overlay import enlarge, overlay_heat, overlay_parts

_MOST_PAIRS, _LONGEST, _SAMPLE = 100, 2000, 64
_SHOWN = 144, 288


def found_items(result: SearchResult, probabilities: Sequence[float] | None) -> list[FoundItem]:
    """The results of one query in the page's form. Numbers that are not finite are None."""
    return [
        FoundItem(
            id=hit.id,
            camera=hit.camera,
            time=None if hit.time is None else hit.time.isoformat(),
            track=_text(hit.metadata[TRACK]) if TRACK in hit.metadata else None,
            metadata=_shown(hit.metadata),
            distance=hit.distance if hit.comparable else None,
            probability=probabilities[hit.rank - 1] if hit.comparable and probabilities else None,
            compared=len(hit.part_distances),
            parts={slot: hit.part_distances.get(slot) for slot in result.slots},
        )
        for hit in result[0]
    ]


def _shown(metadata: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Metadata as texts; long ones are cut."""
    pairs = [(_cut(key), _cut(_text(value))) for key, value in islice(metadata.items(), _MOST_PAIRS)]
    more = len(metadata) - len(pairs)
    return (*pairs, ("…", f"and {more} more")) if more else tuple(pairs)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def farthest_usual(embeddings: PartEmbeddings, matching: MatchingConfig) -> float | None:
    """The 95th percentile of a part's distance over all pairs; None if no two images can be compared.

    Args:
        embeddings: [N, S, D] of images, N a few dozens. matching: how they are compared.
    """
    shown = matching.prepare(embeddings)
    pairs = torch.arange(len(shown)).expand(len(shown), -1)
    apart = pairwise_slot_distances(shown, shown, pairs, normalize=matching.normalize, visibility=matching.visibility)
    first, second = torch.triu_indices(len(shown), len(shown), offset=1)
    known = apart[first, second].double()
    known = known[known.isfinite()]
    return float(known.quantile(0.95)) if len(known) and known.max() > 0 else None


class FullBar:
    """The distance of a full bar, from a sample of the gallery, so that no single result changes the scale.

    Args:
        gallery: it is sampled at first, and again when its size has doubled.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery, self._sampled = gallery, -1
        self._sample: PartEmbeddings | None = None
        self._bars: dict[str, float | None] = {}

    def of(self, matching: MatchingConfig) -> float | None:
        """The distance of a full bar for a matching rule; None if there are too few items."""
        if (sampled := len(self._gallery).bit_length()) != self._sampled:
            self._sampled, self._sample = sampled, None
            if (page := next(self._gallery.records(), None)) is not None:
                some = np.linspace(0, len(page) - 1, min(_SAMPLE, len(page))).round().astype(int)
                self._sample = page[some].embeddings.to("cpu", torch.float32)
            self._bars.clear()
        key = matching.model_dump_json()
        if key not in self._bars:
            self._bars[key] = None if self._sample is None else farthest_usual(self._sample, matching)
        return self._bars[key]


def told(question: Question, kept: Recent[Kept]) -> dict[str, Any]:
    """A question in the audit log's form, with images named by the hash of their file."""
    found = question.model_dump(mode="json", exclude_defaults=True)
    for one in found["query"]:
        if (name := one.pop("image", None)) is not None:
            image = kept.get(name)
            one["sha256"] = "not kept any more" if image is None else image.sha256
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_name(location: str) -> str:
    """A gallery's name without its folders, server, user and password."""
    return location.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition("@")[2] or location[:1]


@dataclass(frozen=True, eq=False)
class Seen:
    """An image and the model's output for it.

    Attributes:
        image: uint8 [H, W, 3]. embeddings: [1, S, D]. attention: [K+1, h, w], background first; K = 0 without parts.
    """

    image: np.ndarray
    embeddings: PartEmbeddings
    attention: np.ndarray

    @property
    def visibility(self) -> dict[str, float]:
        """The visibility of each slot by name."""
        return dict(zip(self.embeddings.slots, self.embeddings.visibility[0].tolist(), strict=True))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the K parts that have maps."""
        slots = self.embeddings.slots
        return slots[len(slots) - len(self.attention) + 1 :]

    def draw_slot(self, slot: str) -> str:
        """The attention for one slot, as the data URL of an image; "" without a map."""
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
