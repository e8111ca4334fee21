"""A description of how images were compared, which is written beside every score in files, tables and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from partreid.base_config import meanings
from partreid.errors import ConfigError, nearest
from partreid.inference.extractor import PartExtractor
from partreid.labels.locate import AUTO
from partreid.models.model_config import ModelConfig
from partreid.models.shipped import is_shipped, shipped_name
from partreid.objects import Guided
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.runners.adaptation import Adaptation
from partreid.runtime import RuntimeConfig
from partreid.types import PartEmbeddings, SearchResult

_SEEN = {
    "argmax": "where it wins the argmax over a pixel",
    "always": "always",
    "stored": "as the gallery holds it",
    "continuous": "as much as its attention map's maximum",
}
_WEIGHTS = {"product": "v_q·v_g", "geometric": "√(v_q·v_g)", "ignore": "1: visibility is ignored"}


@dataclass(frozen=True, repr=False)
class HowCompared(Guided):
    """The choices in effect that a distance between two images depends on.

    Attributes:
        visibility: the model's rule of visibility ("threshold", "argmax", "continuous"), "always", or "stored" if only
            the gallery is known.
        visibility_threshold: λ_v in effect: the model's own or that of matching, one for all slots or one per slot;
            None if there is no threshold.
        matching: the complete matching rule.
        mirror: whether mirror images were embedded too; None if only the gallery is known.
        calibration: the data on which the calibration was fitted; None without a calibration.
        adaptation: the fingerprint of the camera statistics in use; None without any, or if only the gallery is known.
    """

    visibility: str
    visibility_threshold: float | dict[str, float] | None
    matching: MatchingConfig
    mirror: bool | None
    calibration: str | None = None
    adaptation: str | None = None
    prior: float | None = None

    @classmethod
    def of(
        cls,
        extractor: PartExtractor,
        matching: MatchingConfig | None = None,
        *,
        calibration: MatchCalibration | None = None,
    ) -> Self:
        """How a rule compares the images of this extractor; None = the model's own rule.

        Raises:
            ConfigError: a field of the rule has no effect for this model.
            ShapeError: the model has no slot that the rule names.
        """
        runner = extractor.runner
        seen, normalized = torch.empty(0, len(runner.slots)), runner.normalize_embeddings
        nothing = PartEmbeddings(seen[..., None], seen, runner.slots, "", normalized, runner.slot_weights)
        matching = MatchingConfig.given(matching).resolved(nothing)
        matching.prepare(nothing)  # refuses slots that there are not
        if matching.idle_fields and runner.visibility != "continuous":
            raise ConfigError(
                f"matching.{matching.idle_fields[0]} changes nothing here, because this model's visibilities are all "
                f"0 or 1 (visibility = {runner.visibility}). Leave it out, embed with "
                "model.visibility=continuous, or change the model's own threshold: model.visibility_threshold."
            )
        own = runner.visibility_threshold
        return cls(
            runner.visibility,
            matching.visibility_threshold if own is None else own,
            matching,
            runner.mirror,
            None if calibration is None else calibration.fitted_on or "unknown data",
            None if extractor.adaptation is None else extractor.adaptation.fingerprint,
            None if calibration is None else calibration.prior,
        )

    @classmethod
    def of_search(
        cls, found: SearchResult, extractor: PartExtractor | None, *, calibration: MatchCalibration | None = None
    ) -> Self:
        """How a gallery was searched; without its extractor, only what the gallery itself knows."""
        matching = found.matching if isinstance(found.matching, MatchingConfig) else MatchingConfig()
        if extractor is not None:
            return cls.of(extractor, matching, calibration=calibration)
        return cls("stored", matching.visibility_threshold, matching, None)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "visibility": self.visibility,
            "visibility_threshold": self.visibility_threshold,
            "mirror": self.mirror,
            "matching": self.matching.model_dump(mode="json"),
            "calibration": self.calibration,
            "adaptation": self.adaptation,
            "prior": self.prior,
        }

    def __str__(self) -> str:
        limits = self.visibility_threshold
        if limits is None:
            seen = _SEEN[self.visibility]
        else:
            over = limits if isinstance(limits, float) else ", ".join(f"{limit:g} ({s})" for s, limit in limits.items())
            seen = f"where its map's maximum is above λ_v = {over}"
        rule = self.matching.visibility
        prior = "" if self.prior is None else f", prior {100 * self.prior:.2g} % of pairs"
        parts = [
            f"slots {', '.join(self.matching.slots)}" if self.matching.slots else "all slots",
            f"a part is visible {seen}",
            f"weight {_WEIGHTS.get(rule, f'f(v_q)·f(v_g), f = the visibility rule {rule!r}')}{_times(self.matching)}",
            "vectors divided by their length" if self.matching.normalize else "vectors as they are",
            *([] if self.mirror is None else ["with mirror images" if self.mirror else "without mirror images"]),
            *([] if self.adaptation is None else [f"cameras adapted to ({self.adaptation})"]),
            "no calibration" if self.calibration is None else f"calibrated on {self.calibration}{prior}",
        ]
        return f"Compared: {'; '.join(parts)}."


def _times(matching: MatchingConfig) -> str:
    """The slots' weights in words; empty if all are the same."""
    weights = matching.weights or {}
    return f", times {', '.join(f'{weight:g} ({slot})' for slot, weight in weights.items())}" if weights else ""


