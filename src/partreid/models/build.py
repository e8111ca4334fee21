"""From a configuration to its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import torch

from partreid.errors import CheckpointError, ConfigError
from partreid.models.backbones import Backbone, build_backbone
from partreid.models.backbones.weights import check_shapes
from partreid.models.bpbreid import PCB, BoT, BPBReID
from partreid.models.model_config import ModelConfig
from partreid.models.network import ReIDNetwork
from partreid.objects import guided


@guided
def build_network(config: ModelConfig, num_identities: int, *, backbone: Backbone | None = None) -> ReIDNetwork:
    """A new network of the kind that ``config.attention`` names, with random weights.

    Args:
        config: architecture and numerics. num_identities: training identities.
        backbone: one that is already built, for example with pretrained weights.

    Raises:
        ConfigError: the number of identities is negative, or no whole number.

    Example:
        >>> type(build_network(ModelConfig(backbone="resnet18", attention="stripes"), 10)).__name__
        'PCB'
    """
    if isinstance(num_identities, bool) or not isinstance(num_identities, Integral):
        raise ConfigError(f"num_identities is a whole number, got {num_identities!r:.80}.")
    if config.attention == "stripes":
        return PCB(config, num_identities, backbone=backbone)
    if config.attention == "none":
        return BoT(config, num_identities, backbone=backbone)
    return BPBReID(config, num_identities, backbone=backbone)


def build_fitting(
    config: ModelConfig, num_identities: int, shapes: Mapping[str, Sequence[int]], *, source: str
) -> ReIDNetwork:
    """A network for tensors of these shapes. Memory is only taken after the shapes fit, so a file's claims cost none.

    Raises:
        CheckpointError: the shapes are not the network's; every key that does not fit is listed.
    """
    # Backbones have known sizes. The layers after them are as large as the configuration says.
    backbone = build_backbone(config.backbone, output_stride=config.output_stride, map_stride=config.map_stride)
    try:
        with torch.device("meta"):  # shapes without numbers
            outline = build_network(config, num_identities, backbone=backbone)
    except (RuntimeError, TypeError, OverflowError) as error:  # too many elements to count
        raise CheckpointError(f"{source} does not fit the model, whose sizes are absurd: {error}") from None
    check_shapes(outline.state_dict(), shapes, source=source)
    return build_network(config, num_identities, backbone=backbone)
