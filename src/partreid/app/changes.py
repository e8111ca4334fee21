"""Changes that programs may make through the page: adding, deleting, expiring and linking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from partreid.app.change_messages import (
    Added,
    AddQuestion,
    Deleted,
    DeleteQuestion,
    Expired,
    ExpireQuestion,
    LinkAnswer,
    LinkQuestion,
)
from partreid.app.uploads import BOX, FILE, Kept, crop
from partreid.errors import ConfigError, DataError
from partreid.inference.extractor import PartExtractor
from partreid.lifecycle.retention import expire, preview_expiry
from partreid.linking.corrections import Corrections
from partreid.linking.linked import link
from partreid.linking.output import save_persons
from partreid.linking.tracks import LinkTracks
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded


class Changes:
    """Changes a gallery. Its methods may be called from several threads.

    Args:
        gallery: to change. lock: held while the gallery is used. extractor: embeds images. model_lock: held meanwhile.
        kept: function that returns a sent image by its name.
        calibration: for linking; None = the page has none. corrections: the file of people's corrections.
    """

    def __init__(
        self,
        gallery: Gallery,
        lock: Lock,
        extractor: PartExtractor,
        model_lock: Lock,
        *,
        kept: Callable[[str], Kept],
        calibration: MatchCalibration | None,
        corrections: Path | None,
    ) -> None:
        self._gallery, self._lock, self._extractor, self._model_lock = gallery, lock, extractor, model_lock
        self._kept, self._calibration, self._corrections = kept, calibration, corrections

    def add(self, question: AddQuestion) -> Added:
        """Embed sent images, and add them as items. The images themselves are not stored.

        Raises:
            UnknownImageError: an image is not kept any more.
            DataError: an id is there already or is given twice, a box is wrong, or metadata name a file.
        """
        items = question.items
        images = [self._kept(item.image) for item in items]
        asked = {
            "ids": [item.id for item in items], "images": [one.sha256 for one in images], "replace": question.replace,
        }  # fmt: skip
        with recorded(self._gallery, "add", asked, changes=True) as event:
            if named := {FILE, BOX} & {key for item in items for key in item.metadata}:
                raise DataError(f"Metadata of an uploaded item cannot contain {min(named)!r}. Leave it out.")
            if len({item.id for item in items}) < len(items):
                raise DataError("An id is given twice. Each item needs its own id.")
            crops = [crop(one.image, item.box) for one, item in zip(images, items, strict=True)]
            cameras = [None if item.camera is None else str(item.camera) for item in items]
            with self._model_lock:
                adapted = self._extractor.adaptation is not None
                embeddings = self._extractor.embed(crops, cameras=cameras if adapted else None)
            write = self._gallery.upsert if question.replace else self._gallery.add
            with self._lock:
                write(
                    embeddings, [item.id for item in items], cameras=cameras, times=[item.time for item in items],
                    metadata=[item.metadata for item in items],
                )  # fmt: skip
                event.added = len(items)
                return Added(len(items), len(self._gallery))

    def delete(self, question: DeleteQuestion) -> Deleted:
        """Delete items by id. Unknown ids are reported."""
        with self._lock, recorded(self._gallery, "delete", question, changes=True) as event:
            missing = {*question.ids} - self._gallery.known(question.ids)
            event.deleted = self._gallery.delete(list(question.ids))
            return Deleted(event.deleted, len(self._gallery), tuple(sorted(missing)))

    def expire(self, question: ExpireQuestion) -> Expired:
        """Delete items that were seen before a moment.

        Raises:
            ConfigError: the moment is missing, or lies in the future.
            DataError: the gallery was changed meanwhile.
        """
        if question.until is None:
            raise ConfigError("Give the moment (until): items seen before it are deleted.")
        with self._lock, recorded(self._gallery, "expire", question, changes=not question.dry_run) as event:
            expiry = preview_expiry(self._gallery, question.until, cameras=question.cameras, undated=question.undated)
            deletion = expiry.deletion
            deleted = 0 if question.dry_run else expire(self._gallery, expiry)
            event.results, event.deleted = deletion.count, deleted
            first, last = (None if time is None else time.isoformat() for time in deletion.span)
            return Expired(deletion.count, deleted, deletion.undated, len(self._gallery), first, last)

    def link(self, question: LinkQuestion) -> LinkAnswer:
        """Give tracks of one person one name, as ``partreid link`` does.

        Raises:
            ConfigError: there is no calibration. DataError: there is nothing to link, or a correction cannot be obeyed.
        """
        with recorded(self._gallery, "link", question, changes=True) as event:
            if self._calibration is None:
                raise ConfigError("Linking needs a calibration: start the page with --calibration FILE.")
            with self._lock:
                tracks = LinkTracks.of_gallery(self._gallery, question.where)
            said = Corrections() if self._corrections is None else Corrections.load(self._corrections)
            found = link(
                tracks, self._calibration, max_wrong=question.max_wrong, corrections=said,
                only_known=question.only_known,
            )  # fmt: skip
            with self._lock:
                event.changed = save_persons(self._gallery, found)
            event.results = len(found.sizes)
            return LinkAnswer(
                len(found), len(found.sizes), found.links, float(found.expected_wrong), event.changed, found.notes
            )
