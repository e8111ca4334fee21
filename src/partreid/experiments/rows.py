"""What an experiment is made of: rows, how each compares images, and what the paper claims about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from partreid.errors import ConfigError
from partreid.objects import Guided
from partreid.training.train_config import TrainConfig

EVERYTHING = "everything"
"""All slots of a model together: Eq. 9."""


class PaperScore(NamedTuple):
    """Rank-1 and mAP in percent, as the paper prints them."""

    rank1: float
    mean_ap: float


@dataclass(frozen=True)
class Comparison:
    """How images are compared, where it is not as the model's own configuration has it.

    Attributes:
        embedding: one embedding alone ("global", "foreground", "head", "parts", ...), or :data:`EVERYTHING`.
        visibility: weight of a slot, see ``MatchingConfig``.
        continuous: visibilities are the maxima of the attention maps, without a threshold.
        mirror: image and mirror image are averaged. rerank: k-reciprocal re-ranking.
        normalize: each vector divided by its length; None = as the model has it.
    """

    embedding: str = EVERYTHING
    visibility: str = "product"
    continuous: bool = False
    mirror: bool = False
    rerank: bool = False
    normalize: bool | None = None

    @property
    def name(self) -> str:
        """What stands for it in the results of a run; different comparisons have different names."""
        parts = [self.embedding, self.visibility]
        flags = {"continuous": self.continuous, "mirror": self.mirror, "reranked": self.rerank}
        parts += [word for word, chosen in flags.items() if chosen]
        if self.normalize is not None:
            parts.append("normalized" if self.normalize else "raw")
        return "/".join(parts)


@dataclass(frozen=True, repr=False)
class Row(Guided):
    """One row of a table.

    Attributes:
        name: in the table. run: folder of its training; rows of one run share it, across tables too.
        overrides: what is trained otherwise than in the preset, ``field=value`` each.
        comparison: how it is scored. paper: what the paper prints, None where it has no such row.
        data: name of the data set, where a table has several.
    """

    name: str
    run: str
    overrides: tuple[str, ...] = ()
    comparison: Comparison = Comparison()
    paper: PaperScore | None = None
    data: str = ""

    def config(self, base: TrainConfig, seed: int) -> TrainConfig:
        """The whole configuration of the training.

        Raises:
            ConfigError: an override does not fit the preset.
        """
        return base.override([*self.overrides, f"seed={seed}"])


@dataclass(frozen=True)
class Claim:
    """The paper says that ``better`` ranks before ``worse`` (names of rows), by mAP."""

    better: str
    worse: str


@dataclass(frozen=True, repr=False)
class Experiment(Guided):
    """A table.

    Attributes:
        name: on the command line. title: in words. rows: in the paper's order. claims: what the paper concludes.
        data: where the paper measured it. notes: what a reader must know about the rows.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    data: str = "Occluded-Duke"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        assert len(set(names)) == len(names), "row names are unique"
        assert {name for claim in self.claims for name in (claim.better, claim.worse)} <= set(names)

    def select(self, names: Sequence[str] | None) -> tuple[Row, ...]:
        """Rows by name, all where None.

        Raises:
            ConfigError: there is no such row.
        """
        known = [row.name for row in self.rows]
        if unknown := [name for name in names or () if name not in known]:
            raise ConfigError(f"{self.name} has no row {', '.join(map(repr, unknown))}. Its rows: {', '.join(known)}.")
        return tuple(row for row in self.rows if names is None or row.name in names)
