"""``evaluate_reassociation(model, folder)``: does a model find people again some frames later? Scores and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from partreid.errors import DataError
from partreid.evaluation.mot_sequences import reassociate_sequences
from partreid.evaluation.reassociation import GAPS, LEVELS, Reassociation, VisibilityOf, check_levels
from partreid.files import write_text
from partreid.inference.extractor import PartExtractor
from partreid.objects import Guided, guided
from partreid.progress import Progress, no_progress
from partreid.reports.tables import as_csv
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.how_compared import HowCompared, load_for_comparison, model_name
from partreid.runners.adaptation import Adaptation
from partreid.runtime import RuntimeConfig
from partreid.tracking.video import OnError


@dataclass(frozen=True, eq=False, repr=False)
class ReassociationEvaluation(Guided):
    """A model's scores in finding people again in sequences.

    Attributes:
        model: its name. folder: of the sequences. how: the way boxes were compared. found: result of every query.
        levels: borders between levels of visibility. every: queries are in frames 0, every, 2·every, ...
    """

    model: str
    folder: Path
    how: HowCompared
    found: Reassociation
    levels: tuple[float, ...] = LEVELS
    every: int = 1

    def rows(self) -> list[dict[str, Any]]:
        """Scores in [0, 1] with 95 % intervals, by visibility: of the query, of the target, and the lower of both."""
        return [
            {"visibility_of": by, **row.summary()}
            for by in get_args(VisibilityOf)
            for row in self.found.rows(by=by, levels=self.levels)
        ]

    def summary(self) -> dict[str, Any]:
        """All scores as plain values, the gain of "all" over each single slot, and how boxes were compared."""
        return {
            "protocol": "re-association over a frame gap",
            "sequences": str(self.folder),
            "every": self.every,
            "alone_left_out": dict(zip(self.found.gaps, self.found.alone, strict=True)),
            "scores": self.rows(),
            "differences": [
                {"visibility_of": by, "gap": gap, "level": level, "first": way, "second": self.found.ways[0],
                 "rank1": one.mean, "rank1_low": one.interval.low, "rank1_high": one.interval.high}
                for by in get_args(VisibilityOf)
                for way in self.found.ways[1:]
                for (gap, level), one in self.found.differences(
                    way, self.found.ways[0], by=by, levels=self.levels).items()
            ],
            **self.how.to_json(),
        }  # fmt: skip

    def to_csv(self) -> str:
        """:meth:`rows` as CSV."""
        return as_csv(self.rows())

    def save(self, folder: str | Path) -> Path:
        """Write ``reassociation.json`` and ``reassociation.csv``.

        Raises:
            DataError: a file cannot be written.
        """
        folder = Path(folder)
        write_text(folder / "reassociation.json", json.dumps(self.summary(), indent=2) + "\n", error=DataError)
        write_text(folder / "reassociation.csv", self.to_csv(), error=DataError)
        return folder


@guided
def evaluate_reassociation(
    model: str | Path | PartExtractor,
    folder: str | Path,
    *,
    gaps: Sequence[int | str] = GAPS,
    levels: Sequence[float] = LEVELS,
    every: int = 1,
    mirror: bool = False,
    overrides: Sequence[str] = (),
    calibration: str | Path | MatchCalibration | None = None,
    adaptation: str | Path | Adaptation | None = None,
    runtime: RuntimeConfig | None = None,
    out: str | Path | None = None,
    on_error: OnError | None = None,
    progress: Progress = no_progress,
) -> ReassociationEvaluation:
    """Search each person of MOTChallenge sequences some frames later, among the people who are present then.

    :mod:`partreid.evaluation.reassociation` describes the rules. This differs from the queries and the gallery of
    :func:`partreid.evaluate`: candidates are the few people of one frame, and the camera is the same.

    Args:
        model: as for :func:`partreid.evaluate`. folder: of a sequence, or one that holds sequences.
        gaps: numbers of frames (10), or seconds ("2s"). levels: borders between levels of visibility.
        every: queries are the boxes in frames 0, every, 2·every, ...
        mirror, overrides, calibration, adaptation, runtime: how to embed and compare, as for ``evaluate``.
        out: folder for the files of :meth:`ReassociationEvaluation.save`.
        on_error: called for each damaged frame and wrong box, which is left out. progress: of the embedding.

    Raises:
        DataError, ConfigError, ShapeError: as
            :func:`~partreid.evaluation.mot_sequences.reassociate_sequences` and ``load_for_comparison``.
        CheckpointError: the model is missing, incomplete or foreign.
    """
    borders = check_levels(levels)
    extractor, how = load_for_comparison(
        model, runtime=runtime, mirror=mirror, overrides=overrides, calibration=calibration, adaptation=adaptation
    )
    found = reassociate_sequences(
        extractor, folder, gaps=gaps, every=every, matching=how.matching, on_error=on_error, progress=progress
    )
    result = ReassociationEvaluation(model_name(model), Path(folder), how, found, borders, every)
    if out is not None:
        result.save(out)
    return result
