"""The results of an evaluation and of a training step. Frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from partreid.errors import WrongTypeError
from partreid.objects import Guided, html_table
from partreid.types.numbers import require_whole

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResult(Guided):
    """How well a ranking finds the right persons. Scores lie in [0, 1].

    Attributes:
        cmc: CMC curve; ``cmc[k - 1]`` is rank-k.
        mean_ap, mean_inp: mAP and mINP over the counted queries.
        average_precision, inverse_negative_penalty: [Q], NaN for a query that is not counted.
        num_queries, num_skipped: counted queries, and those without a positive in the gallery.
        num_gallery: gallery size, without junk. protocol: name of the rule for junk and skipped queries.
        confidence: 95 % bootstrap interval per metric ("rank1", "mAP"), where computed.
        first_match: [Q] int64 rank of the first positive (1-based), 0 for a query that is not counted.
        num_junk: queries and gallery images of person -1, which are ignored.
    """

    cmc: np.ndarray
    mean_ap: float
    mean_inp: float
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    num_queries: int
    num_skipped: int
    num_gallery: int
    protocol: str
    confidence: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    first_match: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    num_junk: tuple[int, int] = (0, 0)

    def rank(self, k: int) -> float:
        """CMC at rank ``k`` (from 1); beyond the curve, its last value."""
        k = require_whole("A rank", k, least=1)
        return float(self.cmc[min(k, len(self.cmc)) - 1])

    @property
    def rank1(self) -> float:
        """Rank-1 of the CMC curve."""
        return self.rank(1)

    @property
    def rank5(self) -> float:
        """Rank-5 of the CMC curve."""
        return self.rank(5)

    @property
    def rank10(self) -> float:
        """Rank-10 of the CMC curve."""
        return self.rank(10)

    @property
    def mAP(self) -> float:  # noqa: N802 - the field's word
        """Mean average precision: ``mean_ap``."""
        return self.mean_ap

    @property
    def mINP(self) -> float:  # noqa: N802 - the field's word
        """Mean inverse negative penalty: ``mean_inp``."""
        return self.mean_inp

    def __getitem__(self, name: str) -> float | int | str | dict[str, list[float]]:
        """A figure of :meth:`summary` by its name: ``result["mAP"]``.

        Raises:
            WrongTypeError: there is none of that name; or the result was unpacked like a tuple.
        """
        figures = self.summary()
        if name not in figures:
            raise WrongTypeError(
                f"There is no figure {name!r} in this result. Write result.cmc, result.rank1, result.mAP, or one of: "
                f"{', '.join(figures)}."
            )
        return figures[name]

    def __repr__(self) -> str:
        scores = ", ".join(f"{metric} {100 * value:.1f} %" for metric, value in self._percent())
        return (
            f"EvaluationResult({scores}; {self.num_queries} queries, {self.num_skipped} more without a positive, "
            f"{self.num_gallery} gallery images; {self.protocol})"
        )

    def _repr_html_(self) -> str:
        figures = self._percent()
        caption = f"{self.num_queries} queries in {self.num_gallery} gallery images; {self.protocol}"
        return html_table(caption, [name for name, _ in figures], [[f"{100 * value:.1f} %" for _, value in figures]])

    def _percent(self) -> list[tuple[str, float]]:
        return [(name, getattr(self, name)) for name in ("mAP", "rank1", "rank5", "rank10", "mINP")]

    def summary(self) -> dict[str, float | int | str | dict[str, list[float]]]:
        """The main figures as plain numbers, for JSON; with "confidence_95", [low, high] by metric, if computed, and
        "junk_queries" and "junk_gallery" if there are any.
        """
        intervals = {metric: list(map(float, interval)) for metric, interval in self.confidence.items()}
        confidence = {"confidence_95": intervals} if intervals else {}
        junk = dict(zip(("junk_queries", "junk_gallery"), self.num_junk, strict=True)) if any(self.num_junk) else {}
        return {
            **{name: getattr(self, name) for name in ("rank1", "rank5", "rank10", "mAP", "mINP")},
            "queries": self.num_queries,
            "queries_without_positive": self.num_skipped,
            "gallery": self.num_gallery,
            "protocol": self.protocol,
            **junk,
            **confidence,
        }


@dataclass(frozen=True, eq=False, repr=False)
class LossReport(Guided):
    """The training objective (Eq. 5) and its terms.

    Attributes:
        total: the scalar to differentiate.
        terms: each loss with a weight, by name, before weighting, detached.
        statistics: other figures to observe (for example the fraction of active triplets).
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
