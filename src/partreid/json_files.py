"""Reading JSON that somebody else may have written: what is wrong is an error of ours, and costs little."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from partreid.errors import PartReIDError
from partreid.files import nameable

_LARGEST_JSON = 64 * 2**20
_LONGEST_NUMBER = 40  # digits; more than any computer word, and few enough to become a float


def read_json(path: str | Path, *, error: type[PartReIDError] = PartReIDError, nan: bool = False) -> Any:
    """What a JSON file holds.

    Args:
        path: the file. error: raised where it cannot be read, is too large, or is no plain JSON (:func:`parse_json`).
        nan: let NaN and infinity through, where they do no harm: Python writes them.
    """
    path = nameable(path, error=error)
    try:
        if not path.is_file() and path.exists():  # a pipe would be waited for
            raise error(f"{path} cannot be read: it is no file.")
        if (size := path.stat().st_size) > _LARGEST_JSON:
            raise error(f"{path} cannot be read: {size} bytes are more than such a file has (at most {_LARGEST_JSON}).")
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}.") from None
    return parse_json(content, source=str(path), error=error, nan=nan)


def parse_json(text: str | bytes, *, source: str, error: type[PartReIDError] = PartReIDError, nan: bool = False) -> Any:
    """What JSON text holds, of numbers that are numbers: NaN, infinity and hundreds of digits are refused.

    Args:
        text: the JSON, as bytes in UTF-8. source: where it comes from, for the message.
        error: raised for anything else, for text nested too deeply too. nan: as in :func:`read_json`.

    Example:
        >>> parse_json('{"a": [1, 2.5]}', source="the answer")
        {'a': [1, 2.5]}
    """
    try:
        content = text if isinstance(text, str) else text.decode("utf-8-sig")
        constant = float if nan else _no_number
        return json.loads(content, parse_constant=constant, parse_int=_integer, parse_float=_finite)
    except RecursionError:
        raise error(f"{source} cannot be read: it is nested too deeply.") from None
    except ValueError as problem:  # also of what is not UTF-8
        raise error(f"{source} cannot be read: {problem}.") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if len(text) > 1000 or not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text:.20} is too large")
    return number
