"""Requests that change the gallery, and their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from partreid.base_config import ConfigModel
from partreid.retrieval.filters import Filter, Moment
from partreid.types.gallery import LONGEST_ID

MOST_ADDED, MOST_DELETED = 64, 1000

_Id = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_ID)]


class NewItem(ConfigModel):
    """An item to add, and its image, which was sent before."""

    id: _Id
    """Its name, unique in the gallery."""
    image: StrictStr
    """Name of an image that was sent."""
    box: tuple[StrictFloat, StrictFloat, StrictFloat, StrictFloat] | None = None
    """The person's box in the image: left, top, right, bottom in pixels. None = the whole image."""
    camera: StrictStr | StrictInt | None = None
    """Name or number of the camera; None = unknown."""
    time: Moment = None
    """When it was seen; None = unknown."""
    metadata: dict[str, Any] = Field(default={})
    """Anything else, such as the track. Not ``file`` and ``box``: these name files of the page's own machine."""


class AddQuestion(ConfigModel):
    """Items to add: all of them, or none if anything is wrong."""

    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=MOST_ADDED)]
    """The items."""
    replace: StrictBool = False
    """Whether an item replaces one with the same id. Otherwise a known id is an error."""


class DeleteQuestion(ConfigModel):
    """Items to delete for good."""

    ids: Annotated[tuple[_Id, ...], Field(min_length=1, max_length=MOST_DELETED)]
    """Their ids."""


class ExpireQuestion(ConfigModel):
    """Old items to delete for good."""

    until: Moment
    """Items seen before this moment; it does not lie in the future."""
    cameras: tuple[StrictStr | StrictInt, ...] | None = None
    """Only items of these cameras; None = of all."""
    undated: StrictBool = False
    """Whether items of unknown time are deleted too."""
    dry_run: StrictBool = False
    """Whether to report only what would be deleted."""


class LinkQuestion(ConfigModel):
    """How to find the tracks that show one person."""

    max_wrong: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.1
    """The largest expected share of wrong links among the links that are made."""
    only_known: StrictBool = False
    """Whether tracks of unknown people get no name, instead of a new one."""
    where: Filter = Filter()
    """Which items to link."""


@dataclass(frozen=True)
class Added:
    """The number of added items, and the number of items in the gallery now."""

    added: int
    items: int


@dataclass(frozen=True)
class Deleted:
    """The number of deleted items, the number of items in the gallery now, and the ids that were not in it."""

    deleted: int
    items: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Expired:
    """The result of deleting old items.

    Attributes:
        count: number of items that met the conditions. deleted: number of deleted items; 0 in a dry run.
        undated: number of items that stay only because their time is unknown. items: in the gallery now.
        first, last: when the oldest and the newest of these items were seen, in ISO 8601; None = unknown.
    """

    count: int
    deleted: int
    undated: int
    items: int
    first: str | None
    last: str | None


@dataclass(frozen=True)
class LinkAnswer:
    """The result of linking.

    Attributes:
        tracks, persons: their numbers. links: number of links made by appearance. expected_wrong: the expected share of
            wrong ones among them. changed: number of items that have another person now. notes: remarks in words.
    """

    tracks: int
    persons: int
    links: int
    expected_wrong: float
    changed: int
    notes: tuple[str, ...]
