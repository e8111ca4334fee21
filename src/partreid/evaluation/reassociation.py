"""Re-association over a frame gap: is the person of a box found n frames later among the people in that frame?

Each box in frame t whose person has a box in frame t + n is a query. Its candidates are all boxes in frame t + n of the
same sequence. It is found if the one right box is strictly nearer than all other boxes (rank-1).

* If the query and the right box share no visible slot (infinite distance), the query is *not comparable*, and counts as
  not found. A candidate without a shared slot is farther than all others; two such candidates tie.
* If the person is alone in frame t + n, there is no choice. Such queries are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partreid.errors import ConfigError, DataError, ShapeError, nearest
from partreid.evaluation._reassociation_pairs import PairCollector, PairTable
from partreid.evaluation.statistics import Interval, PairedDifference, bootstrap_interval
from partreid.functional._checks import is_whole
from partreid.objects import Guided, guided
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking._track_names import track_key
from partreid.types import PartEmbeddings
from partreid.types.numbers import as_tensor, in_order, require_whole

GAPS = (1, 10, 30, 100)
"""Frames between a query and its candidates, unless told otherwise."""

LEVELS = (0.3, 0.6, 0.8)
"""Borders between levels of visibility, unless told otherwise: [0, 0.3), [0.3, 0.6), [0.6, 0.8), [0.8, 1]."""

VisibilityOf = Literal["query", "target", "lower"]
"""Whose visibility makes the level of a query: its own box's, that of the right box n frames later, or the lower."""

EVERY_LEVEL, UNKNOWN = "all", "unknown"


@dataclass(frozen=True, eq=False, repr=False)
class ReassociationRow(Guided):
    """Scores of the queries of one gap and one level of visibility, compared in one way.

    Attributes:
        way: "all" slots together (Eq. 9), or the one slot that was compared alone.
        gap: in frames, or as it was given ("2s"). level: "[0.3, 0.6)", "all" or "unknown".
        queries: their number. persons: the number of their persons, with one of each sequence.
        chance: rank-1 of a random choice, the mean of 1 / boxes present. rank1: fraction of queries that are found.
        separation: mean fraction of the other boxes that are farther than the right one; ties count half. It is the
            area under the ROC curve within each frame; 0.5 = chance.
        margin: mean of (nearest other - own distance), in the unit of this way. None without such a query.
        not_comparable: fraction of queries that share no visible slot with the right box; they count as not found.
        confidence: 95 % intervals of "rank1" and "margin" over persons, if there are at least two persons.
    """

    way: str
    gap: str
    level: str
    queries: int
    persons: int
    chance: float
    rank1: float
    separation: float
    margin: float | None
    not_comparable: float
    confidence: Mapping[str, Interval] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The row as plain values, for JSON and tables; None if there is no such number."""
        values = {name: getattr(self, name) for name in ReassociationRow.__dataclass_fields__ if name != "confidence"}
        for metric in ("rank1", "margin"):
            low, high = self.confidence.get(metric, (None, None))
            values |= {f"{metric}_low": low, f"{metric}_high": high}
        return values


@dataclass(frozen=True, eq=False, repr=False)
class Reassociation(Guided):
    """The result of every query, from which scores by level of visibility are computed.

    Attributes:
        pairs: a row for each query. gaps: their names. alone: number of queries for each gap that were left out because
            the person was alone.
    """

    pairs: PairTable
    gaps: tuple[str, ...]
    alone: tuple[int, ...]

    @property
    def ways(self) -> tuple[str, ...]:
        """How queries were compared: "all" slots, then each slot that was also compared alone."""
        return tuple(self.pairs.own)

    @guided
    def rows(
        self, *, by: VisibilityOf = "lower", levels: Sequence[float] = LEVELS, bootstrap: int = 1000
    ) -> list[ReassociationRow]:
        """Scores by gap, level and way; for each gap, "all" comes first. Levels without a query are left out.

        Args:
            by: the box whose visibility decides the level. levels: borders between levels, ascending in (0, 1).
            bootstrap: resamplings of the persons for 95 % intervals, 0 = none. The other people in the frames are not
                resampled.

        Raises:
            ConfigError: ``by`` is not one of these words, or the borders are not valid. ShapeError: ``bootstrap`` is
                below 0.
        """
        bootstrap = require_whole("bootstrap", bootstrap, most=100_000)
        return [
            _row(self.pairs, way, self.gaps[gap], level, queries, bootstrap)
            for gap, level, queries in self._cells(by, levels)
            for way in self.ways
        ]

    @guided
    def differences(
        self,
        first: str,
        second: str,
        *,
        by: VisibilityOf = "lower",
        levels: Sequence[float] = LEVELS,
        bootstrap: int = 1000,
    ) -> dict[tuple[str, str], PairedDifference]:
        """Rank-1 of the second way minus that of the first over the same queries, by (gap, level).

        Levels with queries of only one person are left out, because the uncertainty of their difference is unknown.

        Raises:
            ConfigError: there is no such way; or as :meth:`rows`. ShapeError: ``bootstrap`` is below 1.
        """
        for way in (first, second):
            if way not in self.ways:
                raise ConfigError(f"Nothing was compared by {way!r:.80}. {nearest(str(way), self.ways)}")
        gained = self.pairs.found(second).astype(np.float64) - self.pairs.found(first)
        return {
            (self.gaps[gap], level): PairedDifference(
                "rank1",
                float(gained[queries].mean()),
                bootstrap_interval(gained[queries], groups=self.pairs.person[queries], samples=bootstrap),
            )
            for gap, level, queries in self._cells(by, levels)
            if len(np.unique(self.pairs.person[queries])) > 1
        }

    def _cells(self, by: VisibilityOf, levels: Sequence[float]) -> Iterator[tuple[int, str, NDArray[np.intp]]]:
        """(gap, level, its queries), those that have any."""
        borders = check_levels(levels)
        if by not in get_args(VisibilityOf):
            raise ConfigError(f"Levels are by the visibility of {get_args(VisibilityOf)}, got {by!r:.80}.")
        seen = self.pairs.visibility
        value = seen.min(axis=1) if by == "lower" else seen[:, get_args(VisibilityOf).index(by)]
        place = np.where(np.isnan(value), -1, np.searchsorted(borders, value, side="right"))
        edges = [0.0, *borders, 1.0]
        names = {i: f"[{edges[i]:g}, {edges[i + 1]:g}{')' if i < len(borders) else ']'}" for i in range(len(edges) - 1)}
        for gap in range(len(self.gaps)):
            within = self.pairs.gap == gap
            for level, members in (
                (EVERY_LEVEL, within),
                *((name, within & (place == number)) for number, name in (*names.items(), (-1, UNKNOWN))),
            ):
                if members.any():
                    yield gap, level, np.flatnonzero(members)


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Borders between levels of visibility.

    Raises:
        ConfigError: they are not ascending numbers between 0 and 1.

    Example:
        >>> check_levels([0.25, 0.5])
        (0.25, 0.5)
    """
    try:
        borders = tuple(float(border) for border in levels)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        borders = (np.nan,)
    edges = np.array([0.0, *borders, 1.0])
    if not (np.diff(edges) > 0).all() or isinstance(levels, str | set):
        raise ConfigError(f"Levels of visibility have ascending borders between 0 and 1, got {levels!r:.80}.")
    return borders


