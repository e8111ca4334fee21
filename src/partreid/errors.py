"""What can go wrong. Every message says what was expected, what came, and what to do.

All kinds derive from :class:`PartReIDError`, so that one ``except`` catches every mistake a user can mend;
each also derives from the built-in error it resembles.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class PartReIDError(Exception):
    """Base of all errors that partreid raises for a user's mistake or a broken input."""


class ConfigError(PartReIDError, ValueError):
    """A configuration holds an unknown field or a value out of range."""


class ShapeError(PartReIDError, ValueError):
    """Tensors do not fit together, or a value in them is not allowed."""


class DataError(PartReIDError, ValueError):
    """A data set, an image or a table cannot be read or does not hold what it should."""


class LabelError(DataError):
    """A human parsing label is missing, has another size or does not fit the part schema."""


class CheckpointError(PartReIDError, ValueError):
    """A checkpoint is missing, incomplete, foreign, or does not fit the model."""


class TrainingError(PartReIDError, RuntimeError):
    """Training cannot go on (for example the loss is no longer a number)."""


class WrongTypeError(PartReIDError, TypeError):
    """An argument is of another type than was expected, is missing, or is none that there is."""


class WrongNameError(PartReIDError, AttributeError):
    """An object has no attribute of that name."""


class WrongImportError(PartReIDError, ImportError):
    """A package has nothing of that name to import."""


class ExportError(PartReIDError, RuntimeError):
    """A model cannot be exported, or the exported file computes something else than the model."""


class MissingDependencyError(PartReIDError, ImportError):
    """An optional library is not installed, or cannot be imported.

    Args:
        library: its name. purpose: what needs it.
        extra: the extra that installs it. advice: what to do instead, for a library that no extra can install.
        problem: why it cannot be used.
    """

    def __init__(
        self, library: str, *, purpose: str, extra: str = "", advice: str = "", problem: str = "is not installed"
    ) -> None:
        advice = advice or f'Install it with: pip install "partreid[{extra}]"'
        super().__init__(f"{purpose} needs {library}, which {problem}. {advice}")


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Around the import of an optional library: where it fails, one line says what to install.

    Args:
        extra: of partreid, which installs what is imported. purpose: what needs it; the sentence begins with it.

    Raises:
        MissingDependencyError: a library is not installed, or cannot be imported.

    Example:
        >>> with needs_extra("tables", "A Parquet file"):
        ...     import no_such_library
        Traceback (most recent call last):
        partreid.errors.MissingDependencyError: A Parquet file needs no_such_library, which is not installed. Install \
it with: pip install "partreid[tables]"
    """
    try:
        yield
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library == "partreid" or isinstance(error, MissingDependencyError):
            raise
        problem = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        raise MissingDependencyError(library or "a library", purpose=purpose, extra=extra, problem=problem) from None


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn users at their own line: the last one outside this package and the libraries that call it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("partreid.", "torch.", "contextlib")):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known word closest to ``name``, or lists all where none is close."""
    words = sorted(known)
    close = get_close_matches(name, words, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(words)}."
