"""The trained model inside the package: ``"shipped"``, or its own name with a version, such as ``partreid-light-1``.

It is an ordinary checkpoint folder with a calibration and a card (README.md). The file is in half precision; loading
converts it to float32. ``models.json`` beside it contains its name, its files' checksums, and the fingerprint of every
name, also of former versions. ``python -m partreid.reports.shipped`` replaces it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from partreid.errors import CheckpointError, warn
from partreid.json_files import read_json
from partreid.version import __version__

SHIPPED = "shipped"
"""The name that always means the model of this version."""

FOLDER = Path(__file__).with_name("shipped_models")
INDEX_FILE = "models.json"


def shipped_name() -> str:
    """Name and version of the model that comes with this partreid.

    Raises:
        CheckpointError: the package is incomplete.
    """
    return str(read_index()["shipped"])


def is_shipped(source: object) -> bool:
    """Whether a text means the model inside the package. A path, such as ``./shipped``, means a folder."""
    if source == SHIPPED and isinstance(source, str):
        return True
    with suppress(CheckpointError):  # who needs the model reports it
        return isinstance(source, str) and source == shipped_name()
    return False


def shipped_folder(source: str) -> Path | None:
    """The checked checkpoint folder that a text means; None if no version of partreid came with a model of that name.

    Raises:
        CheckpointError: a file is missing or damaged; or the model came with another version of partreid.
    """
    if not is_shipped(source):
        known: dict[str, str] = {}
        with suppress(CheckpointError):
            known = read_index()["fingerprints"]
        if source in known and not Path(source).exists():
            raise CheckpointError(
                f"{source} came with another version of partreid; {shipped_name()} comes with this one "
                f"({__version__}). Install that version, or give the folder of a copy."
            )
        return None
    index = read_index()
    folder = FOLDER / str(index["shipped"])
    for name, expected in index["files"].items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise _broken(f"{folder / name} cannot be read: {error.strerror or error}") from None
        if found != expected:
            raise _broken(f"{folder / name} is damaged: its SHA-256 is {found[:16]}…, expected {expected[:16]}…")
    if any((Path(source) / inside).exists() for inside in ("config.json", "checkpoint")):
        warn(f"{source} is the model inside the package. The folder of that name is ./{source}.")
    return folder


def named_model(fingerprint: str) -> str:
    """A fingerprint. If partreid comes or came with this model, the model's name stands before it.

    Example:
        >>> named_model("0123456789abcdef")
        '0123456789abcdef'
    """
    with suppress(CheckpointError):
        for name, known in read_index()["fingerprints"].items():
            if known == fingerprint:
                return f"{name} ({fingerprint})"
    return fingerprint


def read_index() -> dict[str, Any]:
    """``{"shipped": name, "files": {file: sha256}, "fingerprints": {name: fingerprint}}``.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = FOLDER / INDEX_FILE
    try:
        index = read_json(path, error=CheckpointError)
    except CheckpointError as error:
        raise _broken(str(error).rstrip(".")) from None
    if not isinstance(index, dict) or not {"shipped", "files", "fingerprints"} <= index.keys():
        raise _broken(f"{path} lacks entries")
    return index


def _broken(problem: str) -> CheckpointError:
    return CheckpointError(f"The model inside the package cannot be used. {problem}. Install partreid again.")