@guided
def reassociate(
    embeddings: PartEmbeddings,
    frames: ArrayLike,
    persons: Sequence[object],
    visibility: ArrayLike | None = None,
    *,
    sequences: Sequence[object] | None = None,
    gaps: Sequence[int] = GAPS,
    matching: MatchingConfig | None = None,
    alone: Sequence[str] | None = None,
) -> Reassociation:
    """Search for each box's person n frames later among the people in that frame, by the rules above.

    The boxes may be in any order. The same name in two sequences means two persons.

    Args:
        embeddings: [N, S, D], of N boxes.
        frames: [N] whole numbers from 0.
        persons: N names or numbers, like names of tracks (:func:`~partreid.tracking._track_names.track_key`).
        visibility: [N] visible fraction of each box, 0 to 1; NaN or -1 = unknown; None = unknown for all.
        sequences: N names; None = all boxes are of one.
        gaps: frames between a query and its candidates.
        matching: how to compare; as the model was made for where None.
        alone: slots that are also compared alone, one vector per box; None = "global" and "foreground", if the model
            has other slots too.

    Raises:
        ShapeError: numbers of boxes differ, or a value is not allowed. DataError: a box has no person or sequence, a
            person is twice in a frame, no sequence is as long as a gap, or nobody reappears among others.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0], [3.0, 1.0]])[:, None]
        >>> found = reassociate(PartEmbeddings(boxes), [0, 0, 5, 5], ["ann", "bob", "ann", "bob"], gaps=[5])
        >>> (row,) = (row for row in found.rows(bootstrap=0) if row.level == "all")
        >>> row.queries, row.chance, row.rank1, round(row.margin, 2)
        (2, 0.5, 1.0, 2.16)
    """
    matching = MatchingConfig.given(matching).resolved(embeddings.validate())
    count = len(embeddings)
    numbers = as_tensor("frames", frames)
    if numbers.shape != (count,) or (count and (not is_whole(numbers) or int(numbers.min()) < 0)):
        raise ShapeError(f"frames must be [{count}] whole numbers from 0, got {numbers.dtype} {tuple(numbers.shape)}.")
    who = _names("persons", persons, count)
    where = ["sequence"] * count if sequences is None else _names("sequences", sequences, count)
    seen = read_visibility(visibility, count)
    steps = {str(gap): require_whole("A gap in frames", gap, least=1) for gap in gaps}
    times = numbers.cpu().numpy().astype(np.int64)
    codes = {name: code for code, name in enumerate(sorted(set(where), key=str))}
    order = sorted(range(count), key=lambda i: (codes[where[i]], times[i]))
    spans = [int(np.ptp([times[i] for i in order if where[i] == name])) for name in codes]
    check_gaps([steps] * len(spans), spans)
    collector = PairCollector(tuple(steps), embeddings.slots, matching, alone)
    start = 0
    for end in range(1, count + 1):
        if end < count and all(which[order[end]] == which[order[start]] for which in (where, times)):
            continue
        rows = order[start:end]
        if start == 0 or where[rows[0]] != where[order[start - 1]]:
            collector.begin(where[rows[0]], tuple(steps.values()))
        collector.add(int(times[rows[0]]), [who[i] for i in rows], seen[rows], embeddings[rows])
        start = end
    return made(collector)


