"""Layers of a trained model for another network: as the start of a training, or for an average of models."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from partreid.errors import CheckpointError
from partreid.json_files import read_json
from partreid.models.backbones import Backbone, FineMap
from partreid.models.backbones.weights import load_exactly, read_state_dict
from partreid.models.build import build_network
from partreid.models.carried import check_same_file
from partreid.models.checkpoint import CONFIG_FILE, WEIGHTS_FILE, Checkpoint, find_checkpoint
from partreid.models.network import ReIDNetwork


def load_backbone(backbone: Backbone, source: str | Path) -> None:
    """Load the backbone weights of a trained model, for a training that starts from it.

    Args:
        backbone: filled in place; with or without a finer map, which has no weights.
        source: as in :func:`~partreid.models.checkpoint.load_checkpoint`.

    Raises:
        CheckpointError: there is no checkpoint, or its backbone is another; every key that does not fit is listed.
    """
    path = find_checkpoint(source) / WEIGHTS_FILE
    check_same_file(backbone, path.with_name(CONFIG_FILE))
    prefix = "backbone."
    state = {k.removeprefix(prefix): v for k, v in read_state_dict(path).items() if k.startswith(prefix)}
    state = {k.removeprefix(prefix): v for k, v in state.items()}  # a FineMap's state has the backbone twice
    load_exactly(backbone.backbone if isinstance(backbone, FineMap) else backbone, state, source=str(path))


def load_embedding_layers(network: ReIDNetwork, source: str | Path) -> None:
    """Load everything of a trained model but its identity classifiers, for a training that starts from it.

    Args:
        network: filled in place; it may know any number of identities.
        source: as in :func:`~partreid.models.checkpoint.load_checkpoint`.

    Raises:
        CheckpointError: there is no checkpoint, its parts or its backbone are others, or its layers do not fit; every
            key that does not fit is listed.
    """
    folder = find_checkpoint(source)
    check_same_file(network.backbone, folder / CONFIG_FILE)
    theirs = read_json(folder / CONFIG_FILE, error=CheckpointError).get("part_names")
    if theirs != (ours := list(network.config.part_names)):
        raise CheckpointError(
            f"{source} finds the parts {theirs}, and this model {ours}. Train with its model.parts, or take only its "
            "backbone: pretrained_layers=backbone."
        )
    identities = identity_classifiers(network)
    state = {key: value for key, value in read_state_dict(folder / WEIGHTS_FILE).items() if key not in identities}
    state |= {key: value for key, value in network.state_dict().items() if key in identities}
    load_exactly(network, state, source=str(folder / WEIGHTS_FILE))


def without_identities(checkpoint: Checkpoint) -> Checkpoint:
    """The same model without its identity classifiers, which only training uses. Its weights are copies."""
    model = checkpoint.model
    smaller = build_network(model.config, 0, backbone=model.backbone)
    identities = identity_classifiers(model)
    smaller.load_state_dict(
        {key: value[:0] if key in identities else value for key, value in model.state_dict().items()}
    )
    return Checkpoint(smaller.eval(), checkpoint.preprocess)


def identity_classifiers(network: ReIDNetwork) -> frozenset[str]:
    """Names of the tensors that have a row for each training identity."""
    with torch.device("meta"):  # shapes without numbers
        nobody: dict[str, Tensor] = build_network(network.config, 0, backbone=network.backbone).state_dict()
    return frozenset(key for key, tensor in nobody.items() if tensor.numel() == 0)
