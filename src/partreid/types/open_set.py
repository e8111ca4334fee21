"""The decision of an open-set rule: the named hits, and the guarantee."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from partreid.objects import Guided

UNLIKE = 0.01
"""Below this p-value images are said not to look like those that a rule was fitted on."""


@dataclass(frozen=True, eq=False, repr=False)
class OpenSetDecision(Guided):
    """Which hits of Q queries are named, and the guarantee for it. Biometrics calls this open-set identification.

    Attributes:
        passed: [Q, k] bool: whether a hit passes. best: [Q] int64 position of the most likely hit that passes, -1 =
            nobody.
        max_false: the largest share of searches that name somebody, among searches whose person is not in the gallery
            (FPIR).
        confidence: of the guarantee. persons: number of strangers in the rule. fitted_on: their origin.
        searched: number of items searched.
        found: the least share of searches that name the right person, if the person is in the gallery with one image.
        prior: share of searches whose person is in the gallery; None = unknown. max_wrong: the largest share of wrong
        names under this prior; None without a prior.
        unlike: p-values of the test whether "queries" and "items" look like the images on which the rule was fitted;
            None if there are too few.
    """

    passed: Tensor
    best: Tensor
    max_false: float
    confidence: float
    persons: int
    fitted_on: str
    searched: int
    found: float
    prior: float | None
    max_wrong: float | None
    unlike: Mapping[str, float | None]

    def __len__(self) -> int:
        return len(self.best)

    def __getitem__(self, some: slice) -> Self:
        """The decision on some queries."""
        return replace(self, passed=self.passed[some], best=self.best[some])

    @property
    def fits(self) -> bool:
        """Whether all tested images look like those on which the rule was fitted."""
        return not any(p is not None and p < UNLIKE for p in self.unlike.values())

    @property
    def statement(self) -> str:
        """The guarantee, the origin of the rule, and whether it applies here, in words."""
        words = [
            f"With {_percent(self.confidence)} confidence, at most {_percent(self.max_false)} of searches whose person "
            f"is not among the {self.searched} items name somebody ({self.persons} strangers of {self.fitted_on} were "
            f"searched here), and at least {_percent(self.found)} of those whose person is there, in one image, name "
            "the right one.",
            "How many of the names are wrong depends on how often the person is there at all (prior): not told."
            if self.prior is None or self.max_wrong is None
            else f"If the person is there in {_percent(self.prior)} of the searches, at most "
            f"{_percent(self.max_wrong)} of the names are wrong.",
        ]
        for what, p in self.unlike.items():
            if p is None:
                words.append(f"Too few {what} to test whether they look like those it was fitted on.")
            elif p < UNLIKE:
                words.append(
                    f"These {what} do not look like the images it was fitted on (p = {p:.2g}): do not rely on these "
                    "figures, fit a rule on your own cameras."
                )
        return " ".join(words)

    def to_json(self) -> dict[str, Any]:
        """As plain values, without the queries."""
        plain = {name: value for name, value in vars(self).items() if name not in ("passed", "best")}
        return {**plain, "unlike": dict(self.unlike), "fits": self.fits, "statement": self.statement}

    def __repr__(self) -> str:
        named = int((self.best >= 0).sum())
        return f"OpenSetDecision({named} of {len(self)} queries named. {self.statement})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
