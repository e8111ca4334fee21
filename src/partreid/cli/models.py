"""The model of a command: given before its other arguments or with ``--model``, else the shipped one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partreid.cli.console import errors
from partreid.errors import ConfigError
from partreid.models.shipped import SHIPPED, is_shipped, shipped_name

_WEIGHTS = frozenset((".onnx", ".xml", ".bin", ".safetensors", ".pth", ".pt", ".tar", ".ckpt"))


def before_files(words: Sequence[str], option: str, names: Sequence[str]) -> tuple[str, list[Path]]:
    """The model, and one file for each of ``names``: ``[MODEL] FIRST SECOND``. One more word means a model comes first.

    Args:
        words: as given. option: value of ``--model``, "" if it was not given. names: of the files, for the error.

    Raises:
        ConfigError: there are more or fewer words.
    """
    model, rest = option, list(words)
    if not option and len(words) == len(names) + 1:
        model, *rest = words
    if len(rest) != len(names) or (not model and is_model(rest[0])):
        raise ConfigError(f"Expected [MODEL] {' '.join(names)}, got {' '.join(words)}.")
    return chosen(model), [Path(word) for word in rest]


def before_images(words: Sequence[str], option: str) -> tuple[str, list[Path]]:
    """The model, and any number of images and folders of them: ``[MODEL] IMAGES...``.

    The first word is a model if it can be nothing else, or if there is no file or folder of that name.

    Raises:
        ConfigError: there are no images.
    """
    model, rest = option, list(words)
    if not option and (is_model(words[0]) or not _may_be_images(words[0])):
        model, *rest = words
    if not rest:
        raise ConfigError(f"Expected images after the model {model}.")
    return chosen(model), [Path(word) for word in rest]


def chosen(model: str) -> str:
    """The model that was given, or the shipped one, whose name is then printed."""
    if not model:
        errors.print(f"Model: {shipped_name()}, which comes with partreid. --model selects another.", style="dim")
    return model or SHIPPED


def beside(model: str, name: str) -> Path:
    """A file of that name in the checkpoint folder of a model of the user's own.

    Raises:
        ConfigError: the model is the package's or the Hub's. A file written there would be lost, or break the model.
        CheckpointError: there is no such model.
    """
    from partreid.models.checkpoint import find_checkpoint

    folder = find_checkpoint(model)
    if is_shipped(model) or not Path(model).exists():
        raise ConfigError(f"{model} is not a folder of your own, so {name} cannot be written there. Give -o FILE.")
    return folder / name


def is_model(word: str) -> bool:
    """Whether a word can mean nothing but a model: the shipped one, a file of weights, a folder of a run or of runs.

    A folder of runs counts too, because then the user forgot the run's name. Its figures are not images to embed.
    """
    from partreid.models.checkpoint import holds_models

    return is_shipped(word) or Path(word).suffix.lower() in _WEIGHTS or (Path(word).is_dir() and holds_models(word))


def _may_be_images(word: str) -> bool:
    """Whether a word that is no model may mean images: the file or folder exists, or the suffix is one of images."""
    from partreid.datasets.images import IMAGE_SUFFIXES

    return Path(word).exists() or Path(word).suffix.lower() in IMAGE_SUFFIXES
