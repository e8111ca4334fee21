"""When to answer "nobody": a rule for open-set identification, with a guarantee that holds for any gallery.

A rule contains images of people who are known not to be in the gallery: the strangers (speaker verification calls them
a *cohort*). Each search also searches for them, in the same items and in the same way. The scores of their best hits
show how high the best hit of any stranger scores, for this number of items, for these filters, and for any distribution
of the embeddings. With the confidence of :func:`tolerance_rank`, at most a share p of all strangers scores above the
r-th largest score of the n strangers. A hit is named if it scores above this threshold. Scores are the calibration's
log-likelihood ratios, which cannot be large for a single shared part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.functional.distance import MEMORY_BUDGET, paired_distances
from partreid.functional.tolerance import draws_needed, require_share, share_above, share_below, tolerance_rank
from partreid.functional.two_sample import energy_test
from partreid.lazy import torch
from partreid.objects import Guided
from partreid.parts import FOREGROUND
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.filters import Filter
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.recording import recorded_search
from partreid.types import OpenSetDecision, PartEmbeddings, SearchResult
from partreid.types.tensors import check_comparable

if TYPE_CHECKING:
    from torch import Tensor

    from partreid.retrieval.gallery import Gallery

OPEN_SET_FILE = "open_set.safetensors"
"""Name of a rule's file beside a checkpoint."""

FEWEST_PERSONS = 50
"""Persons that a rule needs: with fewer it could promise hardly anything."""

_FEWEST_TESTED, _MOST_TESTED = 10, 200  # images, for the two-sample test


