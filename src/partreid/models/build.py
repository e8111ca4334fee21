"""From a configuration to its network."""

from __future__ import annotations

from numbers import Integral

from partreid.errors import ConfigError
from partreid.models.backbones import Backbone
from partreid.models.baselines import PCB, BoT
from partreid.models.bpbreid import BPBReID
from partreid.models.config import ModelConfig
from partreid.models.network import ReIDNetwork


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
