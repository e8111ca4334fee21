"""Whatever a user calls a model, as an extractor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.runners.exported import SESSIONS
from partreid.runtime import RuntimeConfig


def is_exported(source: str | Path) -> bool:
    """Whether a path means an exported file.

    Example:
        >>> is_exported("model.onnx"), is_exported("runs/light")
        (True, False)
    """
    return Path(source).suffix in SESSIONS


def load_extractor(
    source: str | Path,
    *,
    runtime: RuntimeConfig | None = None,
    mirror: bool = False,
    overrides: Sequence[str] = (),
) -> PartExtractor:
    """The extractor of whatever a user calls a model: a run, a checkpoint, a Hub repository, or an exported file.

    Args:
        source: where it is. runtime, mirror, overrides: as in :meth:`PartExtractor.from_pretrained`.

    Raises:
        CheckpointError: it is missing, incomplete or foreign.
        ConfigError: an exported file cannot do what is asked for, or an override does not fit.
        MissingDependencyError: the library that runs such a file is not installed.
    """
    if not is_exported(source):
        return PartExtractor.from_pretrained(source, runtime=runtime, mirror=mirror, overrides=overrides)
    extractor = PartExtractor.from_exported(source, runtime=runtime)
    if overrides:
        raise ConfigError(f"{source} was exported with its visibility: it takes no overrides ({', '.join(overrides)}).")
    if mirror and not extractor.mirror:
        raise ConfigError(f"{source} was exported without mirror images. Export the run with --mirror.")
    return extractor
