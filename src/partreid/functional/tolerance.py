"""Guarantees about a population from a sample, exact and for every distribution: order statistics (Wilks 1941).

Let t be the r-th largest of n independent draws. More than a share p of the population lies above t with the same
probability as at most r - 1 successes in n trials with probability p: the binomial of Clopper and Pearson (1934).
"""

from __future__ import annotations

import math

from partreid.errors import ConfigError
from partreid.types.numbers import require_whole

_HALVINGS = 60


def require_share(name: str, value: object) -> float:
    """A share strictly between 0 and 1, as a plain number.

    Raises:
        ConfigError: the value is not such a share.

    Example:
        >>> require_share("max_false", 0.01)
        0.01
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(f"{name} is a share between 0 and 1, such as 0.01, got {value!r:.80}.")
    return float(value)


def tolerance_rank(count: int, share: float, *, confidence: float) -> int:
    """The largest r for which at most ``share`` of the population lies above the r-th largest of ``count`` draws.

    Args:
        count: independent draws. share: of the population. confidence: that the promise holds.

    Returns:
        r from 1 on; 0 if even above the largest draw a larger share may lie: see :func:`draws_needed`.

    Raises:
        ConfigError: a share is not between 0 and 1. ShapeError: ``count`` is no whole number.

    Example:
        >>> [tolerance_rank(n, 0.01, confidence=0.95) for n in (298, 299, 473)]
        [0, 1, 2]
    """
    count, share = require_whole("count", count), require_share("share", share)
    risk = 1 - require_share("confidence", confidence)
    rank, below = 0, 0.0
    while rank < count:
        below += _chance(count, rank, share)
        if below > risk * (1 + 1e-12):
            break
        rank += 1
    return rank


def share_above(count: int, rank: int, *, confidence: float) -> float:
    """An upper bound on the share of the population above the ``rank``-th largest of ``count`` independent draws.

    Raises:
        ConfigError: ``confidence`` is not between 0 and 1. ShapeError: a number is invalid, or there is no such rank.

    Example:
        >>> round(share_above(50, 1, confidence=0.95), 4), round(share_above(299, 1, confidence=0.95), 4)
        (0.0582, 0.01)
    """
    count = require_whole("count", count, least=1)
    rank = require_whole("rank", rank, least=1, most=count)
    risk = 1 - require_share("confidence", confidence)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        more = math.fsum(_chance(count, k, middle) for k in range(rank)) > risk
        low, high = (middle, high) if more else (low, middle)
    return high


def draws_needed(share: float, *, confidence: float) -> int:
    """The number of independent draws that guarantees that at most ``share`` of the population lies above the largest.

    Raises:
        ConfigError: a share is not between 0 and 1.

    Example:
        >>> draws_needed(0.01, confidence=0.95)
        299
    """
    risk = 1 - require_share("confidence", confidence)
    return math.ceil(math.log(risk) / math.log1p(-require_share("share", share)) - 1e-9)


def share_below(count: int, found: int, *, confidence: float) -> float:
    """A lower bound on the share of the population above a threshold, if ``found`` of ``count`` independent draws are
    above it. It holds even if the threshold was chosen on the same draws (Dvoretzky, Kiefer and Wolfowitz 1956;
    constant of Massart 1990).

    Raises:
        ConfigError: ``confidence`` is not in 0.5..1. ShapeError: a number is invalid, or more were found than drawn.

    Example:
        >>> round(share_below(300, 240, confidence=0.975), 3)
        0.722
    """
    count = require_whole("count", count, least=1)
    found = require_whole("found", found, most=count)
    if require_share("confidence", confidence) < 0.5:
        raise ConfigError(f"confidence must be at least 0.5 for this bound, got {confidence}.")
    return max(0.0, found / count - math.sqrt(-math.log(1 - confidence) / (2 * count)))


def _chance(count: int, found: int, share: float) -> float:
    """The probability of exactly ``found`` among ``count``, each with probability ``share``."""
    if not 0 < share < 1:
        return float(found == (0 if share <= 0 else count))
    ways = math.lgamma(count + 1) - math.lgamma(found + 1) - math.lgamma(count - found + 1)
    return math.exp(ways + found * math.log(share) + (count - found) * math.log1p(-share))