@dataclass(frozen=True, eq=False, repr=False)
class OpenSetRule(Guided):
    """A rule that names a hit, or nobody, with a stated error.

    Args:
        strangers: [n, S, D] one image of each of n persons who are not in the galleries that will be searched. If one
            of them is there nevertheless, the rule becomes stricter, never weaker.
        mates: [n, S, D] another image of each, from another camera. They show how well a person in the gallery is
            found.
        calibration: of the same model; it gives the scores and the way of comparison.
        fitted_on: the origin of the images, for readers.
        max_false: the largest share of searches that name somebody, among searches whose person is not in the gallery.
        confidence: of the guarantee. prior: share of searches whose person is in the gallery; None = unknown.

    Raises:
        ConfigError: a share is not between 0 and 1, or these persons are too few to promise ``max_false``; the message
            says what can be promised, and how many are needed.
        DataError: there are fewer than :data:`FEWEST_PERSONS` persons, or the images are from another model than the
            calibration.
        ShapeError: strangers and mates differ in number or in model.

    Example:
        >>> people = PartEmbeddings(torch.arange(400.0)[:, None, None], torch.ones(400, 1), ("foreground",))
        >>> curve = MatchCalibration(prior=0.5, offsets=(8.0,), slopes=(8.0,))
        >>> rule = OpenSetRule(people, people, curve, max_false=0.01, confidence=0.95)
        >>> rule.at(max_false=0.005)
        Traceback (most recent call last):
        partreid.errors.ConfigError: From 400 persons at most 0.746 % can be promised with 95 % confidence, and 0.5 % \
was asked for. That needs 598 persons. Ask for max_false of 0.00747 or more, or fit on more persons.
    """

    strangers: PartEmbeddings
    mates: PartEmbeddings
    calibration: MatchCalibration
    fitted_on: str = "unknown data"
    max_false: float = 0.01
    confidence: float = 0.95
    prior: float | None = None

    def __post_init__(self) -> None:
        check_comparable(self.strangers, self.mates)
        count = len(self.strangers)
        if len(self.mates) != count:
            raise ShapeError(f"Expected two images of each person, got {count} and {len(self.mates)}.")
        if count < FEWEST_PERSONS:
            raise DataError(
                f"A rule needs two images of each of at least {FEWEST_PERSONS} persons, got {count} persons. With "
                f"{draws_needed(0.01, confidence=0.95)} it can promise 1 % with 95 % confidence."
            )
        self.calibration.check_models(self.strangers.model, self.mates.model)
        max_false, confidence = require_share("max_false", self.max_false), require_share("confidence", self.confidence)
        if confidence < 0.5:
            raise ConfigError(f"confidence is at least 0.5, got {confidence}.")
        if self.prior is not None:
            require_share("prior", self.prior)
        if not self.rank:
            least = share_above(count, 1, confidence=confidence)
            raise ConfigError(
                f"From {count} persons at most {100 * least:.3g} % can be promised with {100 * confidence:g} % "
                f"confidence, and {100 * max_false:g} % was asked for. That needs "
                f"{draws_needed(max_false, confidence=confidence)} persons. Ask for max_false of "
                f"{least + 5e-6:.3g} or more, or fit on more persons."
            )

    def __len__(self) -> int:
        return len(self.strangers)

    @property
    def rank(self) -> int:
        """The rank, counted from the largest, of the stranger's score that a hit must exceed."""
        return tolerance_rank(len(self), self.max_false, confidence=self.confidence)

    def at(
        self, *, max_false: float | None = None, confidence: float | None = None, prior: float | None = None
    ) -> Self:
        """The same rule with another promise; values that are None stay.

        Raises:
            ConfigError: as the rule itself.
        """
        return replace(
            self,
            max_false=self.max_false if max_false is None else max_false,
            confidence=self.confidence if confidence is None else confidence,
            prior=self.prior if prior is None else prior,
        )

    def scores(self, distances: Tensor, comparable: Tensor) -> Tensor:
        """Log-likelihood ratios of pairs; -infinity where nothing was compared, so that nobody is named.

        Args:
            distances: of any shape. comparable: [the same] number of compared slots.
        """
        return self.calibration.log_ratio(distances, comparable).masked_fill(comparable == 0, -torch.inf)

    def limits(self, threshold: float) -> tuple[float, ...]:
        """The distances below which a pair of 1, 2, ... shared slots scores above a threshold; 0 = never."""
        curves = zip(self.calibration.offsets, self.calibration.slopes, strict=True)
        return tuple(max(0.0, (offset - threshold) / slope) for offset, slope in curves)

    def own_threshold(self, searched: int) -> float:
        """The threshold for a gallery of people who look like the strangers: each stranger is searched among this many
        mates of other strangers, or among all of them if there are fewer.

        It is the lower limit of every threshold. In a gallery of people who look nothing like the strangers, the
        strangers score low, and a threshold from their scores alone would name anybody.

        Args:
            searched: items of the gallery.
        """
        count = len(self)
        away = (torch.arange(count)[None] - torch.arange(count)[:, None]) % count  # places behind each stranger
        others = (away >= 1) & (away <= searched)
        scores = self._pairs(self.strangers, self.mates).masked_fill(~others, -torch.inf)
        return float(scores.amax(dim=1).sort(descending=True).values[self.rank - 1])

    def decide(
        self, gallery: Gallery, query: PartEmbeddings, k: int, *, matching: MatchingConfig | None = None,
        where: Filter | None = None, memory_budget: int = MEMORY_BUDGET,
    ) -> SearchResult:  # fmt: skip
        """The answer of ``gallery.search(query, k, rule=rule)``: queries and strangers are searched together.

        Raises:
            ConfigError: ``matching`` differs from the calibration's way of comparison.
            ShapeError, DataError: as :meth:`Gallery.search`, or the query is of another model than the rule.
        """
        if matching is not None and not self.calibration.fits(matching):
            raise ConfigError(
                f"The rule compares by {self.calibration.matching!r}, but {matching!r} was asked for, so its promise "
                "would not hold. Leave matching (--parts) out."
            )
        asked = {"queries": len(query), "k": k, "where": where, "max_false": self.max_false}
        return recorded_search(gallery, asked, lambda: self._decided(gallery, query, k, where, memory_budget))

    def _decided(
        self, gallery: Gallery, query: PartEmbeddings, k: int, where: Filter | None, memory_budget: int
    ) -> SearchResult:
        both = PartEmbeddings.cat([query.to("cpu", torch.float32), self.strangers.to(dtype=torch.float32)])
        found, searched, items = gallery.read(
            lambda: (
                gallery.search(both, k, matching=self.calibration.matching, where=where, memory_budget=memory_budget),
                gallery.count(where),
                next(gallery.records(where), None),
            )
        )
        answer, strangers = found[: len(query)], found[len(query) :]
        threshold, right = self._threshold(strangers, searched)
        scores = self.scores(answer.distances, answer.compared)
        passed = scores > threshold
        best = torch.full((len(query),), -1)
        if scores.shape[1]:
            best = torch.where(passed.any(dim=1), scores.argmax(dim=1), best)
        unlike = {
            "queries": self.unlike(query), "items": None if items is None else self.unlike(items.embeddings),
        }  # fmt: skip
        return replace(answer, decision=self._decision(passed, best, right, searched, unlike))

    def unlike(self, embeddings: PartEmbeddings) -> float | None:
        """The p-value of the energy test between images and the strangers, on their foreground vectors.

        At most 200 of each take part, evenly chosen. None for fewer than 10 images.
        """
        if len(embeddings) < _FEWEST_TESTED:
            return None
        slot = FOREGROUND if FOREGROUND in embeddings.slots else embeddings.slots[0]
        one, other = (_some(e).vectors.float()[:, e.slots.index(slot)] for e in (embeddings, self.strangers))
        return energy_test(one.cpu(), other.cpu())

    def save(self, path: str | Path) -> Path:
        """Write strangers and mates in half precision, completely or not at all. The calibration has its own file.

        Raises:
            DataError: the file cannot be written.
        """
        from partreid.inference.embedding_file import save_embeddings

        both = PartEmbeddings.cat([self.strangers, self.mates]).to("cpu", torch.float16)
        names = [f"{self.fitted_on}/{kind}/{i}" for kind in _KINDS for i in range(len(self))]
        return save_embeddings(path, both, names=names)

    @classmethod
    def load(cls, source: str | Path, *, calibration: MatchCalibration) -> Self:
        """Read a rule. It promises the default ``max_false``, or the smallest share that its persons allow.

        Args:
            source: the file, or the run or checkpoint folder that contains it. calibration: with which it was fitted.

        Raises:
            DataError: there is no rule, it is damaged, or belongs to another model than the calibration.
            CheckpointError: the source is neither a file nor a checkpoint.
        """
        from partreid.inference.embedding_file import read_file
        from partreid.models.checkpoint import find_checkpoint

        path = Path(source) if Path(source).is_file() else find_checkpoint(source) / OPEN_SET_FILE
        if not path.is_file():
            raise DataError(f"There is no rule {path}. Make it with `partreid calibrate --rule auto`.")
        both, facts = read_file(path)
        count, (fitted_on, *_) = len(both) // 2, (*(facts.names[0] if facts.names else "").split("/strangers/"), "")
        if facts.names != tuple(f"{fitted_on}/{kind}/{i}" for kind in _KINDS for i in range(count)):
            raise DataError(f"{path} holds embeddings, but no rule. Make one with `partreid calibrate --rule FILE`.")
        both = both.to(dtype=torch.float32)
        return cls(both[:count], both[count:], calibration, fitted_on, max_false=cls.least_promise(count))

    @classmethod
    def least_promise(cls, count: int) -> float:
        """The smallest ``max_false`` that this number of persons allows with the default confidence, but not below the
        default.
        """
        return max(cls.max_false, share_above(count, 1, confidence=cls.confidence) + 1e-9) if count else cls.max_false

    def _pairs(self, one: PartEmbeddings, other: PartEmbeddings) -> Tensor:
        """[N, M] scores of all pairs."""
        rule = self.calibration.matching.resolved(one, other)
        return self.scores(rule.distances(one, other), rule.comparable(one, other))

    def _threshold(self, strangers: SearchResult, searched: int) -> tuple[float, float]:
        """The threshold that a hit must exceed, and a lower bound on the share of present persons named correctly."""
        count = len(self)
        scores = self.scores(strangers.distances, strangers.compared)
        likeliest = scores.amax(dim=1) if scores.shape[1] else torch.full((count,), -torch.inf)
        threshold = max(float(likeliest.sort(descending=True).values[self.rank - 1]), self.own_threshold(searched))
        rule = self.calibration.matching.resolved(self.strangers, self.mates)
        one, other = rule.prepare(self.strangers), rule.prepare(self.mates)
        distances = paired_distances(
            one, other, normalize=rule.normalize, visibility=rule.visibility, weights=rule.weights
        )
        mates = self.scores(distances, rule.comparable(self.strangers, self.mates).diagonal())
        there = (mates > threshold) & (mates > likeliest)
        if scores.shape[1]:  # and near enough to be among the hits
            there &= distances <= strangers.distances[:, -1]
        return threshold, share_below(count, int(there.sum()), confidence=(1 + self.confidence) / 2)

    def _decision(
        self, passed: Tensor, best: Tensor, right: float, searched: int, unlike: Mapping[str, float | None]
    ) -> OpenSetDecision:
        wrong = None
        if self.prior is not None:
            # Whether the person is there or not, somebody else is named in at most this share of searches. The risk of
            # error is split in half between this bound and ``right``.
            false = share_above(len(self), self.rank, confidence=(1 + self.confidence) / 2)
            wrong = false / (false + self.prior * right)
        return OpenSetDecision(
            passed, best, self.max_false, self.confidence, len(self), self.fitted_on, searched, right, self.prior,
            wrong, unlike,
        )  # fmt: skip


_KINDS = "strangers", "mates"


def _some(embeddings: PartEmbeddings) -> PartEmbeddings:
    """At most ``_MOST_TESTED`` of these embeddings, evenly chosen."""
    count = min(len(embeddings), _MOST_TESTED)
    return embeddings[torch.linspace(0, len(embeddings) - 1, count).round().long()]
