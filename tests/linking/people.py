"""Tracks of people whose looks are numbers on a line, for the tests of linking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import torch

from partreid.linking import LinkTrack, LinkTracks
from partreid.retrieval import Gallery, MatchCalibration
from partreid.types import PartEmbeddings

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CURVES = MatchCalibration(prior=0.05, offsets=(9.0, 9.0), slopes=(6.0, 6.0))
"""One person at distance 0, two at 3 and more; even odds of a ratio at 1.5."""
SLOTS = ("foreground", "head")


def looks(*values: float, unseen: dict[int, tuple[int, ...]] | None = None) -> PartEmbeddings:
    """[N, 2, 1] embeddings, all of a track's slots at its number; ``unseen`` slots by track."""
    visibility = torch.ones(len(values), 2)
    for track, slots in (unseen or {}).items():
        visibility[track, list(slots)] = 0
    return PartEmbeddings(
        torch.tensor(values, dtype=torch.float32)[:, None, None].expand(-1, 2, 1).clone(), visibility, SLOTS
    )


def seen(
    name: str, camera: str | None = None, start: float | None = None, seconds: float = 0, **more: object
) -> LinkTrack:
    """A track that begins so many seconds after noon."""
    begin = None if start is None else NOON + timedelta(seconds=start)
    end = None if begin is None else begin + timedelta(seconds=seconds)
    return LinkTrack(name, camera, start=begin, end=end, **more)  # type: ignore[arg-type]


def tracks(*some: tuple[LinkTrack, float]) -> LinkTracks:
    return LinkTracks(tuple(track for track, _ in some), looks(*(value for _, value in some)))


def fill(gallery: Gallery) -> None:
    """Two people in two cameras, one of them twice in the yard, and one more alone."""
    gallery.add(
        looks(0.0, 9.0, 0.1, 9.1, 0.2, 30.0),
        ["hall/1", "hall/2", "yard/1", "yard/2", "yard/3", "yard/4"],
        cameras=["hall", "hall", "yard", "yard", "yard", "yard"],
        times=[NOON + timedelta(seconds=s) for s in (0, 5, 60, 65, 120, 130)],
        metadata=[
            {"video": f"/{name}.mp4", "video_name": name, "first_second": first, "last_second": first + 10.0}
            for name, first in zip(("hall",) * 2 + ("yard",) * 4, (0.0, 5.0, 0.0, 5.0, 60.0, 70.0), strict=True)
        ],
    )
