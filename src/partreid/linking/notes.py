"""Remarks on facts that were unknown when tracks were linked, so that they separated nobody."""

from __future__ import annotations

from collections.abc import Sequence

from partreid.linking.clocks import TravelTime
from partreid.linking.distances import FEWEST
from partreid.linking.evidence import Evidence
from partreid.linking.tracks import LinkTrack


def notes_of(tracks: Sequence[LinkTrack], evidence: Evidence, travel: Sequence[TravelTime]) -> list[str]:
    """Sentences.

    Args:
        tracks: that were linked. evidence: of all their pairs. travel: times that were given.
    """
    notes = []
    if evidence.fit.pairs and not evidence.fit.adapted:
        why = (
            f"{evidence.fit.pairs} pairs are too few to tell where strangers lie"
            if evidence.fit.pairs < FEWEST
            else "the calibration does not contain the distances of its strangers (fit it again: partreid calibrate)"
        )
        notes.append(
            f"Distances are taken as they are, because {why}. Merged tracks lie nearer to each other than the "
            "images it was fitted on, so probabilities may be far too high: look at the links."
        )
    timeless = [t for t in tracks if not (t.video and t.first is not None) and not (t.camera and t.start)]
    if timeless and len(tracks) > 1:
        notes.append(
            f"The place or time of {len(timeless)} of {len(tracks)} tracks is unknown, so two that were seen at the "
            "same time are not kept apart. Give cameras and times (partreid tracks --camera --start), or --boxes."
        )
    videos: dict[str, set[str]] = {}
    for track in tracks:
        if track.camera and track.video and track.start is None:
            videos.setdefault(track.camera, set()).add(track.video)
    if several := sorted(camera for camera, films in videos.items() if len(films) > 1):
        notes.append(
            f"Camera {', '.join(several[:5])} has several videos without times, so tracks of two of them that were "
            "seen at the same time are not kept apart. Give --start to partreid tracks."
        )
    if travel:
        cameras = {track.camera for track in tracks}
        if strange := sorted({name for one in travel for name in (one.origin, one.target)} - cameras):
            notes.append(f"Travel times name cameras that have no track here: {', '.join(map(str, strange[:5]))}.")
        if unplaced := sum(track.camera is None or track.start is None for track in tracks):
            notes.append(f"Travel times do not apply to {unplaced} tracks without a camera or a time.")
    if evidence.unknown:
        notes.append(f"{evidence.unknown} pairs share no visible part, so nothing is known about them.")
    return notes
