"""The visibility of parts, computed from attention maps (Eq. 4), and its weight in a comparison (Eq. 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from partreid.errors import ShapeError
from partreid.functional._checks import require_attention, require_float, require_fraction
from partreid.lazy import is_tensor, torch
from partreid.registry import Registry
from partreid.types.numbers import require_whole
from partreid.types.slot_weights import shares

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_THRESHOLD = 0.4
"""λ_v of Eq. 4."""

VisibilityRule: TypeAlias = "Callable[[Tensor], Tensor]"
"""f of :func:`slot_weights`: visibilities [N, S] → weights [N, S] in [0, 1]. A weight only depends on its own slot."""

VISIBILITY_RULES: Registry[VisibilityRule] = Registry(
    "visibility rule",
    group="partreid.visibility_rules",
    own={
        "product": lambda visibility: visibility,
        "geometric": lambda visibility: visibility.sqrt(),
        "ignore": lambda visibility: torch.ones_like(visibility),
    },
)
"""Rules by name for the weight of a slot: "product" v_q·v_g (Eq. 9), "geometric" sqrt(v_q·v_g) (the published code with
continuous visibilities), "ignore" 1, and your own rules (docs/extending.md)."""


def threshold_visibility(attention: Tensor, *, threshold: float = DEFAULT_THRESHOLD) -> Tensor:
    """Eq. 4: part i is visible if the maximum of M_i exceeds ``threshold``.

    Args:
        attention: [B, K+1, H, W], channel 0 = background.
        threshold: λ_v, in [0, 1].

    Returns:
        [B, K], 0 or 1, in the attention's floating type.

    Raises:
        ShapeError: the attention has another shape or type, or λ_v lies outside [0, 1].

    Example:
        >>> threshold_visibility(torch.tensor([0.1, 0.7, 0.2]).view(1, 3, 1, 1))
        tensor([[1., 0.]])
    """
    require_fraction("threshold", threshold)
    return (require_attention(attention)[:, 1:].amax(dim=(2, 3)) > threshold).to(attention.dtype)


def argmax_visibility(attention: Tensor) -> Tensor:
    """The published weights' rule: part i is visible if it wins the argmax over all K+1 classes at some pixel.

    Shapes as in :func:`threshold_visibility`; a tie goes to the lowest class.
    """
    attention = require_attention(attention)
    classes = torch.arange(attention.shape[1], device=attention.device).view(1, -1, 1)
    winners = attention.argmax(dim=1).flatten(1).unsqueeze(1)
    return (winners == classes).any(dim=2)[:, 1:].to(attention.dtype)


def continuous_visibility(attention: Tensor) -> Tensor:
    """The maximum of M_i itself, in [0, 1]: Eq. 4 without its threshold, which matching may still apply.

    Shapes as in :func:`threshold_visibility`.
    """
    return require_attention(attention)[:, 1:].amax(dim=(2, 3))


def slot_weights(visibility: Tensor, rule: str) -> Tensor:
    """f(v) of a visibility rule: a slot weighs f(v_q)·f(v_g) in Eq. 9.

    The weight is a product of one factor for each side, because then one matrix product gives the weights of all pairs.

    Args:
        visibility: [N, S] in [0, 1]. rule: one of :data:`VISIBILITY_RULES`.

    Returns:
        [N, S] in [0, 1], in the visibility's floating type.

    Raises:
        ConfigError: there is no such rule.
        ShapeError: the rule gives anything else, or mixes slots.

    Example:
        >>> slot_weights(torch.tensor([[0.25, 1.0]]), "geometric")
        tensor([[0.5000, 1.0000]])
    """
    require_float(visibility, "visibility [N, S]")
    function = VISIBILITY_RULES[rule]
    weights = function(visibility)
    if rule in VISIBILITY_RULES.own:
        return weights
    said = f"The visibility rule {rule!r} must give a weight in [0, 1] for each visibility [N, S]"
    if not is_tensor(weights) or weights.shape != visibility.shape:
        got = tuple(weights.shape) if is_tensor(weights) else type(weights).__name__
        raise ShapeError(f"{said}, got {got} for {tuple(visibility.shape)}.")
    if not ((weights >= 0) & (weights <= 1)).all():
        raise ShapeError(f"{said}, got {weights.min():g}..{weights.max():g}.")
    if (weights != function(torch.zeros_like(visibility)))[visibility == 0].any():
        raise ShapeError(f"{said} from that visibility alone: a slot that is not visible weighs more beside others.")
    return weights.to(visibility.dtype)


def query_weights(visibility: Tensor, rule: str, slots: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """The query's factor of each slot's weight: w·f(v), where w is the slot's own weight divided by the largest one.

    Weights of slots enter a comparison only here. A slot then weighs w·f(v_q)·f(v_g). The query's factor includes w,
    and the gallery's factor is the same as without weights.

    Args:
        visibility, rule: as in :func:`slot_weights`. slots: S names. weights: by name; 1 where a slot is not named.

    Returns:
        [N, S] in [0, 1], in the visibility's floating type.

    Raises:
        ShapeError: a weight is for an unknown slot, or not in 0.0001..10000; or as :func:`slot_weights`.

    Example:
        >>> query_weights(torch.tensor([[0.5, 1.0]]), "product", ("global", "head"), {"global": 4})
        tensor([[0.5000, 0.2500]])
    """
    factors = slot_weights(visibility, rule)
    by_slot = shares(weights, slots)
    return factors * factors.new_tensor(by_slot) if min(by_slot, default=1) < 1 else factors


def weighs_unseen(rule: str, slots: int) -> bool:
    """Whether a visibility rule compares slots of visibility 0 (for this number of slots), as "ignore" does. Errors as
    in :func:`slot_weights`.

    Example:
        >>> weighs_unseen("product", 9), weighs_unseen("ignore", 9)
        (False, True)
    """
    return bool(slot_weights(torch.zeros(1, require_whole("slots", slots, least=1)), rule).any())
