"""A checkpoint is a folder: ``config.json``, ``model.safetensors``, ``metrics.json``. It rebuilds its model.

If the backbone was read from a network file, the checkpoint contains that file in the folder ``backbone``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_model

from partreid.errors import CheckpointError, ConfigError, WrongTypeError
from partreid.files import atomic_folder, nameable, recover_folder
from partreid.json_files import read_json
from partreid.models.backbones import Backbone, FineMap, build_backbone, preprocess_for
from partreid.models.backbones.network_files import as_network, is_network_file
from partreid.models.backbones.weights import check_shapes, load_exactly, plain_names, read_state_dict, tensor_shapes
from partreid.models.build import build_fitting, build_network
from partreid.models.carried import (
    FILES_ENTRY,
    FOLDER,
    check_same_file,
    check_whole,
    named_files,
    portable_config,
    resolved,
    write_network,
)
from partreid.models.hub import download
from partreid.models.model_config import ModelConfig
from partreid.models.network import ReIDNetwork
from partreid.models.shipped import shipped_folder
from partreid.objects import Guided, guided
from partreid.preprocessing import PreprocessConfig
from partreid.version import __version__

FORMAT, VERSION = "partreid-checkpoint", 1
CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE = _FILES = "config.json", "model.safetensors", "metrics.json"
TRAIN_FILE = "train.toml"
"""In a run, beside these files: how the model was trained."""
CHECKPOINT_FOLDER = "checkpoint"
"""Name of the checkpoint inside a run folder."""


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint(Guided):
    """A model with everything that is needed to use it.

    Attributes:
        model: in evaluation mode. preprocess: size and normalisation of its input. metrics: results at the time of
        writing.
    """

    model: ReIDNetwork
    preprocess: PreprocessConfig
    metrics: Mapping[str, Any] = field(default_factory=dict)


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the files into an existing (temporary) folder.

    Raises:
        CheckpointError: the weights cannot be written. OSError: another file cannot.
    """
    portable, files = portable_config(checkpoint.model), write_network(checkpoint.model, folder)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "partreid": __version__,
        "num_identities": checkpoint.model.num_identities,
        "part_names": list(checkpoint.model.config.part_names),
        "model": portable.model_dump(mode="json"),
        "preprocess": checkpoint.preprocess.model_dump(mode="json"),
        **({FILES_ENTRY: files} if files else {}),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / METRICS_FILE).write_text(json.dumps(dict(checkpoint.metrics), indent=2) + "\n", encoding="utf-8")
    try:
        save_model(checkpoint.model, str(folder / WEIGHTS_FILE))
    except SafetensorError as error:  # safetensors reports a full disk this way
        raise CheckpointError(f"Cannot write {folder / WEIGHTS_FILE}: {error}. Is the disk full?") from error


@guided
def save_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> Path:
    """Write a checkpoint folder, completely or not at all. An existing checkpoint is replaced.

    Raises:
        CheckpointError: the checkpoint cannot be written (full disk, read-only folder), and the former one is
            unchanged; or the folder contains something else, which would be lost.
    """
    if Path(folder).is_dir() and any(Path(folder).iterdir()) and not (Path(folder) / CONFIG_FILE).is_file():
        raise CheckpointError(f"{folder} holds something that is no checkpoint. Choose a new or empty folder.")
    with atomic_folder(folder, error=CheckpointError) as temporary:
        write_checkpoint(checkpoint, temporary)
    return Path(folder)


@guided
def load_checkpoint(source: str | Path, *, overrides: Sequence[str] | Mapping[str, object] = ()) -> Checkpoint:
    """Read a checkpoint folder, a run folder that holds one, or a Hugging Face Hub repository ``"hf:org/name"``.

    Args:
        source: its place; "shipped" is the model inside the package. Or the name of a network file as a backbone,
            ``"openvino/FILE.xml"``, which is used unchanged: its own embedding is the only slot, "global".
        overrides: new values for fields of the model that affect its forward pass but need no other weights:
            ``{"visibility": "continuous"}`` or ``["visibility=continuous"]``.

    Raises:
        ConfigError: an override is not a field, or its value does not fit.
        CheckpointError: the checkpoint is missing or incomplete, of another program or a newer format; or its weights
            do not fit (every wrong key is listed).
    """
    if is_network_file(source):
        return _network_as_it_is(str(source), overrides)
    folder = find_checkpoint(source)
    config = _read_json(folder / CONFIG_FILE)
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{folder / CONFIG_FILE} is not a partreid checkpoint (format {config.get('format')!r}).")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} has checkpoint version {config.get('version')!r}; this partreid {__version__} reads "
            f"version {VERSION}. Install the version that wrote it: {config.get('partreid')!r}."
        )
    try:
        model_config = ModelConfig.parse(config["model"], source="model")
        preprocess = PreprocessConfig.parse(config["preprocess"], source="preprocess")
        num_identities = config["num_identities"]
        if not isinstance(num_identities, int) or isinstance(num_identities, bool) or not 0 <= num_identities <= 10**9:
            raise ConfigError(f"num_identities: expected a number from 0 to {10**9}, got {num_identities!r}.")
    except KeyError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} lacks the entry {error}.") from None
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from None
    names = config.get("part_names")
    if names != list(model_config.part_names):
        raise CheckpointError(
            f"{folder / CONFIG_FILE}: the model's parts are {names}, and schema {model_config.parts!r} of this "
            f"partreid {__version__} has {list(model_config.part_names)}."
        )
    metrics, weights = read_metrics(folder), folder / WEIGHTS_FILE
    shapes = plain_names(tensor_shapes(weights), source=str(weights))
    files = named_files(config, source=str(folder / CONFIG_FILE))
    model_config = resolved(model_config, folder, files)
    model = build_fitting(_overridden(model_config, overrides), num_identities, shapes, source=str(weights))
    check_whole(model, files, source=str(folder / CONFIG_FILE))
    load_exactly(model, read_state_dict(weights), source=str(weights))
    return Checkpoint(model.eval(), preprocess, metrics)