def load_for_comparison(
    model: str | Path | PartExtractor,
    *,
    runtime: RuntimeConfig | None = None,
    mirror: bool = False,
    overrides: Sequence[str] = (),
    calibration: str | Path | MatchCalibration | None = None,
    adaptation: str | Path | Adaptation | None = None,
) -> tuple[PartExtractor, HowCompared]:
    """Load a model together with the way in which its embeddings are compared.

    Args:
        model: as for :meth:`PartExtractor.from_pretrained`, or an extractor, which keeps its way of embedding.
        runtime: where it runs. mirror: whether mirror images are embedded too.
        overrides: assignments to fields of the model ("model.visibility=continuous") and of matching
            ("matching.visibility=geometric").
        calibration: as for :func:`find_calibration`; it then decides mirror and overrides.
        adaptation: as for :meth:`PartExtractor.from_pretrained`.

    Raises:
        CheckpointError: the model is missing, incomplete or of another program.
        ConfigError: an override is not a field or has no effect, is given together with a calibration, or asks an
            extractor to embed in another way.
        DataError: there is no calibration, or it belongs to another model.
    """
    known = find_calibration(calibration, model)
    if known is not None and (overrides or mirror):
        raise ConfigError("A calibration decides how to embed and compare. Leave --set and --mirror out.")
    replaced = fields_of("model", overrides)
    if not isinstance(model, PartExtractor):
        embedding = (mirror, replaced) if known is None else (known.mirror, known.overrides)
        model = PartExtractor.from_pretrained(
            model, runtime=runtime, mirror=embedding[0], overrides=embedding[1], adaptation=adaptation
        )
    elif runtime is not None or mirror or replaced or adaptation is not None:
        raise ConfigError(
            "The extractor is loaded already: give runtime, mirror, adaptation and model.FIELD=VALUE where it is made "
            "(PartExtractor.from_pretrained), or give the model's name instead of the extractor."
        )
    if known is not None:
        return model, HowCompared.of(model, known.check(model).matching, calibration=known)
    return model, HowCompared.of(model, MatchingConfig().override(fields_of("matching", overrides)))


def find_calibration(
    calibration: str | Path | MatchCalibration | None, model: str | Path | PartExtractor
) -> MatchCalibration | None:
    """A calibration, from itself, its file, the run that contains it, or with "auto" the one beside the model; None for
    None.

    Raises:
        DataError: there is none, or it is damaged. ConfigError: "auto" for an extractor, which does not know its
            folder.
    """
    if calibration != AUTO:
        return MatchCalibration.load(calibration) if isinstance(calibration, str | Path) else calibration
    if isinstance(model, PartExtractor):
        raise ConfigError("Expected a calibration or its file: which one lies beside a loaded extractor is not known.")
    return MatchCalibration.load(run_of(model))


def run_of(model: str | Path) -> str | Path:
    """The place of the files that belong to a model: the run of an exported file, or else the model itself."""
    return Path(model).parent if Path(model).is_file() else model


def fields_of(section: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """The assignments to fields of "model" or of "matching", without that word.

    Raises:
        ConfigError: an assignment is for neither.
    """
    for assignment in overrides:
        given, dot, _ = assignment.partition(".")
        if given not in ("model", "matching") or not dot:
            name, _, value = assignment.partition("=")
            known = {one: meanings(config) for one, config in (("model", ModelConfig), ("matching", MatchingConfig))}
            meant = [f"{one}.{field}={value}" for one, fields in known.items() for field in fields if field == name]
            hint = f"Did you mean {' or '.join(meant)}?" if meant else nearest(given, known)
            raise ConfigError(f"{assignment!r}: expected model.FIELD=VALUE or matching.FIELD=VALUE. {hint}")
    return tuple(a.partition(".")[2] for a in overrides if a.startswith(f"{section}."))


def model_name(model: str | Path | PartExtractor) -> str:
    """The name of a model for a title: its folder, its repository, or the fingerprint of an extractor."""
    if isinstance(model, PartExtractor):
        return model.fingerprint
    if is_shipped(model):
        return shipped_name()
    return Path(model).resolve().name if Path(model).exists() else str(model)
