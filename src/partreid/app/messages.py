"""Questions to the page's service, and its answers."""

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
    """Where in it the person is: left, top, right, bottom in pixels. None = all of it."""
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
    """The largest share of searches whose person is not there that may name somebody; None = rank only."""
    prior: Annotated[StrictFloat, Field(gt=0, lt=1)] | None = None
    """How often the person is there at all; None = not told."""


class ItemQuestion(Question):
    """A request to compare one item with the query."""

    item: str
    """The item's id."""


class MergeQuestion(ConfigModel):
    """A request to merge two persons."""

    person: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
    """Whose name stays, unless somebody gave the other's."""
    other: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
    """Who is the same."""


class SplitQuestion(ConfigModel):
    """A request to split off tracks of a person."""

    tracks: Annotated[tuple[str, ...], Field(min_length=1, max_length=200)]
    """Their ids."""


@dataclass(frozen=True)
class Slot:
    """A part that can be compared: its name, the name for people, and its colour as CSS writes it."""

    name: str
    label: str
    color: str


@dataclass(frozen=True)
class About:
    """A description of the page and its gallery.

    Attributes:
        gallery: its name. items: how many. slots: what can be compared. cameras: their names.
        more_cameras: whether there may be others. normalize: what the model was made for.
        calibration: what the probabilities were fitted on; None = there are none.
        calibration_problem: why there are none although there is a calibration; "" = there is none, or it is used.
        rule: the data on which the rule for the answer "nobody" was fitted; None = there is none.
        compared: how images are compared, in words. matching: the same as its fields.
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
    """An image that was sent: its name from now on, and its size in pixels."""

    image: str
    width: int
    height: int


@dataclass(frozen=True)
class Look:
    """The visibility of each slot of the query, by name."""

    visibility: dict[str, float]


@dataclass(frozen=True)
class FoundItem:
    """An item that was found.

    Attributes:
        id, camera, time: the item's; the time in UTC as ISO 8601 writes it. metadata: as (key, text) pairs.
        track: the text of its track, by which a filter can leave it out.
        distance: None where not comparable. probability: that it is the same person; None where unknown.
        compared: number of slots compared. parts: distance by slot, None where not visible in both.
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
    """What was found, nearest first.

    Attributes:
        results: those that can be compared. searched: number of items that met the filter. notes: what to know, in
            words. statement: what the rule promises; "" = no rule was asked for. named: the item that it names, None =
            nobody. fits: whether the images look like those that the rule was fitted on, as far as was tested.
    """

    results: tuple[FoundItem, ...]
    searched: int
    notes: tuple[str, ...]
    statement: str = ""
    named: str | None = None
    fits: bool = True


@dataclass(frozen=True)
class ComparedSide:
    """A part in an image: how visible, and where the model looks for it, as an image ("" = no map)."""

    visibility: float
    attention: str


@dataclass(frozen=True)
class PartPair:
    """A part of the query and of an item; the distance is None where it is not compared."""

    slot: str
    distance: float | None
    query: ComparedSide
    item: ComparedSide


@dataclass(frozen=True)
class ComparisonAnswer:
    """How an item compares with the query.

    Attributes:
        found: the item. parts: each slot that is compared. queries, item: images with all parts' attention over
            them, "" for an image that cannot be shown. problems: why, in words.
        full_bar: distance of a part at which a bar is full, the same for all results: how far two images of the
            gallery may lie apart. None where too few are there to tell.
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
        name: of the person. known: whether somebody gave it. tracks: how many. cameras: that saw the person.
        first, last: when, in UTC as ISO 8601 writes it; None where not known. best: id of the item to show.
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
        persons: those that are listed. total: all of them. unlinked: items without a person.
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
        id, camera: the item's. start, end: in UTC as ISO 8601 writes it; None where not known.
        probability: that it is of this person; None where nobody computed it, or people said so.
        known: whether somebody named it.
    """

    id: str
    camera: str | None
    start: str | None
    end: str | None
    probability: float | None
    known: bool


@dataclass(frozen=True)
class Journey:
    """Where a person was: the steps in the order of time, those without one last; the first ones of very many."""

    person: Person
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Edited:
    """The name of the person who was made: of both, or of the tracks that were split off."""

    person: str