def _network_as_it_is(name: str, overrides: Sequence[str] | Mapping[str, object]) -> Checkpoint:
    """A network file as a model: images are prepared as it needs them, and its own embedding is compared by cosine."""
    config = ModelConfig(backbone=name, attention="none", own_embedding=True, normalize_embeddings=True)
    config = _overridden(config, overrides)
    backbone = build_backbone(name)
    return Checkpoint(build_network(config, 0, backbone=backbone).eval(), preprocess_for(name))


def _overridden(config: ModelConfig, overrides: Sequence[str] | Mapping[str, object]) -> ModelConfig:
    """The configuration with overrides. Each must change the network's output and fit its weights."""
    if isinstance(overrides, Mapping):
        overrides = [f"{field}={json.dumps(value)}" for field, value in overrides.items()]
    overrides = [overrides] if isinstance(overrides, str) else overrides
    changed = config.override(overrides)
    for name in (assignment.partition("=")[0].strip() for assignment in overrides):
        if name in changed.idle_fields:
            raise ConfigError(
                f"model.{name} changes nothing in this model, whose attention is {changed.attention} and whose "
                f"visibility is {changed.visibility_rule}. Leave it out."
            )
    if changed.slots != config.slots:
        raise ConfigError(
            f"The weights are those of the slots {', '.join(config.slots)}; {', '.join(overrides)} would call them "
            f"{', '.join(changed.slots)}. Train with other parts instead."
        )
    return changed


def load_backbone(backbone: Backbone, source: str | Path) -> None:
    """Load the backbone weights of a trained model, for a training that starts from it.

    Args:
        backbone: filled in place; with or without a finer map, which has no weights.
        source: as in :func:`load_checkpoint`.

    Raises:
        CheckpointError: there is no checkpoint, or its backbone is another; every key that does not fit is listed.
    """
    path = find_checkpoint(source) / WEIGHTS_FILE
    check_same_file(backbone, path.with_name(CONFIG_FILE))
    prefix = "backbone."
    state = {k.removeprefix(prefix): v for k, v in read_state_dict(path).items() if k.startswith(prefix)}
    state = {k.removeprefix(prefix): v for k, v in state.items()}  # a FineMap's state has the backbone twice
    target = backbone.backbone if isinstance(backbone, FineMap) else backbone
    try:
        check_shapes(target.state_dict(), {key: value.shape for key, value in state.items()}, source=str(path))
    except CheckpointError as error:
        model = _read_json(path.with_name(CONFIG_FILE)).get("model")
        name = model.get("backbone") if isinstance(model, dict) else None
        raise CheckpointError(f"{error} The backbone of {source} is {name}: --set model.backbone={name}.") from None
    load_exactly(target, state, source=str(path))


def read_metrics(source: str | Path) -> dict[str, Any]:
    """The metrics of a checkpoint, without loading its model; empty if it has none.

    Raises:
        CheckpointError: there is no checkpoint, or its metrics cannot be read.
    """
    path = find_checkpoint(source) / METRICS_FILE
    return _read_json(path, nan=True) if path.exists() else {}


