"""What in fact was compared, and how: said beside every score, in files, tables and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch

from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, SearchResult

_SEEN = {
    "argmax": "where it wins the argmax over a pixel",
    "always": "always",
    "stored": "as the gallery holds it",
    "continuous": "as much as its attention map's maximum",
}
_WEIGHTS = {"product": "v_q·v_g", "geometric": "√(v_q·v_g)", "ignore": "1: visibility is ignored"}


@dataclass(frozen=True)
class HowCompared:
    """The choices that a distance between two images depends on, as they were in effect.

    Attributes:
        visibility: the model's rule of visibility ("threshold", "argmax", "continuous"), "always", or "stored" where
            only the gallery is known.
        visibility_threshold: λ_v in effect: the model's own, or that of matching, one for all slots or by slot; None
            where nothing is held against a threshold.
        matching: the rule of matching, with nothing left open.
        mirror: whether mirror images were embedded too; None where only the gallery is known.
        calibration: what the calibration in use was fitted on, None without one.
    """

    visibility: str
    visibility_threshold: float | dict[str, float] | None
    matching: MatchingConfig
    mirror: bool | None
    calibration: str | None = None

    @classmethod
    def of(
        cls,
        extractor: PartExtractor,
        matching: MatchingConfig | None = None,
        *,
        calibration: MatchCalibration | None = None,
    ) -> Self:
        """How images that this extractor embeds are compared by a rule; by the model's own where None.

        Raises:
            ConfigError: the rule holds a field that changes nothing for this model.
            ShapeError: it names a slot that the model has not.
        """
        runner = extractor.runner
        nothing = PartEmbeddings(
            torch.empty(0, len(runner.slots), 1),
            torch.empty(0, len(runner.slots)),
            runner.slots,
            compare_normalized=runner.normalize_embeddings,
        )
        matching = MatchingConfig.given(matching).resolved(nothing)
        matching.prepare(nothing)  # refuses slots that there are not
        if matching.idle_fields and runner.visibility != "continuous":
            raise ConfigError(
                f"matching.{matching.idle_fields[0]} changes nothing here: this model says of each part whether it is "
                f"visible, 0 or 1 (visibility = {runner.visibility}). Leave it away, embed with "
                "model.visibility=continuous, or change the model's own threshold: model.visibility_threshold."
            )
        own = runner.visibility_threshold
        return cls(
            runner.visibility,
            matching.visibility_threshold if own is None else own,
            matching,
            runner.mirror,
            None if calibration is None else calibration.fitted_on or "unknown data",
        )

    @classmethod
    def of_search(
        cls, found: SearchResult, extractor: PartExtractor | None, *, calibration: MatchCalibration | None = None
    ) -> Self:
        """How a gallery was searched; without its extractor, as far as the gallery itself knows."""
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
        }

    def __str__(self) -> str:
        """One sentence for people."""
        limits = self.visibility_threshold
        if limits is None:
            seen = _SEEN[self.visibility]
        else:
            over = limits if isinstance(limits, float) else ", ".join(f"{limit:g} ({s})" for s, limit in limits.items())
            seen = f"where its map's maximum is above λ_v = {over}"
        rule = self.matching.visibility
        parts = [
            f"slots {', '.join(self.matching.slots)}" if self.matching.slots else "all slots",
            f"a part is visible {seen}",
            f"weight {_WEIGHTS.get(rule, f'f(v_q)·f(v_g), f = the visibility rule {rule!r}')}",
            "vectors divided by their length" if self.matching.normalize else "vectors as they are",
            *([] if self.mirror is None else ["with mirror images" if self.mirror else "without mirror images"]),
            "no calibration" if self.calibration is None else f"calibrated on {self.calibration}",
        ]
        return f"Compared: {'; '.join(parts)}."
