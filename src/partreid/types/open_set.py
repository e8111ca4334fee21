"""The decision of an open-set rule: the named hits, and the guarantee."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from partreid.objects import Guided

if TYPE_CHECKING:
    from torch import Tensor

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
            f"With {_percent(self.confidence)} confidence: if the person is not among the {self.searched} items, at "
            f"most {_percent(self.max_false)} of the searches name somebody ({self.persons} strangers of "
            f"{self.fitted_on} were searched here). If the person is there with one image, at least "
            f"{_percent(self.found)} of the searches name the right person.",
            "The share of wrong names depends on how often the person is in the gallery (prior), which was not given."
            if self.prior is None or self.max_wrong is None
            else f"If the person is there in {_percent(self.prior)} of the searches, at most "
            f"{_percent(self.max_wrong)} of the names are wrong.",
        ]
        for what, p in self.unlike.items():
            if p is None:
                words.append(f"Too few {what} to test whether they look like the images of the rule.")
            elif p < UNLIKE:
                words.append(
                    f"These {what} do not look like the images of the rule (p = {p:.2g}). Do not rely on these "
                    "figures, but fit a rule on your own cameras."
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