def made(collector: PairCollector) -> Reassociation:
    """The result of what was collected.

    Raises:
        DataError: there is no query.
    """
    pairs = collector.table()
    if not len(pairs.gap):
        alone = sum(collector.alone)
        raise DataError(
            f"No person has a box again beside others' after a gap of {', '.join(collector.gaps)}"
            f"{f', but {alone} times alone' * bool(alone)}. Give other gaps, or sequences of several people."
        )
    return Reassociation(pairs, collector.gaps, tuple(collector.alone))


def check_gaps(steps: Sequence[Mapping[str, int]], spans: Sequence[int]) -> None:
    """Whether each gap fits into a sequence.

    Args:
        steps: of each sequence, the gaps in its frames by their names. spans: its last minus its first frame.

    Raises:
        DataError: a gap fits into no sequence, or there is no gap or no sequence.
    """
    if not steps or not steps[0]:
        raise DataError("Expected one gap and one box at least, got none.")
    for gap in steps[0]:
        if all(own[gap] > span for own, span in zip(steps, spans, strict=True)):
            raise DataError(
                f"The gap {gap} is longer than every sequence: in the longest, the first box and the last are "
                f"{max(spans)} frames apart. Give shorter gaps: --gaps 1,10 (gaps=)."
            )


def read_visibility(values: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """[N] visible fractions, NaN if unknown.

    Raises:
        ShapeError: their number differs, or a value is neither in 0 to 1 nor NaN or -1.

    Example:
        >>> read_visibility([1, -1, 0.25], 3)
        array([1.  ,  nan, 0.25])
    """
    if values is None:
        return np.full(count, np.nan)
    in_order("visibility", values)
    seen = as_tensor("visibility", values)
    if seen.shape != (count,) or seen.is_complex():
        raise ShapeError(f"visibility must be [{count}] numbers, got {seen.dtype} {tuple(seen.shape)}.")
    known = seen.double().cpu().numpy().copy()
    known[known == -1] = np.nan
    if wrong := np.flatnonzero((known < 0) | (known > 1)).tolist():
        raise ShapeError(f"Box {wrong[0]}: expected a visible fraction in 0..1, or -1 or NaN, got {known[wrong[0]]:g}.")
    return known


def _names(name: str, values: Sequence[object], count: int) -> list[object]:
    in_order(name, values)
    if isinstance(values, str | bytes) or not hasattr(values, "__len__") or len(values) != count:
        raise ShapeError(f"{name} must be a list of {count}, one for each box, got {values!r:.80}.")
    keys = [track_key(value) for value in values]
    if None in keys:
        number = keys.index(None)
        raise DataError(f"{name}: {values[number]!r:.80} of box {number} names none. Leave such boxes out.")
    return list(keys)


def _row(
    pairs: PairTable, way: str, gap: str, level: str, queries: NDArray[np.intp], bootstrap: int
) -> ReassociationRow:
    found = pairs.found(way)[queries].astype(np.float64)
    own, other, person = pairs.own[way][queries], pairs.nearest[way][queries], pairs.person[queries]
    both = np.isfinite(own) & np.isfinite(other)
    margins = other[both] - own[both]
    confidence = {
        name: bootstrap_interval(values, groups=groups, samples=bootstrap)
        for name, values, groups in (("rank1", found, person), ("margin", margins, person[both]))
        if bootstrap and len(np.unique(groups)) > 1
    }
    return ReassociationRow(
        way=way,
        gap=gap,
        level=level,
        queries=len(queries),
        persons=len(np.unique(person)),
        chance=float((1 / pairs.present[queries]).mean()),
        rank1=float(found.mean()),
        separation=float(pairs.separation[way][queries].mean()),
        margin=float(margins.mean()) if len(margins) else None,
        not_comparable=float(np.isinf(own).mean()),
        confidence=confidence,
    )
