"""The weights of slots in Eq. 9 in addition to visibility: a number for each named slot, and 1 for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from partreid.errors import ShapeError, WrongTypeError, nearest

_LEAST, _MOST = 1e-4, 1e4  # so that no product of weights and visibilities of 0 and 1 loses digits


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")
    return value


def _in_range(weight: float) -> float:
    if weight == 0:
        raise ValueError("a slot that is not to be compared is left out of matching.slots; a weight is above 0")
    if not _LEAST <= weight <= _MOST:
        raise ValueError(f"expected a weight in {_LEAST:g}..{_MOST:g}")
    return weight


SlotWeights = dict[str, Annotated[float, BeforeValidator(_no_truth), AfterValidator(_in_range)]]
"""Weights by the names of slots, as fields of configurations hold them."""


def checked_weights(weights: Mapping[str, float], slots: Sequence[str]) -> dict[str, float]:
    """Weights of some of these slots.

    Raises:
        ShapeError: there is no such slot, or a weight is not in 0.0001..10000. WrongTypeError: it is not a mapping.
    """
    if not isinstance(weights, Mapping):
        raise WrongTypeError(f'Expected weights by slot, such as {{"head": 2.0}}, got {weights!r:.80}.')
    for slot, weight in weights.items():
        if slot not in slots:
            raise ShapeError(f"No slot {slot!r} for a weight. {nearest(str(slot), slots)}")
        try:
            _in_range(float(_no_truth(weight)))
        except (TypeError, ValueError) as error:
            raise ShapeError(f"The weight of {slot!r} is {weight!r:.80}: {error}.") from None
    return {slot: float(weight) for slot, weight in weights.items()}


def shares(weights: Mapping[str, float], slots: Sequence[str]) -> list[float]:
    """[S] weights in (0, 1]: each divided by the largest, which changes no weighted mean. Errors as in
    :func:`checked_weights`.

    Example:
        >>> shares({"global": 4}, ["global", "head"]), shares({}, ["global", "head"])
        ([1.0, 0.25], [1.0, 1.0])
    """
    known = checked_weights(weights, slots)
    every = [known.get(slot, 1.0) for slot in slots]
    return [weight / max(every) for weight in every]
