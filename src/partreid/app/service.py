"""Everything that the page does, without HTTP. Images, boxes, filters and parts go in, frozen answers come out."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Hashable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from partreid.app.answers import FullBar, Seen, found_items, short_name, told
from partreid.app.changes import Changes
from partreid.app.journeys import Journeys
from partreid.app.messages import (
    About,
    ComparedSide,
    ComparisonAnswer,
    FoundItem,
    ItemQuestion,
    KeptImage,
    Look,
    PartPair,
    Question,
    Ranking,
    Sighting,
    Slot,
)
from partreid.app.recent import Recent
from partreid.app.uploads import ItemFiles, Kept, Limits, UnknownImageError, crop, decode_image, encode, item_image
from partreid.errors import ConfigError, DataError
from partreid.functional.visibility import weighs_unseen
from partreid.inference.extractor import PartExtractor
from partreid.linking.corrections import corrections_of
from partreid.models.shipped import named_model
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.filters import Filter, undated_left_out
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.open_set import OpenSetRule
from partreid.retrieval.recording import record_refusal, recorded
from partreid.tracking.tracklets import merge_tracklet
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords
from partreid.types.search import SearchResult
from partreid.viz.colors import css, part_colors, readable

MOST_CAMERAS = 200
"""Most cameras that the page lists."""

_PREVIEW, _THUMBNAIL, _OUTPUTS = 1600, 512, 256

NOTHING_VISIBLE = (
    "No part is visible in the query, so nothing can be compared. Draw the box closer around the person, or take "
    "another image."
)
NOTHING_CHOSEN_VISIBLE = "None of the chosen parts is visible in the query. Choose others, or take another image."
EMPTY = "The gallery is empty. Put images into it with: partreid gallery add"
NOTHING_LEFT = "No item meets the filter. Choose more cameras or a longer time."
NOTHING_SHARED = "No item shows a part that is visible in the query, so nothing can be compared."


class PageService:
    """Searches a gallery for the person in an image. Its methods may be called from several threads.

    Args:
        gallery: to search; made by the extractor's model. extractor: embeds images.
        calibration: converts distances to probabilities; None = there are no probabilities.
        calibration_problem: why there is none, for the page to show.
        limits: for requests of clients.
        corrections: the file of people's corrections; None = the one in the gallery's folder.
        edits: whether the page may merge and split persons.
        rule: names somebody or nobody, if the page requests it.

    Attributes:
        journeys: the persons of the gallery. changes: what programs may change.

    Raises:
        DataError: gallery or calibration belong to another model.
    """

    def __init__(
        self,
        gallery: Gallery,
        extractor: PartExtractor,
        *,
        calibration: MatchCalibration | None = None,
        calibration_problem: str = "",
        limits: Limits | None = None,
        corrections: Path | None = None,
        edits: bool = False,
        rule: OpenSetRule | None = None,
    ) -> None:
        if gallery.model and gallery.model != extractor.fingerprint:
            raise DataError(
                f"The gallery was made by the model {named_model(gallery.model)}, and this one is "
                f"{named_model(extractor.fingerprint)}. Start the page with the model, image size and mirror choice "
                "that the gallery was made with."
            )
        own = None if calibration is None else calibration.check(extractor).matching
        self.how = HowCompared.of(extractor, own, calibration=calibration)
        self.matching = self.how.matching
        self.calibration = None if calibration is None else calibration.model_copy(update={"matching": self.matching})
        self._calibration_problem, self._rule = calibration_problem, rule
        self.limits = limits or Limits()
        self.kept = Recent[Kept](self.limits.kept_bytes, size=lambda one: one.image.nbytes)
        self._files = ItemFiles(self.limits)
        self._gallery, self._extractor = gallery, extractor
        self._outputs = Recent[tuple[PartEmbeddings, np.ndarray]](_OUTPUTS)
        self._model_lock = Lock()
        self._full_bar = FullBar(gallery)
        self._gallery_lock = Lock()  # a store may not support several threads
        corrections = corrections or corrections_of(gallery)
        self.journeys = Journeys(gallery, self._gallery_lock, corrections=corrections, edits=edits)
        self.changes = Changes(
            gallery, self._gallery_lock, extractor, self._model_lock, kept=self._kept,
            calibration=self.calibration, corrections=corrections,
        )  # fmt: skip

    def about(self) -> About:
        """The content of the page before the first search."""
        slots, known = self._extractor.slots, self.calibration
        colors = part_colors(slots)
        with self._gallery_lock:
            cameras = [one.camera for one in self._gallery.cameras() if one.camera is not None]
            items = len(self._gallery)
        return About(
            gallery=short_name(self._gallery.store.location),
            items=items,
            slots=tuple(Slot(slot, readable(slot), css(colors[slot])) for slot in self.matching.slots or slots),
            cameras=tuple(cameras[:MOST_CAMERAS]),
            more_cameras=len(cameras) > MOST_CAMERAS,
            normalize=bool(self.matching.normalize),
            calibration=f"{known.fitted_on or 'unknown data'}, prior {100 * known.prior:.2g} %" if known else None,
            calibration_problem=self._calibration_problem,
            rule=None if self._rule is None else f"{len(self._rule)} persons of {self._rule.fitted_on}",
            compared=str(self.how),
            matching=self.how.to_json(),
            upload_bytes=self.limits.upload_bytes,
        )

    def keep(self, data: bytes) -> KeptImage:
        """Decode an image file and keep it for a while.

        Raises:
            TooLargeError: too many bytes or pixels. DataError: it is no whole image.
        """
        image = decode_image(data, self.limits)
        name = secrets.token_urlsafe(16)  # nobody can guess it
        self.kept.put(name, Kept(image, hashlib.sha256(data).hexdigest()))
        return KeptImage(name, image.shape[1], image.shape[0])

    def preview(self, image: str) -> bytes:
        """A kept image as JPEG, reduced to a screen's size. UnknownImageError if it is not kept."""
        return encode(self._kept(image).image, longest=_PREVIEW)

    def item_image(self, item: str) -> bytes:
        """An item's image as JPEG.

        Raises:
            UnknownImageError: the item has no image that can be shown. DataError: there is no such item.
        """
        return encode(item_image(self._record(item).items[0], self.limits, self._files), longest=_THUMBNAIL)

    def look(self, query: Sequence[Sighting]) -> Look:
        """The visible parts of a person; the embeddings are kept for the following search.

        Raises:
            UnknownImageError: an image is not kept any more. DataError: a box or an item is wrong.
        """
        embeddings = self.matching.prepare(self._embed(query))
        return Look(dict(zip(embeddings.slots, embeddings.visibility[0].tolist(), strict=True)))

    def search(self, question: Question) -> Ranking:
        """The nearest items that can be compared.

        Raises:
            UnknownImageError: an image is not kept any more.
            PartReIDError: a box, an item, a part or the matching rule is wrong.
        """
        with recorded(self._gallery, "search", told(question, self.kept)) as event:
            ranking = self._search(question)
            event.results = len(ranking.results)
        return ranking

    def _search(self, question: Question) -> Ranking:
        query, matching = self._embed(question.query), self._matching(question)
        asked, rule = matching.prepare(query), self._asked_rule(question, matching)
        with self._gallery_lock:
            empty, searched, undated, result = self._gallery.read(
                lambda: (
                    not len(self._gallery),
                    self._gallery.count(question.where),
                    undated_left_out(question.where, self._gallery.count),
                    self._gallery.search(query, question.k, matching=matching, where=question.where, rule=rule),
                )
            )
        every = self._found(
            result, matching, prior=None if question.prior is None else question.prior / max(1, searched)
        )
        found = tuple(found for found in every if found.distance is not None)
        if not asked.visibility.any() and not weighs_unseen(matching.visibility, len(asked.slots)):
            note = NOTHING_CHOSEN_VISIBLE if self.matching.prepare(query).visibility.any() else NOTHING_VISIBLE
        elif not searched:
            note = EMPTY if empty else NOTHING_LEFT
        elif not found:
            note = NOTHING_SHARED
        else:
            others = 0 if len(found) == min(question.k, searched) else searched - len(found)
            note = f"No visible part in common with the query: {others} of {searched} items searched." if others else ""
        notes = (note, f"Not searched, because their time is unknown: {undated} more items." if undated else "")
        told = tuple(filter(None, notes))
        if result.decision is None:
            return Ranking(found, searched, told)
        named = result.named[0]
        said = result.decision.statement
        return Ranking(found, searched, told, said, None if named is None else named.id, result.decision.fits)

    def compare(self, question: ItemQuestion) -> ComparisonAnswer:
        """An item beside the query: the distance of each part, and where the model looks for it in both.

        Raises:
            UnknownImageError: an image is not kept any more.
            PartReIDError: a box, an item, a part or the way to compare is wrong.
        """
        with recorded(self._gallery, "compare", told(question, self.kept)) as event:
            event.results = 1
            return self._compare(question)

    def _compare(self, question: ItemQuestion) -> ComparisonAnswer:
        query, matching = self._embed(question.query), self._matching(question)
        record = self._record(question.item)
        with self._gallery_lock:
            result = self._gallery.search(query, 1, matching=matching, where=Filter(ids=(question.item,)))
            full_bar = self._full_bar.of(matching)
        if not result.items[0]:
            raise DataError("The item is not in the gallery any more. Search again.")
        asked, there = matching.prepare(query), matching.prepare(record.embeddings)
        problems: list[str] = []
        shown = [self._seen_or_not(sighting, problems) for sighting in question.query]
        item = self._seen_or_not(Sighting(item=question.item), problems)
        queries = [seen for seen in shown if seen is not None]
        (found,) = self._found(result, matching)
        parts = []
        for i, slot in enumerate(asked.slots):
            # Of several images, the one that shows the part best.
            best = max(queries, key=lambda seen: seen.visibility[slot], default=None)
            sides = [
                ComparedSide(float(e.visibility[0, i]), seen.draw_slot(slot) if seen else "")
                for e, seen in ((asked, best), (there, item))
            ]
            parts.append(PartPair(slot, found.parts[slot], *sides))
        return ComparisonAnswer(
            found,
            tuple(parts),
            tuple(seen.draw() if seen else "" for seen in shown),
            item.draw() if item else "",
            tuple(dict.fromkeys(problems)),
            full_bar,
        )

    def record_refusal(self, operation: str, why: str) -> None:
        """Record a refused request in the gallery's audit log."""
        record_refusal(self._gallery, operation, {}, why)

    def _matching(self, question: Question) -> MatchingConfig:
        """The matching rule: the model's or the calibration's, with the changes of the question."""
        changes: dict[str, Any] = {}
        if question.normalize is not None:
            changes["normalize"] = question.normalize
        every = self.matching.slots or self._extractor.slots
        if question.parts is not None and set(question.parts) != set(every):
            if unknown := set(question.parts) - set(every):
                raise DataError(f"There is no part {min(unknown)!r:.80}. Known: {', '.join(every)}.")
            if not question.parts:
                raise DataError("Choose at least one part to compare.")
            changes["slots"] = tuple(slot for slot in every if slot in question.parts)
        return self.matching.model_copy(update=changes)

    def _asked_rule(self, question: Question, matching: MatchingConfig) -> OpenSetRule | None:
        """The rule with the requested guarantee."""
        if question.max_false is None:
            return None
        if self._rule is None:
            raise ConfigError('There is no rule for the answer "nobody". Make one with: partreid calibrate --rule')
        if not self._rule.calibration.fits(matching):
            raise ConfigError('The rule for the answer "nobody" compares all parts in its own way. Choose all parts.')
        return self._rule.at(max_false=question.max_false, prior=question.prior)

    def _embed(self, query: Sequence[Sighting]) -> PartEmbeddings:
        """[1, S, D] of one person in several images."""
        every = [
            self._record(one.item).embeddings.to("cpu", torch.float32)
            if one.item is not None
            else self._look_at(one).embeddings
            for one in query
        ]
        return every[0] if len(every) == 1 else merge_tracklet(PartEmbeddings.cat(every))

    def _kept(self, name: str) -> Kept:
        """An image that was sent."""
        image = self.kept.get(name)
        if image is None:
            raise UnknownImageError("The image is not kept any more. Send it again.")
        return image

    def _look_at(self, one: Sighting) -> Seen:
        """The model's output for a sent image, or for an item's. The model runs only once for each image."""
        name: Hashable
        if one.image is not None:
            image, name = crop(self._kept(one.image).image, one.box), (one.image, one.box)
        else:
            image = item_image(self._record(one.item or "").items[0], self.limits, self._files)
            # Not by the item's name, because it may have another image by now.
            name = image.shape, hashlib.sha256(image.tobytes()).digest()
        with self._model_lock:
            if (known := self._outputs.get(name)) is None:
                (output,) = self._extractor.outputs([image])
                known = output.embeddings.to(dtype=torch.float32), output.attention[0].float().numpy()
                self._outputs.put(name, known)
        return Seen(image, *known)

    def _seen_or_not(self, one: Sighting, problems: list[str]) -> Seen | None:
        """The drawing of an image. If an item's image cannot be shown: None, and a sentence in ``problems``."""
        try:
            return self._look_at(one)
        except DataError as error:
            if one.item is None:
                raise
            problems.append(str(error))
            return None

    def _record(self, item: str) -> GalleryRecords:
        with self._gallery_lock:
            return self._gallery.get([item])

    def _found(self, result: SearchResult, matching: MatchingConfig, *, prior: float | None = None) -> list[FoundItem]:
        """The results of one query, with probabilities by the calibration's prior, or by a prior for each item."""
        # A calibration is only valid for its own matching rule.
        known = self.calibration if self.calibration and self.calibration.fits(matching) else None
        if known is not None and prior is not None:
            known = known.with_prior(prior)
        return found_items(result, None if known is None else known.of_search(result)[0].tolist())
