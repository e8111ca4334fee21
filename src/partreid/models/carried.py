"""The network file of a model, in its checkpoint: ``backbone/NAME.xml``, named in ``config.json`` with its SHA-256.

So a checkpoint is complete, even if it is moved, and its backbone is the one that was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from partreid.errors import CheckpointError, ConfigError
from partreid.json_files import read_json
from partreid.models.backbones import FineMap, network_outline
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.graph import FileBackbone
from partreid.models.backbones.network_files import PLAIN_NAME, NetworkName, lies_in
from partreid.models.model_config import ModelConfig
from partreid.models.network import ReIDNetwork

FOLDER = "backbone"
"""Folder of the network's files in a checkpoint."""
FILES_ENTRY = "backbone_files"
"""Entry of ``config.json``: SHA-256 of each file by its name; the graph's file comes first."""


def file_backbone(backbone: Backbone) -> FileBackbone | None:
    """The backbone that was read from a file, also inside a finer map; None for any other backbone."""
    inner = backbone.backbone if isinstance(backbone, FineMap) else backbone
    return inner if isinstance(inner, FileBackbone) else None


def portable_config(model: ReIDNetwork) -> ModelConfig:
    """A model's configuration for its checkpoint. A network file has the name of its copy in the checkpoint.

    Raises:
        CheckpointError: the file's bytes are not available.
    """
    named, backbone = NetworkName.of(model.config.backbone), file_backbone(model.backbone)
    if named is None and backbone is None:
        return model.config
    if named is None or backbone is None or backbone.files is None:
        raise CheckpointError(
            f"The backbone of this model is not known by the bytes of its file, and the model is called "
            f"{model.config.backbone!r}: a checkpoint could not rebuild it. Build it by its name: "
            'build_backbone("openvino/FILE.xml").'
        )
    name = named.at(Path(FOLDER, backbone.files.main))
    return model.config.model_copy(update={"backbone": name})


def write_network(model: ReIDNetwork, folder: Path) -> dict[str, str]:
    """Write the files of a model's backbone into a checkpoint. Returns their digests by name; empty without files."""
    backbone = file_backbone(model.backbone)
    if backbone is None or backbone.files is None:
        return {}
    backbone.files.write(folder / FOLDER)
    return dict(backbone.files.digests)


def named_files(config: Mapping[str, Any], *, source: str) -> dict[str, str]:
    """Digests by name of the network's files that a checkpoint's ``config.json`` names; each name is a plain one.

    Raises:
        CheckpointError: an entry is something else.
    """
    found = config.get(FILES_ENTRY, {})
    if not isinstance(found, dict) or not all(isinstance(digest, str) for digest in found.values()):
        raise CheckpointError(f"{source}: expected {FILES_ENTRY} as names with SHA-256, got {found!r:.80}.")
    for name in found:
        if not PLAIN_NAME.fullmatch(name):
            raise CheckpointError(f"{source}: {name!r:.80} is no plain name of a file in the folder {FOLDER!r}.")
    return found


def resolved(config: ModelConfig, folder: Path, digests: Mapping[str, str]) -> ModelConfig:
    """A checkpoint's configuration with the present path of its network file.

    Args:
        config: from ``config.json``. folder: of the checkpoint. digests: from :func:`named_files`.

    Raises:
        CheckpointError: the file is not in the checkpoint, or differs from the one that the model was saved with.
    """
    named = NetworkName.of(config.backbone)
    if named is None:
        return config
    place = PurePosixPath(named.path.as_posix())
    if len(place.parts) != 2 or place.parts[0] != FOLDER or place.name not in digests:
        raise CheckpointError(
            f"{folder} names the network file {str(named.path)!r:.200}, and a checkpoint may name one in its folder "
            f"{FOLDER!r} only, with its SHA-256 in {FILES_ENTRY}. Take the whole checkpoint from where it was written."
        )
    for name, digest in digests.items():
        path = folder / FOLDER / name
        if not lies_in(path, folder):
            raise CheckpointError(f"{path} is a link that leads out of the checkpoint. Copy the file itself.")
        if not path.is_file():
            raise CheckpointError(f"There is no {path}: the checkpoint is incomplete. Copy its whole folder.")
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
        if found != digest:
            raise CheckpointError(
                f"{path} is not the file that this model was saved with (SHA-256 {found[:12]}…, expected "
                f"{digest[:12]}…): damage, or another network. Copy the whole checkpoint once more."
            )
    path = (folder / FOLDER / place.name).absolute()
    return config.model_copy(update={"backbone": named.at(path)})


def check_whole(model: ReIDNetwork, digests: Mapping[str, str], *, source: str) -> None:
    """Check that the checkpoint has a digest of every file from which a loaded backbone was read.

    Raises:
        CheckpointError: a digest is missing.
    """
    backbone = file_backbone(model.backbone)
    if backbone is not None and backbone.files is not None and dict(backbone.files.digests) != dict(digests):
        more = sorted(set(backbone.files.digests) ^ set(digests))
        raise CheckpointError(f"{source}: {FILES_ENTRY} and the files of the network differ: {', '.join(more)}.")


def same_network(name: str, digests: Mapping[str, str]) -> bool:
    """Whether a named network file is, byte for byte, the one in a checkpoint."""
    outline = network_outline(name)
    return outline is not None and [*outline.digests.values()] == [*digests.values()]


def carried_network(config_file: Path) -> tuple[str, dict[str, str]] | None:
    """The network file in a checkpoint: the backbone's name there, and its files' digests; None without a file.

    Args:
        config_file: ``config.json`` of the checkpoint.

    Raises:
        CheckpointError: the file is missing, or is another one.
    """
    config = read_json(config_file, error=CheckpointError)
    files = named_files(config, source=str(config_file)) if isinstance(config, dict) else {}
    if not files:
        return None
    try:
        model = ModelConfig.parse(config["model"], source="model")
    except (KeyError, ConfigError) as error:
        raise CheckpointError(f"{config_file}: {error}") from None
    return resolved(model, config_file.parent, files).backbone, files


def check_same_file(backbone: Backbone, config_file: Path) -> None:
    """Check that weights of one network file are not loaded into another, which may have the same names and sizes.

    Args:
        backbone: that gets the weights. config_file: ``config.json`` of the checkpoint that they come from.

    Raises:
        CheckpointError: the files differ.
    """
    mine, theirs = file_backbone(backbone), carried_network(config_file)
    if mine is None or mine.files is None or theirs is None:
        return  # names and sizes of the weights tell whether they fit
    name, digests = theirs
    if [*mine.files.digests.values()] != [*digests.values()]:
        raise CheckpointError(
            f"The backbone of {config_file.parent} was read from another file than {mine.source}. Take the one that "
            f"lies there: model.backbone={name}"
        )
