"""Searching for people in a gallery: by images, by its own items, or by several views of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partreid.errors import CheckpointError, ConfigError, DataError
from partreid.functional.merging import SlotSums
from partreid.functional.tolerance import require_share
from partreid.inference.cameras import Cameras
from partreid.inference.inputs import image_name, walk
from partreid.models.checkpoint import find_checkpoint
from partreid.objects import Guided
from partreid.retrieval.calibration import CALIBRATION_FILE, MatchCalibration
from partreid.retrieval.filters import Filter, undated_left_out
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.how_compared import HowCompared, run_of
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.open_set import OpenSetRule
from partreid.retrieval.recording import file_hashes, recorded
from partreid.types import PartEmbeddings
from partreid.types.search import Hit, SearchResult


@dataclass(frozen=True, eq=False, repr=False)
class Lookup(Guided):
    """The result of :func:`look_up`.

    Attributes:
        names: of the Q queries. visible: the compared slots that each query shows.
        found: the search's result. probabilities: for each found item, that it shows the query's person; None if no
            calibration fits.
        how: how images were compared. undated: number of items that were not searched because the filter asks for a
            time and they have none.
    """

    names: tuple[str, ...]
    visible: tuple[tuple[str, ...], ...]
    found: SearchResult
    probabilities: list[list[float]] | None
    how: HowCompared
    undated: int

    def to_json(self) -> list[dict[str, Any]]:
        """An entry per query, with the query, its results, and the way of comparison."""
        more: dict[str, Any] = {"undated": self.undated} if self.undated else {}
        if self.found.decision is not None:
            more["rule"] = self.found.decision.to_json()
        return [
            {
                "query": name,
                "visible": list(self.visible[q]),
                "found": [self._row(hit, q) for hit in self.found[q]],
                "compared": self.how.to_json(),
            }
            | self._named(q)
            | more
            for q, name in enumerate(self.names)
        ]

    def _named(self, query: int) -> dict[str, str | None]:
        """Whom the rule names: an item's id, None for nobody; nothing without a rule."""
        if self.found.decision is None:
            return {}
        hit = self.found[query : query + 1].named[0]
        return {"named": None if hit is None else hit.id}

    def _row(self, hit: Hit, query: int) -> dict[str, Any]:
        return {
            "id": hit.id,
            "distance": round(hit.distance, 6) if hit.comparable else None,
            "probability": None if self.probabilities is None else round(self.probabilities[query][hit.rank - 1], 6),
            "compared": len(hit.part_distances),
            "camera": hit.camera,
            "time": None if hit.time is None else hit.time.isoformat(),
            "parts": {slot: round(distance, 6) for slot, distance in hit.part_distances.items()},
            "metadata": hit.metadata,
        }


def look_up(
    gallery: Gallery,
    images: Sequence[str | Path] = (),
    *,
    like: Sequence[str] = (),
    one_person: bool = False,
    k: int = 10,
    parts: Sequence[str] = (),
    where: Filter | None = None,
    calibration: MatchCalibration | None = None,
    cameras: Cameras = None,
    rule: OpenSetRule | None = None,
    prior: float | None = None,
) -> Lookup:
    """Find the k nearest items for each given image and for each given item of the gallery.

    Args:
        gallery: to search images, it needs its model unless that is the one inside the package. images: files, or
            folders of them.
        like: ids of items to use as queries; they are not among the results.
        one_person: all queries show one person; they are merged and searched once.
        k: number of results. parts: compare only these slots; empty = all. where: items to search.
        calibration: of the model, for probabilities. cameras: of the images, for an adapted model.
        rule: names an item or nobody; see :meth:`Gallery.search`.
        prior: share of searches whose person is in the gallery; the probabilities then share it among the searched
            items.

    Raises:
        ConfigError: there is no query; the prior is not a probability, or is given without a calibration; or parts are
            given with a rule.
        DataError: an image cannot be read, an item is not there, or images are given without the gallery's model.
        ShapeError: there is no such slot.
    """
    if not (images or like):
        raise ConfigError("Give a query: images, or --like ID for an item of the gallery.")
    files = [image_name(image, place) for place, image in enumerate(walk(list(images)))] if images else []
    asked = {"images": file_hashes(files), "like": like, "one_person": one_person, "k": k, "parts": parts}
    with recorded(gallery, "search", asked | {"where": where}) as event:
        found = _look_up(gallery, files, like, one_person, k, parts, where, calibration, cameras, rule, prior)
        event.results = sum(map(len, found.found.items))
    return found


def _look_up(
    gallery: Gallery,
    files: Sequence[str],
    like: Sequence[str],
    one_person: bool,
    k: int,
    parts: Sequence[str],
    where: Filter | None,
    calibration: MatchCalibration | None,
    cameras: Cameras,
    rule: OpenSetRule | None,
    prior: float | None,
) -> Lookup:
    chosen = (where or Filter()).model_copy(update={"not_ids": tuple(like)})
    query, names = _queries(gallery, files, like, cameras)
    if one_person:
        query, names = SlotSums.of(query.vectors[:, None], query.visibility[:, None]).mean(query), [", ".join(names)]
    matching = calibration.matching if calibration else MatchingConfig()
    if parts:
        matching = matching.model_copy(update={"slots": tuple(parts)})
    found, undated, count = gallery.read(
        lambda: (
            gallery.search(query, k, matching=None if rule and not parts else matching, where=chosen, rule=rule),
            undated_left_out(chosen, gallery.count),
            gallery.count(chosen),
        )
    )
    if prior is not None:
        if calibration is None:
            raise ConfigError("A prior is for probabilities, which need a calibration (partreid calibrate).")
        calibration = calibration.with_prior(require_share("prior", prior) / max(1, count))
    # A calibration knows its own way of comparing only.
    known = calibration if calibration and calibration.fits(found.matching) else None
    shown = (matching.prepare(query).visibility > 0).tolist()
    return Lookup(
        names=tuple(names),
        visible=tuple(tuple(slot for slot, seen in zip(found.slots, row, strict=True) if seen) for row in shown),
        found=found,
        probabilities=known.of_search(found).tolist() if known else None,
        how=HowCompared.of_search(found, gallery.extractor, calibration=known),
        undated=undated,
    )


def calibration_beside(model: str | Path, gallery: Gallery) -> tuple[MatchCalibration | None, str]:
    """The calibration beside the gallery's model and ""; or None and the reason, if none fits its way of embedding.

    Args:
        model: the source of the gallery's extractor. gallery: opened with it.
    """
    source = run_of(model)
    try:
        if gallery.extractor is None or not (find_checkpoint(source) / CALIBRATION_FILE).is_file():
            return None, ""
        return MatchCalibration.load(source, extractor=gallery.extractor), ""
    except CheckpointError:
        return None, ""
    except DataError as error:
        return None, f"There are no probabilities. {error}"


def _queries(
    gallery: Gallery, files: Sequence[str], like: Sequence[str], cameras: Cameras
) -> tuple[PartEmbeddings, list[str]]:
    parts: list[PartEmbeddings] = []
    names: list[str] = []
    if files:
        parts.append(gallery.embedder().embed(list(files), cameras=cameras))
        names += files
    if like:
        records = gallery.get(like)
        parts.append(records.embeddings.to(dtype=parts[0].vectors.dtype if parts else None))
        names += records.ids
    return PartEmbeddings.cat(parts), names
