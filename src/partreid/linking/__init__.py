"""One name for a person across cameras and videos."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.linking.clocks import TravelTime
    from partreid.linking.corrections import Correction, Corrections, corrections_of
    from partreid.linking.edits import merge_persons, split_tracks
    from partreid.linking.linked import Linked, link
    from partreid.linking.output import save_links, save_mot, save_persons
    from partreid.linking.tracks import LinkTrack, LinkTracks

__all__ = [
    "Correction", "Corrections", "LinkTrack", "LinkTracks", "Linked", "TravelTime", "corrections_of", "link",
    "merge_persons", "save_links", "save_mot", "save_persons", "split_tracks",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
