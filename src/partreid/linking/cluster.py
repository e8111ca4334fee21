"""From pairs to persons: the most similar groups are joined first, if clocks and corrections allow it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError
from partreid.linking.distances import logistic
from partreid.linking.evidence import Evidence
from partreid.objects import Guided

LEAST = 0.5
"""No link is made that is more likely wrong than right."""


@dataclass(frozen=True, eq=False, repr=False)
class Clusters(Guided):
    """Persons, found among N tracks.

    Attributes:
        label: [N] the position of the first track of the same person.
        links: number of pairs of tracks that were linked by appearance. wrong: the expected number of wrong links.
        lowest: the lowest probability with which two groups were joined; NaN if none were.
    """

    label: NDArray[np.int64]
    links: int
    wrong: float
    lowest: float


def agglomerate(
    evidence: Evidence, same: Iterable[Sequence[int]] = (), *, max_wrong: float = 0.1, least_ratio: float = -math.inf
) -> Clusters:
    """Join the two groups of tracks that most probably show one person, again and again.

    The log odds of two groups are those of the prior, plus the mean log-likelihood ratio of their pairs that share a
    slot. It is the mean, not the sum, because pairs are not independent: a person who resembles somebody in one pair
    does so in all pairs. Pairs that share no slot do not count. Two groups with an impossible pair are never joined.

    It ends before the expected share of wrong links exceeds ``max_wrong``, or a link is more likely wrong than right.
    Equal probabilities are decided by position.

    Args:
        evidence: of N tracks; its ratios are overwritten.
        same: positions that are one person in any case. Each keeps its own appearance; a group that joins one of them
            joins all.
        max_wrong: the largest expected share of wrong links.
        least_ratio: groups whose mean log-likelihood ratio is not above it are not joined.

    Raises:
        ConfigError: ``max_wrong`` is not in 0..1. DataError: tracks that are to be one person cannot be.
    """
    if not isinstance(max_wrong, int | float) or isinstance(max_wrong, bool) or not 0 <= max_wrong <= 1:
        raise ConfigError(f"max_wrong is a share between 0 and 1, got {max_wrong!r:.80}.")
    work = _Joining(evidence)
    for group in same:
        work.bind(group)
    work.look_everywhere()
    links, wrong, lowest = 0, 0.0, math.nan
    while (found := work.likeliest()) is not None:
        a, b, log_odds = found
        chance = float(logistic(np.float64(log_odds)))  # type: ignore[arg-type]
        more = work.tracks(a) * work.tracks(b)
        if log_odds - work.base <= least_ratio:
            break
        if chance < LEAST or wrong + more * (1 - chance) > max_wrong * (links + more):
            break
        links, wrong, lowest = links + more, wrong + more * (1 - chance), chance
        work.join(a, b)
    return Clusters(work.labels(), links, wrong, lowest)


@dataclass
class _Joining:
    """Groups of tracks, each known by its first one, with sums of ratios between them.

    Attributes:
        evidence: of the tracks; the rows of its ratios become sums. group: [N] the group of each track.
        shows: [N, P] number of tracks of a group with each pattern of slots.
        best, nearest: [N] for each group, the group with which it is most probably one person: log odds, position.
        mates: for each group, the groups that are one person with it by correction, itself included.
    """

    evidence: Evidence
    group: NDArray[np.int64] = field(init=False)
    shows: NDArray[np.float32] = field(init=False)
    best: NDArray[np.float64] = field(init=False)
    nearest: NDArray[np.int64] = field(init=False)
    mates: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.evidence.pattern)
        self.sums, self.base = self.evidence.ratio, math.log(self.evidence.prior / (1 - self.evidence.prior))
        self.group = np.arange(count)
        self.shows = np.zeros((count, len(self.evidence.comparable)), np.float32)
        self.shows[self.group, self.evidence.pattern] = 1
        self.size = np.ones(count, np.int64)
        self.all_comparable = bool(self.evidence.comparable.all())
        self.best, self.nearest = np.full(count, -np.inf), np.zeros(count, np.int64)

    def tracks(self, a: int) -> int:
        """The number of tracks of a group's person."""
        return int(sum(self.size[mate] for mate in self.mates.get(a, [a])))

    def row(self, a: int) -> NDArray[np.float64]:
        """[N] log odds that a group is one person with each other group; -infinity if this is excluded."""
        odds = np.full(len(self.size), -np.inf)
        # If a match is rare, a link is only more likely than not if the evidence favours it.
        some = np.flatnonzero((self.sums[a] > (-np.inf if self.base > 0 else 0)) & (self.size > 0))
        if self.all_comparable:
            pairs = (self.size[some] * self.size[a]).astype(np.float64)
        else:
            pairs = (self.shows[some] @ (self.evidence.comparable @ self.shows[a])).astype(np.float64)
            some, pairs = some[pairs > 0], pairs[pairs > 0]
        odds[some] = self.base + self.sums[a, some] / pairs
        return odds

    def look(self, a: int) -> None:
        """Find what is nearest to a group."""
        odds = self.row(a)
        self.nearest[a] = odds.argmax()
        self.best[a] = odds[self.nearest[a]]

    def look_everywhere(self) -> None:
        """Find what is nearest to every group."""
        for a in range(len(self.group)):
            self.look(a)

    def likeliest(self) -> tuple[int, int, float] | None:
        """The two groups that are most probably one person, in their order; None if no two can be."""
        if not len(self.best) or (a := int(self.best.argmax())) < 0 or self.best[a] == -np.inf:
            return None
        return (*sorted((a, int(self.nearest[a]))), float(self.best[a]))  # type: ignore[return-value]

    def bind(self, group: Sequence[int]) -> None:
        """State that some tracks are one person. Call it before anything is joined."""
        for a in group:
            for b in group:
                if a != b and self.sums[a, b] == -np.inf:
                    raise DataError(f"Tracks {a} and {b} are to be one person, and cannot be.")
        self._share(sorted(group))

    def join(self, a: int, b: int) -> None:
        """Join two groups under the first one's position, and make their mates one person."""
        self.sums[a] += self.sums[b]
        self.sums[:, a] = self.sums[a]
        self.size[a], self.size[b] = self.size[a] + self.size[b], 0
        self.shows[a] += self.shows[b]
        self.group[self.group == b] = a
        self.best[b] = -np.inf
        changed = [a]
        if a in self.mates or b in self.mates:
            changed = sorted({a, *self.mates.get(a, [a]), *self.mates.pop(b, [b])} - {b})
            self._share(changed)
        for mate in changed:
            odds = self.row(mate)
            self.look(mate)
            nearer = (odds > self.best) | ((odds == self.best) & (odds > -np.inf) & (mate < self.nearest))
            nearer[mate] = False
            self.best[nearer], self.nearest[nearer] = odds[nearer], mate
        gone = np.isin(self.nearest, [*changed, b]) & (self.best > -np.inf)
        gone[changed] = False
        for k in np.flatnonzero(gone):
            self.look(int(k))

    def _share(self, group: list[int]) -> None:
        """If a link is impossible with one of a person's groups, exclude it for all of them. The person's own groups
        are not joined with each other."""
        impossible: NDArray[np.bool_] = (self.sums[group] == -np.inf).any(axis=0)
        impossible[group] = True
        for a in group:
            self.mates[a] = group
            self.sums[a, impossible] = -np.inf
            self.sums[impossible, a] = -np.inf

    def labels(self) -> NDArray[np.int64]:
        """[N] for each track, the first track of its person."""
        person = np.arange(len(self.group))
        for a, mates in self.mates.items():
            person[a] = min(mates)
        found: NDArray[np.int64] = person[self.group]
        return found
