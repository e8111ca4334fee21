"""The guarantees of a model's calibration, and of its rule for answering "nobody", in words."""

from __future__ import annotations

from partreid.functional.tolerance import share_above
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.open_set import OPEN_SET_FILE, OpenSetRule


def calibration_words(calibration: MatchCalibration | None) -> str:
    """The basis of the calibration's probabilities."""
    if calibration is None:
        return "There is no calibration: a distance has no probability, and no threshold can be stated."
    return (
        f"Probabilities were fitted on {calibration.fitted_on or 'unknown data'}, where "
        f"{100 * calibration.prior:.2g} % of the pairs show one person. They hold for data like these; on other "
        "cameras they are wrong by an unknown amount."
    )


def rule_words(rule: OpenSetRule | None) -> str:
    """The best guarantee of the rule for answering "nobody"."""
    if rule is None:
        return "There is no rule to answer nobody: a search names the nearest item, also for a stranger."
    least = share_above(len(rule), 1, confidence=rule.confidence)
    return (
        f"The rule to answer nobody (`{OPEN_SET_FILE}`, `partreid gallery search --max-false`) rests on "
        f"{len(rule)} persons of {rule.fitted_on}: with {100 * rule.confidence:g} % confidence it can promise "
        f"{100 * least:.2g} % or more. On other cameras fit your own: `partreid calibrate --rule FILE`."
    )
