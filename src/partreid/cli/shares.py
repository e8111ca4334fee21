"""Shares on the command line: ``1%`` and ``0.01`` are the same."""

from __future__ import annotations

import typer


def share(text: str | float) -> float:
    """A share from 0 to 1; an option's default is a number already.

    Raises:
        BadParameter: the text is no share.

    Example:
        >>> share("1%"), share("0.5 %"), share("0.01")
        (0.01, 0.005, 0.01)
    """
    number, percent, rest = str(text).strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a share such as 1% or 0.01, got {text!r:.80}")
    return value
