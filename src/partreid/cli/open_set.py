"""Options of commands that may answer "nobody", and the rule that these options select."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from partreid.cli.console import say_warning
from partreid.cli.shares import share
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid import MatchCalibration
    from partreid.retrieval import OpenSetRule
    from partreid.types import OpenSetDecision


MaxFalse = Annotated[
    float | None,
    typer.Option(
        "--max-false",
        metavar="SHARE",
        parser=share,
        help='Answer "nobody" if needed: if the person is not there, name somebody in at most this share of searches, '
        "e.g. 1%. Needs a rule (`partreid calibrate --rule`).",
    ),
]
Confidence = Annotated[
    float,
    typer.Option(
        metavar="SHARE", parser=share, help="With --max-false: the confidence that this limit holds, at least 50%."
    ),
]
RuleFile = Annotated[
    str | None,
    typer.Option(
        "--rule",
        metavar="auto|FILE",
        help="The rule for --max-false: a file that `partreid calibrate --rule` wrote, or auto for the one beside the "
        "model.",
    ),
]


def asked_rule(
    rule: str | None,
    model: str,
    calibration: MatchCalibration | None,
    *,
    max_false: float | None,
    confidence: float,
    prior: float | None = None,
) -> OpenSetRule | None:
    """The rule that the options ask for; None without ``--max-false``.

    Raises:
        ConfigError: a rule is given without ``--max-false``, the rule cannot promise that share, or there is no
            calibration.
        DataError: there is no rule, or it belongs to another model.
    """
    from partreid.retrieval.how_compared import run_of
    from partreid.retrieval.open_set import OpenSetRule

    if max_false is None:
        if rule is not None:
            raise ConfigError("--rule needs --max-false: the share of searches that may name a stranger, e.g. 1%.")
        return None
    if calibration is None:
        raise ConfigError(
            "--max-false needs the model's calibration, which turns distances into probabilities: `partreid calibrate`."
        )
    found = OpenSetRule.load(run_of(model) if rule in (None, "auto") else rule, calibration=calibration)
    return found.at(max_false=max_false, confidence=confidence, prior=prior)


def page_rule(rule: str | None, model: str, calibration: MatchCalibration) -> OpenSetRule | None:
    """The rule that the page may use: that of the option, or the one beside the model if there is one.

    Raises:
        DataError: as :func:`asked_rule`.
    """
    from partreid.models.checkpoint import find_checkpoint
    from partreid.retrieval.how_compared import run_of
    from partreid.retrieval.open_set import OPEN_SET_FILE, OpenSetRule

    place = run_of(model)
    if rule is None and not (find_checkpoint(place) / OPEN_SET_FILE).is_file():
        return None
    return OpenSetRule.load(place if rule in (None, "auto") else rule, calibration=calibration)


def warn_of(decision: OpenSetDecision) -> None:
    """Warn if the images do not look like those that the rule was fitted on."""
    if not decision.fits:
        say_warning("The images do not look like those that the rule was fitted on, so its figures do not hold here.")
