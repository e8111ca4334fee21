"""Questions that change the gallery, and their answers."""

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
    """An item to add, and the image of it that was sent."""

    id: _Id
    """Its name, unique in the gallery."""
    image: StrictStr
    """Name of an image that was sent."""
    box: tuple[StrictFloat, StrictFloat, StrictFloat, StrictFloat] | None = None
    """Where in it the person is: left, top, right, bottom in pixels. None = all of it."""
    camera: StrictStr | StrictInt | None = None
    """Name or number of the camera; None = unknown."""
    time: Moment = None
    """When it was seen; None = unknown."""
    metadata: dict[str, Any] = Field(default={})
    """Anything else, such as the track. Not ``file`` and ``box``: these name files of the page's own machine."""


class AddQuestion(ConfigModel):
    """Items to add: all of them, or none where anything is wrong."""

    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=MOST_ADDED)]
    """The items."""
    replace: StrictBool = False
    """Whether an item takes the place of one with the same id; else that is an error."""


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
    """Whether items go whose time nobody knows."""
    dry_run: StrictBool = False
    """Whether only to say what would go."""


class LinkQuestion(ConfigModel):
    """How to find the tracks that show one person."""

    max_wrong: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.1
    """The largest share of wrong links to expect among those that are made."""
    only_known: StrictBool = False
    """Whether tracks of nobody with a given name get none, instead of a new one."""
    where: Filter = Filter()
    """Which items to link."""


@dataclass(frozen=True)
class Added:
    """How many items were added, and how many the gallery holds now."""

    added: int
    items: int


@dataclass(frozen=True)
class Deleted:
    """How many items were deleted, how many the gallery holds now, and which of the ids were not in it."""

    deleted: int
    items: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Expired:
    """What was deleted.

    Attributes:
        count: items that met the conditions. deleted: those that were deleted; 0 in a dry run.
        undated: items that stay only because nobody knows their time. items: that the gallery holds now.
        first, last: when the oldest and the newest that met the conditions were seen, as ISO 8601 writes it; None where
            not known.
    """

    count: int
    deleted: int
    undated: int
    items: int
    first: str | None
    last: str | None


@dataclass(frozen=True)
class LinkAnswer:
    """What linking found.

    Attributes:
        tracks, persons: how many. links: made by appearance. expected_wrong: share of them that is expected to be
            wrong. changed: items of the gallery that have another person now. notes: what to know, in words.
    """

    tracks: int
    persons: int
    links: int
    expected_wrong: float
    changed: int
    notes: tuple[str, ...]
