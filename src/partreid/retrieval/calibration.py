"""From a distance and the number of compared slots to the probability that two images show one person.

A distance over two slots says less than the same distance over six. So each number of mutually visible slots has its
own logistic curve, P = sigmoid(logit(prior) + offset - slope · distance). The curves of neighbouring numbers are tied
together, so that a number with few pairs borrows from its neighbours. The curve is Platt's (1999). Its slope is
positive, because P falls with distance. If no slot was compared, P is the prior.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.files import atomic_file
from partreid.json_files import read_json
from partreid.lazy import torch
from partreid.retrieval.labelled_pairs import LabelledPairs as LabelledPairs
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, SearchResult
from partreid.types.numbers import require_whole

if TYPE_CHECKING:
    from torch import Tensor

    from partreid.inference.extractor import PartExtractor

CALIBRATION_FILE = "calibration.json"
"""Name of a calibration beside a checkpoint."""

_FORMAT, _VERSION = "partreid-calibration", 1

Rule = TypeVar("Rule", bound=ConfigModel)

_OFFSET_STEP, _SLOPE_STEP = 0.5, 0.2
"""How far the curves of n and n + 1 slots usually lie apart: in logits at the mean distance, and in ln(slope). Pairs
that share an image say less than as many independent ones; narrow steps make up for counting them as such."""
_OFFSET_RANGE, _SLOPE_RANGE = 10.0, 3.0
"""Bounds in the same units for all curves together: persons who can be told apart perfectly stay finite."""


_FEW_PAIRS = 50
UPPER = 0.8413
"""The share of a normal distribution that lies below its mean plus one standard deviation."""


class MatchCalibration(ConfigModel):
    """Probability that two images show one person, given their distance and how many slots were compared.

    It belongs to one model, one way of embedding and one matching rule; see :meth:`check`. Distances must be computed
    by ``matching``.

    Example:
        >>> calibration = MatchCalibration(prior=0.5, offsets=(2.0, 6.0), slopes=(1.0, 2.0))
        >>> calibration.probability(torch.tensor([2.0, 2.0, torch.inf]), torch.tensor([1, 2, 0]))
        tensor([0.5000, 0.8808, 0.5000])
        >>> calibration.with_prior(0.1).probability(torch.tensor([2.0]), torch.tensor([2]))
        tensor([0.4509])
    """

    prior: Annotated[float, Field(gt=0, lt=1)]
    """Probability of a match before anything is compared: the fraction of pairs that show one person."""
    offsets: tuple[float, ...]
    """Log-likelihood ratio at distance 0, for 1, 2, ... compared slots."""
    slopes: tuple[Annotated[float, Field(gt=0)], ...]
    """By how much the log-likelihood ratio falls with each unit of distance, for 1, 2, ... compared slots."""
    strangers: tuple[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]], ...] = ()
    """The distances between two persons, for 1, 2, ... compared slots: their median, and how far above the median the
    farthest sixth begins (one standard deviation if they were normal). Linking scales the distances of other cameras
    and of merged tracks to these values (docs/link.md). Empty in files of former versions."""
    matching: MatchingConfig = MatchingConfig()
    """How the images were compared."""
    overrides: tuple[str, ...] = ()
    """Fields of the model that were replaced when embedding, such as "visibility=continuous"."""
    mirror: bool = False
    """Whether embeddings were averaged with those of the mirror image."""
    model: str = ""
    """Fingerprint of the extractor it belongs to."""
    fitted_on: str = ""
    """The data it was fitted on, for people."""

    @field_validator("matching", mode="after")
    @classmethod
    def _says_its_weights(cls, matching: MatchingConfig) -> MatchingConfig:
        return _weighed(matching)

    @model_validator(mode="after")
    def _one_curve_each(self) -> Self:
        if not self.offsets or len(self.offsets) != len(self.slopes):
            raise ValueError(f"expected an offset and a slope for 1, 2, ... slots, got {self.offsets}, {self.slopes}")
        if self.strangers and len(self.strangers) != len(self.offsets):
            raise ValueError(f"expected strangers for 1, 2, ... {len(self.offsets)} slots, got {len(self.strangers)}")
        return self

    def with_prior(self, prior: float) -> Self:
        """The same calibration for data in which another fraction of the pairs shows one person. If each query has
        about one match, this fraction is one over the gallery's size.

        Raises:
            ConfigError: ``prior`` is not between 0 and 1.
        """
        if not 0 < prior < 1:
            raise ConfigError(f"A prior is a probability between 0 and 1, got {prior}.")
        return self.model_copy(update={"prior": float(prior)})

    def probability(self, distances: Tensor, comparable: Tensor) -> Tensor:
        """Probabilities of pairs.

        Args:
            distances: of any shape, by ``matching``; infinity where nothing was compared.
            comparable: [the same shape] number of compared slots, 0 where nothing was compared.

        Returns:
            [the same shape] in (0, 1), in the distances' type; the prior where nothing was compared.

        Raises:
            ShapeError: the shapes differ, or more slots were compared than there are curves.
        """
        return torch.sigmoid(math.log(self.prior / (1 - self.prior)) + self.log_ratio(distances, comparable))

    def log_ratio(self, distances: Tensor, comparable: Tensor) -> Tensor:
        """Log-likelihood ratios that pairs show one person rather than two; they do not depend on the prior.

        Args:
            distances, comparable: as in :meth:`probability`.

        Returns:
            [the same shape], in the distances' type; 0 where nothing was compared.

        Raises:
            ShapeError: as :meth:`probability`.
        """
        if distances.shape != comparable.shape or not distances.is_floating_point() or comparable.is_complex():
            raise ShapeError(
                "Expected floating-point distances and numbers of slots, of one shape, got "
                f"{distances.dtype} {tuple(distances.shape)} and {comparable.dtype} {tuple(comparable.shape)}."
            )
        if comparable.numel() and not 0 <= int(comparable.min()) <= int(comparable.max()) <= len(self.offsets):
            raise ShapeError(
                f"Expected numbers of slots in 0..{len(self.offsets)}, as this calibration has so many curves, got "
                f"{int(comparable.min())}..{int(comparable.max())}."
            )
        curve = (comparable.long() - 1).clamp(min=0)
        offsets, slopes = (distances.new_tensor(values)[curve] for values in (self.offsets, self.slopes))
        nothing = (comparable == 0) | torch.isinf(distances)
        return (offsets - slopes * distances).masked_fill(nothing, 0)

    def probabilities(self, query: PartEmbeddings, gallery: PartEmbeddings) -> Tensor:
        """[Q, G] probabilities of all pairs, compared by ``matching``.

        Raises:
            ShapeError: as ``MatchingConfig.distances``.
            DataError: the embeddings come from another model than the calibration's.
        """
        self.check_models(query.model, gallery.model)
        return self.probability(self.matching.distances(query, gallery), self.matching.comparable(query, gallery))

    def of_search(self, result: SearchResult) -> Tensor:
        """[Q, k] probabilities of the results of :meth:`Gallery.search`.

        Raises:
            ConfigError: the search compared in another way than the calibration was fitted for.
            DataError: the search was made with another model.
        """
        self.check_models(result.model)
        if not self.fits(result.matching):
            raise ConfigError(
                f"The search compared by {result.matching!r}, and the calibration was fitted for {self.matching!r}: "
                "its probabilities would be wrong. Search with matching=calibration.matching."
            )
        return self.probability(result.distances, result.part_distances.isfinite().sum(dim=2))

    def fits(self, matching: ConfigModel | None) -> bool:
        """Whether the calibration was fitted on distances by this rule; an unknown rule counts as its own."""
        if matching is not None and self.matching.normalize is None:
            matching = matching.model_copy(update={"normalize": None})
        return matching is None or _weighed(matching) == _weighed(self.matching)

    def check_models(self, *models: str) -> None:
        """Check that embeddings with these fingerprints are from its model; an unknown fingerprint ("") passes.

        Raises:
            DataError: a fingerprint is of another model.
        """
        if self.model and (others := {*models} - {"", self.model}):
            raise DataError(
                f"The calibration belongs to model {self.model}, the embeddings to {', '.join(sorted(others))}. "
                "Make one with `partreid calibrate`."
            )

    def check(self, extractor: PartExtractor) -> Self:
        """Check that the calibration belongs to this extractor: its weights, input, and way of embedding.

        Returns the calibration itself.

        Raises:
            DataError: the calibration belongs to another model or another way of embedding.
        """
        if self.model != extractor.fingerprint:
            ways = [f"model.{assignment}" for assignment in self.overrides] + ["mirror images"] * self.mirror
            raise DataError(
                "The calibration was made for another model, or for other ways of embedding "
                f"({', '.join(ways) or 'visibility, mirror, image size'}): expected {extractor.fingerprint}, it is "
                f"for {self.model or 'none'}. Embed as it was made, or make another with `partreid calibrate`."
            )
        return self

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        content = {"format": _FORMAT, "version": _VERSION, **self.model_dump(mode="json")}
        with atomic_file(path, error=DataError) as temporary:
            temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, source: str | Path, *, extractor: PartExtractor | None = None) -> Self:
        """Read a calibration.

        Args:
            source: the file, or the run or checkpoint folder that contains it.
            extractor: the model that it will be used with; a calibration of another model is refused.

        Raises:
            DataError: there is no calibration, it is damaged or of another version, or belongs to another model.
            CheckpointError: the source is neither a file nor a checkpoint.
        """
        from partreid.models.checkpoint import find_checkpoint

        path = Path(source) if Path(source).is_file() else find_checkpoint(source) / CALIBRATION_FILE
        if not path.exists():
            raise DataError(f"There is no calibration {path}. Make it with `partreid calibrate`.")
        try:
            content = read_json(path, error=DataError)
            kind = (content.pop("format", None), content.pop("version", None)) if isinstance(content, dict) else None
            if kind != (_FORMAT, _VERSION):
                raise DataError(f"{path}: expected a {_FORMAT} of version {_VERSION}, got {kind}.")
            calibration = cls.parse(content, source=str(path))
        except (ConfigError, DataError) as error:
            raise DataError(f"{str(error).rstrip('.')}. Make it again with `partreid calibrate`.") from None
        return calibration if extractor is None else calibration.check(extractor)


def _weighed(matching: Rule) -> Rule:
    """The rule with its slot weights filled in: none if it says nothing, as in former versions."""
    return matching.model_copy(update={"slot_weights": matching.model_dump().get("slot_weights") or {}})


def usual_strangers(pairs: LabelledPairs, *, num_slots: int) -> tuple[tuple[float, float], ...]:
    """:attr:`MatchCalibration.strangers` computed from these pairs.

    Args:
        pairs: with their weights. num_slots: number of curves. A number of slots with few pairs uses the values of the
            nearest other number.

    Returns:
        ``num_slots`` medians and spreads; empty if no number of slots has 50 pairs of two persons.

    Raises:
        ShapeError: ``num_slots`` is no whole number of at least 1.
    """
    num_slots, found = require_whole("num_slots", num_slots, least=1), dict[int, tuple[float, float]]()
    for slots in range(1, num_slots + 1):
        some = pairs[(pairs.comparable == slots) & ~pairs.same]
        if len(some) < _FEW_PAIRS:
            continue
        distances, order = some.distances.double().sort()
        mass = some.weights[order].double().cumsum(0)
        middle, upper = (float(distances[int((mass < share * mass[-1]).sum())]) for share in (0.5, UPPER))
        if upper > middle:
            found[slots] = middle, upper - middle
    nearest = (min(found, key=lambda known: (abs(known - slots), -known)) for slots in range(1, num_slots + 1) if found)
    return tuple(found[known] for known in nearest)


def fit_curves(pairs: LabelledPairs, *, num_slots: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Offsets and slopes of a :class:`MatchCalibration`, by penalised maximum likelihood.

    Args:
        pairs: with their weights; pairs that are not comparable are ignored.
        num_slots: number of curves, for 1 to ``num_slots`` slots.

    Returns:
        ``(offsets, slopes)``, each of ``num_slots`` numbers; the offsets do not include the base rate of the pairs.

    Raises:
        DataError: no comparable pair shows one person, or all do; or more slots were compared than there are curves.

    Example:
        >>> distances, ones = torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), torch.ones(4).long()
        >>> same = torch.tensor([True, False, True, False])
        >>> pairs = LabelledPairs(distances, ones, same, ones.double(), ones, ones)
        >>> offsets, slopes = fit_curves(pairs, num_slots=1)
        >>> round(offsets[0] / slopes[0], 3)  # where both are as likely
        2.5
    """
    num_slots = require_whole("num_slots", num_slots, least=1)
    if len(pairs) and int(pairs.comparable.max()) > num_slots:
        raise DataError(f"Expected a curve for each number of compared slots, got {num_slots} curves.")
    seen, rate = pairs[pairs.comparable > 0], pairs.base_rate
    seen.at_base_rate(rate)  # refuses pairs that are all of one kind
    total = seen.weights.sum()
    mean = (seen.weights * seen.distances).sum() / total
    scale = ((seen.weights * (seen.distances - mean).square()).sum() / total).sqrt().clamp(min=1e-12)
    x, curve = (seen.distances - mean) / scale, seen.comparable - 1
    height = torch.full((num_slots,), math.log(rate / (1 - rate)), dtype=torch.float64, requires_grad=True)
    steepness = torch.zeros(num_slots, dtype=torch.float64, requires_grad=True)  # ln of the slope
    optimizer = torch.optim.LBFGS([height, steepness], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = height[curve] - steepness.exp()[curve] * x
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, seen.same.double(), seen.weights, reduction="sum"
        )
        for values, step, far in ((height, _OFFSET_STEP, _OFFSET_RANGE), (steepness, _SLOPE_STEP, _SLOPE_RANGE)):
            loss = loss + (values.diff() / step).square().sum() / 2 + (values / far).square().mean() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    slopes = (steepness.exp() / scale).detach()
    offsets = height.detach() + slopes * mean - math.log(rate / (1 - rate))
    return tuple(offsets.tolist()), tuple(slopes.tolist())
