"""Feature extractors: pictures [B, 3, H, W] → feature map [B, C, H/stride, W/stride]."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from partreid.errors import ConfigError, nearest
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.efficientnet_lite import efficientnet_lite0
from partreid.models.backbones.fine_map import FineMap
from partreid.models.backbones.resnet import resnet18, resnet50
from partreid.models.backbones.weights import load_backbone_weights

__all__ = ["BACKBONES", "Backbone", "FineMap", "build_backbone"]

BACKBONES: dict[str, Callable[[int], Backbone]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "efficientnet_lite0": efficientnet_lite0,
}
"""Every backbone by name: output stride → backbone with random weights."""

OUTPUT_STRIDES = (8, 16, 32)


def build_backbone(
    name: str, *, output_stride: int = 16, map_stride: int | None = None, weights: str | Path | None = None
) -> Backbone:
    """A backbone, with ImageNet weights or none.

    Args:
        name: a key of :data:`BACKBONES`.
        output_stride: picture pixels per cell of the backbone's output: 8, 16 or 32.
        map_stride: of a finer feature map, see :class:`FineMap`; None = none.
        weights: None = random; "imagenet" = those that come with a Python package (EfficientNet-Lite0 only);
            else a file of torchvision's ImageNet weights (``.pth``, ``.pt`` or ``.safetensors``).

    Raises:
        ConfigError: there is no such backbone or stride.
        CheckpointError: there are no such weights, or a key does not fit; every such key is listed.
    """
    if name not in BACKBONES:
        raise ConfigError(f"Unknown backbone {name!r}. {nearest(name, BACKBONES)}")
    if output_stride not in OUTPUT_STRIDES:
        raise ConfigError(f"Expected an output stride of {OUTPUT_STRIDES}, got {output_stride}.")
    backbone = BACKBONES[name](output_stride)
    if weights is not None:
        load_backbone_weights(backbone, name, weights)
    return backbone if map_stride is None else FineMap(backbone, map_stride)
