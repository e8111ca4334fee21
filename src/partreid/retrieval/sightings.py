"""Two images of each of many persons, from different cameras, on which an open-set rule is fitted."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from partreid.errors import DataError, ShapeError
from partreid.objects import guided
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.open_set import OpenSetRule
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords, as_text, is_unknown
from partreid.types.numbers import require_whole

MOST_PERSONS = 1000
"""Persons that a rule keeps at most: each is one more search beside every search."""


@guided
def two_sightings(
    persons: Sequence[Hashable], views: Sequence[Hashable], *, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Two images of each person, drawn at random from different views. A person counts once, even with many images.

    Args:
        persons: of N images, None = unknown. views: cameras of the same images; None = unknown, which may be any
            camera. seed: of the draw.

    Returns:
        Positions of the first and of the second images, for at most :data:`MOST_PERSONS` persons with two images.

    Raises:
        ShapeError: the numbers of persons and views differ, or the seed is not a whole number.

    Example:
        >>> two_sightings(["ann", "ben", "ann", "ben"], [1, 1, 2, 1])
        ([2], [0])
    """
    if len(persons) != len(views):
        raise ShapeError(f"Expected a view for each of {len(persons)} images, got {len(views)}.")
    draw = random.Random(require_whole("seed", seed))
    images: dict[Hashable, list[int]] = {}
    for place, person in enumerate(persons):
        if person is not None:
            images.setdefault(person, []).append(place)
    found = []
    for places in images.values():
        first = draw.choice(places)
        others = [at for at in places if at != first and (views[at] is None or views[at] != views[first])]
        if others:
            found.append((first, draw.choice(others)))
    kept = sorted(draw.sample(found, MOST_PERSONS)) if len(found) > MOST_PERSONS else found
    return [first for first, _ in kept], [second for _, second in kept]


def rule_of_gallery(
    gallery: Gallery, calibration: MatchCalibration, *, key: str = "person", fitted_on: str = "", seed: int = 0
) -> OpenSetRule:
    """A rule from a gallery of your own cameras, whose items name their persons in the metadata.

    These people must not be in the galleries that the rule is used on; if one is, the rule becomes stricter. It
    promises 1 %, or the smallest share that the number of persons allows.

    Args:
        gallery: items without ``key`` are ignored. calibration: of its model. key: the metadata key of the person.
        fitted_on: a description for readers; empty = the gallery's location. seed: of the draw.

    Raises:
        DataError: too few persons have two items of different cameras; or the calibration is for another model.
    """
    pages = list(gallery.records())
    if not pages:
        raise DataError(f"The gallery in {gallery.store.location} is empty: a rule needs labelled items.")
    every = GalleryRecords.cat(pages)
    said = [item.metadata.get(key) for item in every.items]
    persons = [None if is_unknown(one) else as_text(one, f"A {key}") for one in said]
    first, second = two_sightings(persons, [item.camera for item in every.items], seed=seed)
    return promising(
        every.embeddings[first], every.embeddings[second], calibration, fitted_on or str(gallery.store.location)
    )


def promising(
    strangers: PartEmbeddings, mates: PartEmbeddings, calibration: MatchCalibration, fitted_on: str
) -> OpenSetRule:
    """A rule from these images that promises 1 %, or the smallest share that its persons allow.

    Raises:
        DataError, ShapeError: as :class:`OpenSetRule`.
    """
    return OpenSetRule(strangers, mates, calibration, fitted_on, max_false=OpenSetRule.least_promise(len(strangers)))