def find_checkpoint(source: str | Path) -> Path:
    """The checkpoint folder of a source.

    ``"shipped"`` and the name of the model inside the package mean this model; ``"./shipped"`` is a folder.
    ``"hf:org/name"`` is a repository of the Hugging Face Hub, and so is ``"org/name"`` if neither this path nor a
    folder ``org`` exists.

    Raises:
        CheckpointError: there is no checkpoint. WrongTypeError: the source is neither a text nor a path.
    """
    if not isinstance(source, str | os.PathLike):
        raise WrongTypeError(
            f'Expected a run or checkpoint folder, or a Hugging Face Hub repository "hf:org/name", got {source!r:.80} '
            f"of type {type(source).__name__}."
        )
    if is_network_file(source):
        raise CheckpointError(
            f"{source} is a network file, and a checkpoint folder is needed here. Make one of it: "
            f'PartExtractor.from_pretrained("{source}").save_pretrained(FOLDER).'
        )
    if isinstance(source, str) and (shipped := shipped_folder(source)) is not None:
        return shipped
    if isinstance(source, str) and (hub := _HUB.match(source)):
        if not _REPOSITORY.fullmatch(source[hub.end() :]):
            raise CheckpointError(f"Expected hf:org/name, got {source!r:.80}.")
        return _from_hub(source[hub.end() :])
    path = nameable(source, error=CheckpointError)
    for folder in (recover_folder(path / CHECKPOINT_FOLDER), recover_folder(path)):
        if (folder / CONFIG_FILE).is_file():
            return folder
    if path.is_file():
        raise CheckpointError(_no_folder(path))
    if path.exists():
        raise CheckpointError(
            f"{path} holds no checkpoint: expected the files {CONFIG_FILE} and {WEIGHTS_FILE} in it or in its "
            f"folder {CHECKPOINT_FOLDER!r}. {_held(path)}"
        )
    if isinstance(source, str) and _REPOSITORY.fullmatch(source) and not path.parent.exists():
        return _from_hub(source)
    shown = str(path) if str(path) == str(path).strip() else repr(str(path))
    raise CheckpointError(f"There is no checkpoint folder {shown}. {_nearest(path)}")


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
"""The Hub's form owner/name. Anything else is a path."""
_HUB = re.compile(r"hf:(//)?|https?://(huggingface\.co|hf\.co)/")


def _no_folder(path: Path) -> str:
    """Advice about a file that was given instead of a folder."""
    if path.name in (CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE) and (path.parent / CONFIG_FILE).is_file():
        return f"{path} is one file of a checkpoint. Give its folder: {path.parent}."
    if path.suffix in (".onnx", ".xml", ".bin"):
        return (
            f"{path} is an exported file, and the network itself is needed here. Give the run that it was exported "
            "from; embed, tracks, gallery and app take the .onnx or .xml file, as PartExtractor.from_pretrained does. "
            f"A network of another origin is taken as it is by {as_network(path)}."
        )
    return (
        f"{path} is a file, and a checkpoint is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}. A published BPBReID "
        "file becomes one with partreid import-official (partreid.load_official); weights of a backbone are given to a "
        "training: --set pretrained=FILE."
    )


def holds_models(folder: str | Path) -> bool:
    """Whether a folder is a checkpoint or run, or contains some, complete or not."""
    path = Path(folder)
    known = (recover_folder(path / CHECKPOINT_FOLDER), path / CONFIG_FILE, path / WEIGHTS_FILE)
    return any(one.exists() for one in known) or bool(_runs_in(path))


def _runs_in(folder: Path) -> list[str]:
    return [one.name for one in _folders(folder) if (one / CONFIG_FILE).is_file() or (one / CHECKPOINT_FOLDER).is_dir()]


def _held(folder: Path) -> str:
    """Advice about a folder without a checkpoint, by its content."""
    if runs := _runs_in(folder):
        return f"Runs in it: {', '.join(runs[:10])}. Give one of them."
    if (folder / WEIGHTS_FILE).is_file():
        return f"The weights are there, but not {CONFIG_FILE}, which says what network they belong to. Copy both."
    return "A published BPBReID file is read with partreid.load_official."


def _nearest(path: Path) -> str:
    """A sentence with the folder that a mistyped path may have meant."""
    known = path
    while not known.parent.exists():
        known = known.parent
    names = [folder.name for folder in _folders(known.parent)]
    close = get_close_matches(known.name.strip(), names, n=1)
    if close:
        return f"Did you mean {known.with_name(close[0]) / path.relative_to(known)}?"
    return f"{known.parent.absolute()} holds no folder of a like name."


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return []


def _from_hub(repository: str) -> Path:
    try:
        folder = download(repository, _FILES)
    except CheckpointError as error:
        raise CheckpointError(
            f"There is no folder {repository}, and {error} If a folder was meant: {_nearest(Path(repository))}"
        ) from None
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(f"The Hugging Face Hub's {repository} holds no partreid checkpoint: no {CONFIG_FILE}.")
    names = named_files(_read_json(folder / CONFIG_FILE), source=f"{repository}, {CONFIG_FILE}")
    # Downloaded together with the others, because later the repository may have changed.
    return download(repository, (*_FILES, *(f"{FOLDER}/{name}" for name in names))) if names else folder


def _read_json(path: Path, *, nan: bool = False) -> dict[str, Any]:
    try:
        data = read_json(path, error=CheckpointError, nan=nan)
    except CheckpointError as error:
        raise CheckpointError(f"{error} The checkpoint is incomplete.") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected an object, got {type(data).__name__}.")
    return data
