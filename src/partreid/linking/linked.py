"""One name for a person across cameras: from tracks to persons, with probabilities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from partreid.errors import DataError
from partreid.linking.clocks import Clocks, TravelTime
from partreid.linking.cluster import Clusters, agglomerate
from partreid.linking.corrections import Corrections
from partreid.linking.distances import DistanceFit, logistic
from partreid.linking.evidence import MEMORY, gather_evidence
from partreid.linking.names import in_time, names_of
from partreid.linking.notes import notes_of
from partreid.linking.strangers import least_ratio, rule_notes
from partreid.linking.tracks import LinkTrack, LinkTracks
from partreid.objects import Guided, guided
from partreid.progress import Advance
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.open_set import OpenSetRule


@dataclass(frozen=True, repr=False)
class Linked(Guided):
    """Persons, found among tracks.

    Attributes:
        tracks: N of them, in the order of their ids. persons: for each track the name of its person, "" = none.
        probabilities: for each track, the mean probability that it and another track of its person are the same; None
            if it is alone, or shares no slot with the others.
        links: number of pairs of tracks linked by appearance. expected_wrong: the expected share of wrong links; 0 if
            there are none.
        lowest: the lowest probability with which two groups were joined; None if none were.
        prior: the estimated fraction of the possible pairs that show one person.
        impossible: number of pairs that clocks, travel times, names or corrections exclude.
        notes: remarks, in words.
    """

    tracks: tuple[LinkTrack, ...]
    persons: tuple[str, ...]
    probabilities: tuple[float | None, ...]
    links: int
    expected_wrong: float
    lowest: float | None
    prior: float
    impossible: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.tracks)

    def of(self, person: str) -> list[LinkTrack]:
        """The tracks of a person, in the order of their times, then of their ids."""
        return in_time(one for one, name in zip(self.tracks, self.persons, strict=True) if name == person)

    @property
    def sizes(self) -> Counter[str]:
        """The number of tracks of each person."""
        return Counter(name for name in self.persons if name)


@guided
def link(
    tracks: LinkTracks,
    calibration: MatchCalibration,
    *,
    max_wrong: float = 0.1,
    prior: float | None = None,
    travel: Sequence[TravelTime] = (),
    corrections: Corrections | None = None,
    only_known: bool = False,
    rule: OpenSetRule | None = None,
    memory: int = MEMORY,
    advance: Advance = lambda count: None,
) -> Linked:
    """Find the tracks that show one person.

    Args:
        tracks: N of them, of any cameras and videos. Tracks to which people gave the same name are one person, and
            those with different names are not. Names of former linkings stay with the person who has most of their
            tracks.
        calibration: of the model that embedded them. max_wrong: the largest expected share of wrong links.
        prior: the fraction of the possible pairs that show one person; None = estimated from the pairs.
        travel: travel times between cameras. corrections: of people, which are obeyed.
        only_known: whether tracks of unknown people get no name, instead of a new one.
        rule: limits how many tracks whose person has no other track are linked; the notes state the guarantee.
        memory: bytes allowed for the evidence of all pairs. advance: called with the number of compared tracks.

    Raises:
        ConfigError: a share, the prior or a travel time is wrong.
        DataError: there are too many tracks, the calibration is for another model, or a correction cannot be obeyed.

    Example:
        >>> import torch
        >>> from partreid.types import PartEmbeddings
        >>> seen = PartEmbeddings(torch.tensor([[[0.0]], [[5.0]], [[0.1]]]), torch.ones(3, 1), ("foreground",))
        >>> tracks = LinkTracks((LinkTrack("hall/1", "1"), LinkTrack("hall/2", "1"), LinkTrack("yard/1", "2")), seen)
        >>> curve = MatchCalibration(prior=0.1, offsets=(9.0,), slopes=(9.0,))
        >>> link(tracks, curve).persons
        ('p1', 'p2', 'p1')
    """
    said = corrections or Corrections()
    said.check(tracks)
    places = [[at for track in chain if (at := tracks.position(track)) is not None] for chain in said.same_persons()]
    apart = [(tracks.position(a), tracks.position(b)) for a, b in said.different()]
    pairs_apart = [(a, b) for a, b in apart if a is not None and b is not None]
    clocks = Clocks(tracks.tracks, travel, pairs_apart)
    evidence = gather_evidence(tracks.embeddings, clocks, calibration, prior=prior, memory=memory, advance=advance)
    same = _one_person(tracks, clocks, [*places, *_named_alike(tracks.tracks)])
    notes = notes_of(tracks.tracks, evidence, travel)
    least = -math.inf
    if rule is not None:
        least = least_ratio(rule, tracks.embeddings, evidence.fit)
        notes += rule_notes(rule, tracks.embeddings)
    clusters = agglomerate(evidence, same, max_wrong=max_wrong, least_ratio=least)
    persons = names_of(tracks, clusters.label, only_known=only_known)
    return Linked(
        tracks.tracks,
        tuple(persons),
        _probabilities(tracks, clusters, same, clocks, evidence.fit, calibration.matching),
        clusters.links,
        clusters.wrong / clusters.links if clusters.links else 0.0,
        None if np.isnan(clusters.lowest) else clusters.lowest,
        evidence.fit.share,
        evidence.impossible,
        tuple(notes),
    )


def _named_alike(tracks: Sequence[LinkTrack]) -> list[list[int]]:
    """Positions of the tracks with each name that somebody gave."""
    named: dict[str, list[int]] = {}
    for place, track in enumerate(tracks):
        if track.known and track.person:
            named.setdefault(track.person, []).append(place)
    return list(named.values())


def _one_person(tracks: LinkTracks, clocks: Clocks, groups: Iterable[list[int]]) -> list[list[int]]:
    """Pairs of positions that are one person by corrections and by names. DataError if this is impossible."""
    joined: list[set[int]] = []
    for group in groups:
        touched = [one for one in joined if one & set(group)]
        joined = [one for one in joined if not one & set(group)] + [set(group).union(*touched)]
    found = sorted(sorted(one) for one in joined if len(one) > 1)
    for group in found:
        some = np.array(group)
        apart = np.argwhere(np.triu(clocks.apart(some, len(tracks))[:, some], 1))
        if len(apart):
            a, b = (tracks.tracks[group[i]] for i in apart[0])
            same = (
                f"both are named {a.person!r:.80}"
                if a.person == b.person and a.known and b.known
                else "a correction says so"
            )
            raise DataError(
                f"{a.id} and {b.id} are to be one person ({same}), but they cannot be: they were seen at the same time "
                "by one camera, too soon after each other for the travel times, or somebody said that they are two. "
                "Take one of these statements back."
            )
    return found


def _probabilities(
    tracks: LinkTracks,
    clusters: Clusters,
    same: Iterable[Sequence[int]],
    clocks: Clocks,
    fit: DistanceFit,
    matching: MatchingConfig,
) -> tuple[float | None, ...]:
    """For each track, the mean probability over the other tracks of its person. Corrections count as certain."""
    found: list[float | None] = [None] * len(tracks)
    group = {place: k for k, one in enumerate(same) for place in one}
    rule, base = matching.resolved(tracks.embeddings), np.log(fit.prior / (1 - fit.prior))
    order = np.argsort(clusters.label, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(clusters.label[order])) + 1):
        if len(rows) < 2:
            continue
        some = tracks.embeddings[rows].to(dtype=torch.float32)
        slots = rule.comparable(some, some).numpy()
        kinds = fit.kinds(slots, clocks.one_camera(rows[:, None], rows[None]))
        chance = logistic(fit.ratio(rule.distances(some, some).numpy(), kinds) + base)
        counts = slots > 0
        said = np.array([group.get(int(row), -1 - k) for k, row in enumerate(rows)])
        sure = said[:, None] == said[None]
        chance, counts = np.where(sure, 1.0, chance), counts | sure
        np.fill_diagonal(counts, False)
        for row, one, some_counts in zip(rows, chance, counts, strict=True):
            if some_counts.any():
                found[row] = float(one[some_counts].mean())
    return tuple(found)
