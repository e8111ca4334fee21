"""Compares the boxes of a frame with those of frames before it: memory for the longest gap, not for a video."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.errors import DataError, ShapeError, nearest
from partreid.evaluation.slots import rule_of
from partreid.parts import HOLISTIC
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings

ALL = "all"
"""The way of comparing that takes all slots together, as the rule says."""


@dataclass(frozen=True, eq=False)
class PairTable:
    """What came of P queries.

    Attributes:
        gap: [P] position of the gap. person: [P] equal numbers are one person of one sequence.
        visibility: [P, 2] of the query and of the right box, NaN = not known. present: [P] number of candidates.
        own, nearest: [P] distance to the right box, and to the nearest other one, by way of comparing; infinity where
            no visible slot is shared. separation: [P] fraction of the others that are farther than the right one.
    """

    gap: NDArray[np.int64]
    person: NDArray[np.int64]
    visibility: NDArray[np.float64]
    present: NDArray[np.int64]
    own: Mapping[str, NDArray[np.float64]]
    nearest: Mapping[str, NDArray[np.float64]]
    separation: Mapping[str, NDArray[np.float64]]

    def found(self, way: str) -> NDArray[np.bool_]:
        """[P] whether the right box is strictly nearer than every other."""
        return np.asarray(self.own[way] < self.nearest[way])


class _Frame(NamedTuple):
    persons: Sequence[Hashable]
    visibility: NDArray[np.float64]
    embeddings: PartEmbeddings


class PairCollector:
    """Takes the frames of sequences in order.

    Args:
        gaps: their names. slots: of the embeddings. matching: the rule, with nothing left open.
        alone: slots to compare alone too; None takes those of the whole person, where there are others.

    Attributes:
        alone: number of queries of each gap whose person was alone then.

    Raises:
        ShapeError: there is no such slot.
    """

    def __init__(
        self, gaps: tuple[str, ...], slots: tuple[str, ...], matching: MatchingConfig, alone: Sequence[str] | None
    ) -> None:
        compared = slots if matching.slots is None else matching.slots
        if alone is None:
            alone = [slot for slot in slots if slot in HOLISTIC and compared != (slot,)]
        alone = (alone,) if isinstance(alone, str) else alone
        if unknown := [slot for slot in alone if slot not in slots]:
            raise ShapeError(f"No slot {unknown[0]!r:.80} to compare alone. {nearest(str(unknown[0]), slots)}")
        self.gaps = gaps
        self.alone = [0] * len(gaps)
        self._rules = {ALL: (None, matching)} | {slot: (slot, rule_of(matching, (slot,))) for slot in alone}
        self._steps: tuple[int, ...] = ()
        self._every = 1
        self._sequence: Hashable = None
        self._held: dict[int, _Frame] = {}
        self._person: dict[Hashable, int] = {}
        self._chunks: list[tuple[NDArray[np.float64], ...]] = []

    def begin(self, sequence: Hashable, steps: tuple[int, ...], *, every: int = 1) -> None:
        """A new sequence: its name, the gaps in its frames, and that queries are in frames 0, every, 2·every, ..."""
        self._sequence, self._steps, self._every = sequence, steps, every
        self._held.clear()

    def add(
        self, number: int, persons: Sequence[Hashable], visibility: NDArray[np.float64], embeddings: PartEmbeddings
    ) -> None:
        """The next frame: its number, and the person, visibility and embedding of each of its boxes.

        Raises:
            DataError: a person is there twice.
        """
        place = {person: i for i, person in enumerate(persons)}
        if len(place) < len(persons):
            twice = next(person for i, person in enumerate(persons) if place[person] != i)
            raise DataError(f"Person {twice!r:.80} has two boxes in frame {number}. Keep one.")
        asked = []
        for gap, step in enumerate(self._steps):
            earlier = self._held.get(number - step)
            if earlier is None:
                continue
            again = [i for i, person in enumerate(earlier.persons) if person in place]
            if len(persons) == 1:
                self.alone[gap] += len(again)
            elif again:
                asked.append((gap, earlier, again))
        if asked:
            self._compare(asked, place, visibility, embeddings)
        if number % self._every == 0:
            self._held[number] = _Frame(persons, visibility, embeddings)
        for old in [one for one in self._held if one <= number - max(self._steps)]:
            del self._held[old]

    def _compare(
        self,
        asked: list[tuple[int, _Frame, list[int]]],
        place: Mapping[Hashable, int],
        visibility: NDArray[np.float64],
        gallery: PartEmbeddings,
    ) -> None:
        who = [frame.persons[i] for _, frame, again in asked for i in again]
        right = torch.tensor([place[person] for person in who])
        query = PartEmbeddings.cat(frame.embeddings[again] for _, frame, again in asked)
        person = [self._person.setdefault((self._sequence, one), len(self._person)) for one in who]
        columns = [
            np.repeat([gap for gap, _, _ in asked], [len(again) for _, _, again in asked]),
            np.array(person),
            np.concatenate([frame.visibility[again] for _, frame, again in asked]),
            visibility[right.numpy()],
            np.full(len(who), len(place)),
        ]
        for slot, rule in self._rules.values():
            sides = (query, gallery) if slot is None else (query.select(slot), gallery.select(slot))
            distances = rule.distances(*sides).double()
            own = distances.gather(1, right[:, None])
            farther = (distances > own).double().sum(dim=1) + ((distances == own).double().sum(dim=1) - 1) / 2
            others = distances.scatter(1, right[:, None], torch.inf)
            separation = farther / (len(place) - 1)
            columns += [values.numpy() for values in (own[:, 0], others.amin(dim=1), separation)]
        self._chunks.append(tuple(columns))

    def table(self) -> PairTable:
        """All queries so far."""
        width = 5 + 3 * len(self._rules)
        empty = np.empty(0)
        columns = [np.concatenate([empty, *(chunk[i] for chunk in self._chunks)]) for i in range(width)]
        scores = {way: columns[5 + 3 * i : 8 + 3 * i] for i, way in enumerate(self._rules)}
        gap, person, present = (columns[i].astype(np.int64) for i in (0, 1, 4))
        by_name = np.array(sorted(range(len(self._person)), key=list(map(str, self._person)).__getitem__), np.int64)
        person = np.argsort(by_name)[person]  # in whatever order boxes came, intervals draw the same persons
        return PairTable(
            gap, person, np.stack(columns[2:4], axis=1), present,
            *({way: three[k] for way, three in scores.items()} for k in range(3)),
        )  # fmt: skip
