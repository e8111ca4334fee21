"""The configuration that a run was started with: ``train.toml`` in its checkpoint, with the user's own paths in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from partreid.base_config import read_config_file
from partreid.models.backbones.network_files import NetworkName
from partreid.models.carried import carried_network
from partreid.models.checkpoint import CONFIG_FILE, TRAIN_FILE
from partreid.training.train_config import TrainConfig


def load_train_config(checkpoint: Path) -> TrainConfig:
    """The configuration in a run's checkpoint. If the backbone's file is gone, it names the checkpoint's copy.

    Raises:
        ConfigError: there is none, or it does not fit this version. CheckpointError: the copy is incomplete, or is
            another file.
    """
    path = checkpoint / TRAIN_FILE
    data = read_config_file(path)
    named, carried = _network(data), None
    if named is not None and not named.path.exists():
        carried = carried_network(checkpoint / CONFIG_FILE)
    if carried is not None:
        data["model"]["backbone"] = carried[0]
    return TrainConfig.parse(data, source=str(path))


def to_keep(config: TrainConfig, checkpoint: Path) -> TrainConfig:
    """The configuration to write. If training used the checkpoint's copy of a file, it names the user's own path again.

    Args:
        config: of the training. checkpoint: the former checkpoint of its run; it may be missing.
    """
    named, former = NetworkName.of(config.model.backbone), checkpoint / TRAIN_FILE
    if named is None or not named.path.is_relative_to(checkpoint.absolute()) or not former.is_file():
        return config
    own = _network(read_config_file(former))
    if own is None:
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"backbone": own.at(own.path)})})


def _network(data: dict[str, Any]) -> NetworkName | None:
    """The network file that a configuration names."""
    model = data.get("model")
    name = model.get("backbone") if isinstance(model, dict) else None
    return NetworkName.of(name) if isinstance(name, str) else None
