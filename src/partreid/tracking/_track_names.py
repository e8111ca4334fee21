"""Which track a value names: one rule for tables of boxes and for functions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable
from decimal import Decimal, InvalidOperation
from numbers import Integral, Real

from partreid.types._id_values import UNKNOWN_TEXT, is_unknown

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NO_TRACK = UNKNOWN_TEXT | frozenset(("untracked", "inf", "+inf", "-inf", "infinity"))
_LONGEST = 60
"""Digits of a number that is written out."""


def track_key(track: object) -> Hashable | None:
    """What all values have in common that name one track; None where a value says that there is no track.

    A number is one track however it is written: 1, 1.0, ``np.int64(1)``, "1" and "1.0". Any other text is itself,
    without the space around it; a tuple is that of its members; any other object is itself. No track are -1, which
    trackers write for a detection that is not confirmed, NaN, None, pandas' NA and NaT, a masked value, and the texts
    "", "-", "nan", "None", "null", "NA", "unknown" and their like, in capitals or not. A tuple with such a member is
    none either.

    Example:
        >>> track_key(7.0), track_key("7"), track_key("ann"), track_key(("hall", 7)), track_key(-1), track_key("nan")
        ('7', '7', 'ann', ('hall', '7'), None, None)
    """
    if isinstance(track, tuple):
        keys = tuple(track_key(member) for member in track)
        return None if None in keys else keys
    if is_unknown(track):  # before its value is asked for: what is behind a mask is none
        return None
    if getattr(track, "ndim", None) == 0 and callable(item := getattr(track, "item", None)):
        track = item()  # of NumPy or PyTorch: a tensor is equal to itself alone
    if isinstance(track, bytes):
        track = track.decode("utf-8", errors="surrogateescape")
    if isinstance(track, bool):
        return str(track)
    if isinstance(track, str):
        text = track.strip()
        if text.casefold() in _NO_TRACK:
            return None
        if not _NUMBER.fullmatch(text):
            return unicodedata.normalize("NFC", text)  # é is one letter, or e and an accent
        try:
            return _of_number(Decimal(text))
        except InvalidOperation:  # an exponent beyond all bounds
            return text
    if isinstance(track, Integral):
        return _of_number(Decimal(int(track)))
    if isinstance(track, Decimal):
        return _of_number(track)
    if isinstance(track, Real):
        return _of_number(Decimal(repr(float(track))))
    if not isinstance(track, Hashable):
        raise TypeError(f"A track is a number, a text or a tuple of them, got {track!r:.80}.")
    return track


def _of_number(number: Decimal) -> str | None:
    if not number.is_finite() or number == -1:
        return None
    if number == 0:
        return "0"
    if not -_LONGEST < number.adjusted() < _LONGEST:
        return str(number)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
