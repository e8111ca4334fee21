"""Feature extractors: images [B, 3, H, W] → feature map [B, C, H/stride, W/stride]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from partreid.errors import ConfigError, nearest
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.efficientnet_lite import efficientnet_lite0
from partreid.models.backbones.fine_map import FineMap
from partreid.models.backbones.hrnet import hrnet_w32
from partreid.models.backbones.resnet import resnet18, resnet50, resnet50_ibn_a
from partreid.models.backbones.timm_seam import TIMM_PREFIX, TimmBackbone
from partreid.models.backbones.weights import load_backbone_weights

__all__ = [
    "BACKBONES",
    "Backbone",
    "FineMap",
    "MapGeometry",
    "build_backbone",
    "check_backbone_name",
    "gains_from_bfloat16",
    "map_geometry",
]


@dataclass(frozen=True)
class BackboneEntry:
    """How a backbone is built.

    Attributes:
        build: output stride → backbone with random weights.
        strides: output strides it can have; the first is what ReID uses.
        multiple: height and width of images must be multiples of it; None = of the output stride.
        bfloat16_on_cpu: whether a CPU with matrix units for bfloat16 (AMX) trains it faster so than in float32.
    """

    build: Callable[[int], Backbone]
    strides: tuple[int, ...] = (16, 8, 32)
    multiple: int | None = None
    bfloat16_on_cpu: bool = True

    def stride(self, name: str, wanted: int | None) -> int:
        """The output stride: the wanted one, or the first.

        Raises:
            ConfigError: it cannot have the wanted one.
        """
        if wanted not in (None, *self.strides):
            offered = " or ".join(map(str, sorted(self.strides)))
            raise ConfigError(f"{name} can have the output stride {offered}, got {wanted}; null takes its own.")
        return wanted or self.strides[0]


BACKBONES: dict[str, BackboneEntry] = {
    "resnet18": BackboneEntry(resnet18),
    "resnet50": BackboneEntry(resnet50),
    "resnet50_ibn_a": BackboneEntry(resnet50_ibn_a),
    "hrnet_w32": BackboneEntry(lambda _: hrnet_w32(), strides=(4,), multiple=32),
    # Its depthwise convolutions use no matrix units: measured slower in bfloat16 (docs/performance.md).
    "efficientnet_lite0": BackboneEntry(efficientnet_lite0, bfloat16_on_cpu=False),
}
"""Every own backbone by name; beside them any ``timm/<model name>``."""


@dataclass(frozen=True)
class MapGeometry:
    """What a backbone makes of an image's size.

    Attributes:
        stride: image pixels per cell of its output. multiple: height and width of images must be multiples of it.
    """

    stride: int
    multiple: int


def check_backbone_name(name: str) -> str:
    """``name`` if it is one of :data:`BACKBONES` or begins with ``timm/``.

    Raises:
        ConfigError: it is not; the message names the nearest one.
    """
    if name not in BACKBONES and not name.startswith(TIMM_PREFIX):
        raise ConfigError(f"Unknown backbone {name!r}. {nearest(name, BACKBONES)} Or timm/<model name> with timm.")
    return name


def build_backbone(
    name: str, *, output_stride: int | None = None, map_stride: int | None = None, weights: str | Path | None = None
) -> Backbone:
    """A backbone, with ImageNet weights or none.

    Args:
        name: a key of :data:`BACKBONES`, or ``timm/<model name>``.
        output_stride: image pixels per cell of the backbone's output; None = what ReID uses with it: 16 of a
            ResNet, whose last stride is removed, 4 of HRNet, of a timm model what it has.
        map_stride: of a finer feature map, see :class:`FineMap`; None = none.
        weights: None = random; "imagenet" = those that come with a Python package (EfficientNet-Lite0) or that timm
            fetches; else the usual file of ImageNet weights with its own key names (``.pth``, ``.pt`` or
            ``.safetensors``).

    Raises:
        ConfigError: there is no such backbone or stride.
        MissingDependencyError: it needs timm, which is missing or does not work.
        CheckpointError: there are no such weights, or a key does not fit; every such key is listed.
    """
    backbone: Backbone
    if check_backbone_name(name).startswith(TIMM_PREFIX):
        backbone = TimmBackbone(name, output_stride)
    else:
        entry = BACKBONES[name]
        backbone = entry.build(entry.stride(name, output_stride))
    if weights is not None:
        load_backbone_weights(backbone, name, weights)
    return backbone if map_stride is None else FineMap(backbone, map_stride)


def map_geometry(name: str, output_stride: int | None = None) -> MapGeometry:
    """Stride and input multiple of a backbone; only a timm model has to be built for that, once.

    Example:
        >>> map_geometry("hrnet_w32")
        MapGeometry(stride=4, multiple=32)

    Raises:
        ConfigError, MissingDependencyError: as :func:`build_backbone`.
    """
    if check_backbone_name(name).startswith(TIMM_PREFIX):
        return _timm_geometry(name, output_stride)
    entry = BACKBONES[name]
    stride = entry.stride(name, output_stride)
    return MapGeometry(stride, entry.multiple or stride)


def gains_from_bfloat16(name: str) -> bool:
    """Whether a CPU with matrix units trains this backbone faster in bfloat16; of a timm model it is assumed."""
    return name not in BACKBONES or BACKBONES[name].bfloat16_on_cpu


@cache
def _timm_geometry(name: str, output_stride: int | None) -> MapGeometry:
    with torch.random.fork_rng(devices=[]):  # asking for a size draws no random numbers from whoever asks
        backbone = TimmBackbone(name, output_stride)
    return MapGeometry(backbone.output_stride, backbone.input_multiple)
