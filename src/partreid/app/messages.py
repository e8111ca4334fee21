"""Requests to the page's service, and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from partreid.base_config import ConfigModel
from partreid.retrieval.filters import Filter
from partreid.types.gallery import LONGEST_ID

MOST_IMAGES, MOST_RESULTS = 8, 200


class Sighting(ConfigModel):
    """One image of the person to find: an image that was sent, or an item of the gallery."""

    image: str | None = None
    """Name of an image that was sent."""
    box: tuple[StrictFloat, StrictFloat, StrictFloat, StrictFloat] | None = None
    """The person's box in the image: left, top, right, bottom in pixels. None = the whole image."""
    item: str | None = None
    """Id of an item."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image is None) == (self.item is None) or (self.item is not None and self.box is not None):
            raise ValueError("expected an image, with or without a box, or an item")
        return self


class Question(ConfigModel):
    """A search: the person to find, and the way of searching."""

    query: Annotated[tuple[Sighting, ...], Field(min_length=1, max_length=MOST_IMAGES)]
    """Images of one person, merged."""
    parts: tuple[str, ...] | None = None
    """Slots to compare; None = all."""
    normalize: StrictBool | None = None
    """Divide vectors by their length first; None = as the model was made for."""
    k: Annotated[StrictInt, Field(ge=1, le=MOST_RESULTS)] = 24
    """How many results."""
    where: Filter = Filter()
    """Which items to search."""
    max_false: Annotated[StrictFloat, Field(gt=0, lt=1)] | None = None
    """The largest share of searches that may name somebody although their person is not in the gallery; None = only
    rank."""
    prior: Annotated[StrictFloat, Field(gt=0, lt=1)] | None = None
    """The share of searches whose person is in the gallery; None = unknown."""


class ItemQuestion(Question):
    """A request to compare one item with the query."""

    item: str
    """The item's id."""


class MergeQuestion(ConfigModel):
    """A request to merge two persons."""

    person: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
    """The person whose name stays, unless people gave the other person's name."""
    other: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
    """The other name of the same person."""


class SplitQuestion(ConfigModel):
    """A request to split off tracks of a person."""

    tracks: Annotated[tuple[str, ...], Field(min_length=1, max_length=200)]
    """Their ids."""


@dataclass(frozen=True)
class Slot:
    """A part that can be compared: its name, a readable name, and its colour in CSS."""

    name: str
    label: str
    color: str


@dataclass(frozen=True)
class About:
    """A description of the page and its gallery.

    Attributes:
        gallery: its name. items: their number. slots: the parts that can be compared. cameras: their names.
        more_cameras: whether there may be others. normalize: whether the model was made for normalised vectors.
        calibration: the data on which probabilities were fitted; None = there are no probabilities.
        calibration_problem: why a calibration is not used; "" = there is none, or it is used.
        rule: the data on which the rule for the answer "nobody" was fitted; None = there is none.
        compared: how images are compared, in words. matching: the same as fields.
        upload_bytes, most_images, most_results: limits.
    """

    gallery: str
    items: int
    slots: tuple[Slot, ...]
    cameras: tuple[str, ...]
    more_cameras: bool
    normalize: bool
    calibration: str | None
    calibration_problem: str
    rule: str | None
    compared: str
    matching: dict[str, Any]
    upload_bytes: int
    most_images: int = MOST_IMAGES
    most_results: int = MOST_RESULTS


@dataclass(frozen=True)
class KeptImage:
    """A sent image: the name for later requests, and its size in pixels."""

    image: str
    width: int
    height: int


@dataclass(frozen=True)
class Look:
    """The visibility of each slot of the query, by name."""

    visibility: dict[str, float]


@dataclass(frozen=True)
class FoundItem:
    """A found item.

    Attributes:
        id, camera, time: the item's; the time is in UTC in ISO 8601. metadata: as (key, text) pairs.
        track: the text of its track, by which a filter can leave it out.
        distance: None = not comparable. probability: that it is the same person; None = unknown.
        compared: number of compared slots. parts: distance by slot; None = not visible in both.
    """

    id: str
    camera: str | None
    time: str | None
    track: str | None
    metadata: tuple[tuple[str, str], ...]
    distance: float | None
    probability: float | None
    compared: int
    parts: dict[str, float | None]


@dataclass(frozen=True)
class Ranking:
    """The results, nearest first.

    Attributes:
        results: comparable items. searched: number of items that met the filter. notes: remarks in words.
        statement: the rule's guarantee; "" = no rule was requested. named: the item that the rule names; None = nobody.
        fits: whether the images look like those on which the rule was fitted, if this was tested.
    """

    results: tuple[FoundItem, ...]
    searched: int
    notes: tuple[str, ...]
    statement: str = ""
    named: str | None = None
    fits: bool = True


@dataclass(frozen=True)
class ComparedSide:
    """A part in an image: its visibility, and an image of where the model looks for it ("" = no map)."""

    visibility: float
    attention: str


@dataclass(frozen=True)
class PartPair:
    """A part of the query and of an item. The distance is None if the part is not compared."""

    slot: str
    distance: float | None
    query: ComparedSide
    item: ComparedSide


@dataclass(frozen=True)
class ComparisonAnswer:
    """How an item compares with the query.

    Attributes:
        found: the item. parts: each compared slot. queries, item: images with the attention of all parts; "" for an
            image that cannot be shown. problems: why it cannot, in words.
        full_bar: a part's distance at which its bar is full. It is the same for all results: a large distance between
            images of the gallery. None = there are too few images to tell.
    """

    found: FoundItem
    parts: tuple[PartPair, ...]
    queries: tuple[str, ...]
    item: str
    problems: tuple[str, ...]
    full_bar: float | None


@dataclass(frozen=True)
class Person:
    """A linked person.

    Attributes:
        name: of the person. known: whether people gave the name. tracks: their number. cameras: that saw the person.
        first, last: when the person was seen, in UTC in ISO 8601; None = unknown. best: id of the item to show.
    """

    name: str
    known: bool
    tracks: int
    cameras: tuple[str, ...]
    first: str | None
    last: str | None
    best: str


@dataclass(frozen=True)
class Persons:
    """The list of persons.

    Attributes:
        persons: the listed ones. total: number of all persons. unlinked: number of items without a person.
        edits: whether the page may merge and split. problem: why not, in words.
    """

    persons: tuple[Person, ...]
    total: int
    unlinked: int
    edits: bool
    problem: str


@dataclass(frozen=True)
class Step:
    """A track of a journey.

    Attributes:
        id, camera: the item's. start, end: in UTC in ISO 8601; None = unknown.
        probability: that it shows this person; None if it was not computed, or if people said so.
        known: whether people named it.
    """

    id: str
    camera: str | None
    start: str | None
    end: str | None
    probability: float | None
    known: bool


@dataclass(frozen=True)
class Journey:
    """A person's journey: its steps in the order of time, steps without a time last. Of very many, only the first."""

    person: Person
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Edited:
    """The name of the resulting person: of the merged persons, or of the tracks that were split off."""

    person: str
