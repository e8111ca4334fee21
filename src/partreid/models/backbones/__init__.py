"""Feature extractors: images [B, 3, H, W] → feature map [B, C, H/stride, W/stride]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from partreid.doors import door
from partreid.errors import ConfigError
from partreid.lazy import torch
from partreid.models.backbones.file_input import FileInput
from partreid.models.backbones.network_files import NetworkFiles, NetworkName
from partreid.models.backbones.osnet_names import OSNETS
from partreid.objects import Guided
from partreid.preprocessing import PreprocessConfig
from partreid.registry import Registry

if TYPE_CHECKING:  # naming a backbone in a configuration needs no PyTorch, building it does
    from partreid.models.backbones.base import Backbone, FineMap
    from partreid.models.backbones.nodes import Graph

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneEntry",
    "FineMap",
    "MapGeometry",
    "build_backbone",
    "gains_from_bfloat16",
    "map_geometry",
    "network_outline",
    "preprocess_for",
]


@dataclass(frozen=True, repr=False)
class BackboneEntry(Guided):
    """How a backbone is built, and its properties that are known before.

    Attributes:
        build: output stride → backbone with random weights.
        strides: possible output strides; ReID uses the first. None = only the backbone knows: ``build`` then gets the
            requested stride, or None if none was requested.
        multiple: height and width of images must be multiples of it; None = multiples of the output stride.
        bfloat16_on_cpu: whether a CPU with matrix units for bfloat16 (AMX) trains it faster in bfloat16 than in
            float32.
    """

    build: Callable[..., Backbone]
    strides: tuple[int, ...] | None = (16, 8, 32)
    multiple: int | None = None
    bfloat16_on_cpu: bool = True

    def __call__(self, *args: Any) -> Backbone:
        """The backbone; see ``build``."""
        return self.build(*args)

    def stride(self, name: str, wanted: int | None) -> int | None:
        """The output stride: the requested one, or the first. None if only the backbone knows.

        Raises:
            ConfigError: the backbone cannot have the requested stride.
        """
        if self.strides is None or wanted in self.strides:
            return wanted
        if wanted is not None:
            offered = " or ".join(map(str, sorted(self.strides)))
            raise ConfigError(f"{name} can have the output stride {offered}, got {wanted}; null takes its own.")
        return self.strides[0]


def _built(module: str, what: str, *args: Any, **kwargs: Any) -> Backbone:
    """A backbone from a module of this package. The module is imported now."""
    backbone: Backbone = getattr(import_module(f"{__name__}.{module}"), what)(*args, **kwargs)
    return backbone


def _osnet(name: str, _output_stride: int) -> Backbone:
    return _built("osnet", "OSNet", *OSNETS[name])


def _openvino(name: str, output_stride: int | None) -> Backbone:
    from partreid.models.backbones.openvino_file import read_openvino

    return _of_file(name, read_openvino)


def _onnx(name: str, output_stride: int | None) -> Backbone:
    from partreid.models.backbones.onnx_file import read_onnx

    return _of_file(name, read_onnx)


def _of_file(name: str, read: Callable[[Path], Graph]) -> Backbone:
    """The network of ``onnx/FILE`` or ``openvino/FILE``, perhaps followed by ``#MAP``."""
    from partreid.models.backbones.graph import FileBackbone

    named = NetworkName.of(name)
    assert named is not None
    graph = read(named.path)
    return FileBackbone(graph, named.map_name, files=NetworkFiles.read(named.kind, graph.files or (named.path,)))


BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "backbone",
    group="partreid.backbones",
    own={
        "resnet18": BackboneEntry(partial(_built, "resnet", "resnet18")),
        "resnet50": BackboneEntry(partial(_built, "resnet", "resnet50")),
        "resnet50_ibn_a": BackboneEntry(partial(_built, "resnet", "resnet50_ibn_a")),
        "hrnet_w32": BackboneEntry(lambda _: _built("hrnet", "hrnet_w32"), strides=(4,), multiple=32),
        "efficientnet_lite0": BackboneEntry(partial(_built, "efficientnet_lite", "EfficientNetLite")),
        "efficientnet_lite0_in": BackboneEntry(
            partial(_built, "efficientnet_lite", "EfficientNetLite", instance_norm=True)
        ),
        # Measured: no faster in bfloat16 (docs/performance.md).
        **{name: BackboneEntry(partial(_osnet, name), strides=(16,), bfloat16_on_cpu=False) for name in OSNETS},
        "timm/": partial(_built, "timm_seam", "TimmBackbone"),
        "onnx/": _onnx,
        "openvino/": _openvino,
    },
)
"""Backbones by name: a :class:`BackboneEntry`, or a function that builds a :class:`Backbone` from ``output_stride``
(int, or None for its own). The function for a prefix, such as ``timm/``, gets the whole name as its first argument."""


class MapGeometry(NamedTuple):
    """Image pixels per cell of a backbone's output. Images' height and width must be multiples of ``multiple``."""

    stride: int
    multiple: int


def build_backbone(
    name: str, *, output_stride: int | None = None, map_stride: int | None = None, weights: str | Path | None = None
) -> Backbone:
    """A backbone, with ImageNet weights or none.

    Args:
        name: one of :data:`BACKBONES`, for example "resnet50" or "timm/resnet50".
        output_stride: image pixels per cell of the backbone's output. None = the stride that ReID uses with it: 16 for
            a ResNet, whose last stride is removed, 4 for HRNet, and a timm model's own stride.
        map_stride: of a finer feature map, see :class:`FineMap`; None = no finer map.
        weights: None = random; "imagenet" = weights from a Python package (EfficientNet-Lite0) or fetched by timm;
            otherwise the usual file of ImageNet weights with its own key names (``.pth``, ``.pt`` or
            ``.safetensors``).

    Raises:
        ConfigError: there is no such backbone or stride, or what is registered builds no :class:`Backbone`.
        MissingDependencyError: it needs timm, which is missing or does not work.
        CheckpointError: there are no such weights, or a key does not fit; every such key is listed.
    """
    from partreid.models.backbones.base import Backbone, FineMap
    from partreid.models.backbones.weights import load_backbone_weights

    entry = _entry(name)
    stride = entry.stride(name, output_stride)
    backbone = entry(name, stride) if BACKBONES.key(name).endswith("/") else entry(stride)
    lacks = [a for a in ("channels", "output_stride", "input_multiple", "stage_channels") if not hasattr(backbone, a)]
    if not isinstance(backbone, Backbone) or lacks:
        lack = f" without {', '.join(lacks)}" if isinstance(backbone, Backbone) else ""
        raise ConfigError(f"The backbone {name!r} must be a {Backbone.__module__}.Backbone with all its attributes, "
                          f"got a {type(backbone).__name__}{lack}.")  # fmt: skip
    if stride not in (None, backbone.output_stride):
        raise ConfigError(f"{name} has the output stride {backbone.output_stride}, got {stride}; null takes its own.")
    if weights is not None:
        load_backbone_weights(backbone, name, weights)
    return backbone if map_stride is None else FineMap(backbone, map_stride)


def map_geometry(name: str, output_stride: int | None = None) -> MapGeometry:
    """Stride and input multiple of a backbone. A backbone that does not declare its strides is built once for this.

    Example:
        >>> map_geometry("hrnet_w32")
        MapGeometry(stride=4, multiple=32)

    Raises:
        ConfigError, MissingDependencyError: as :func:`build_backbone`.
    """
    entry = _entry(name)
    stride = entry.stride(name, output_stride)
    if stride is None or entry.strides is None:
        return _outline(name, output_stride, entry, _stamp(name)).geometry
    return MapGeometry(stride, entry.multiple or stride)


def network_outline(name: str) -> Outline | None:
    """The facts about a network file that are known without its weights; None for a backbone that is not a file.

    Raises:
        ConfigError, CheckpointError, ShapeError: the file cannot be read as a backbone.
    """
    return None if NetworkName.of(name) is None else _outline(name, None, _entry(name), _stamp(name))


def embeds(name: str, size: tuple[int, int]) -> bool:
    """Whether a network file has its own embedding for images of this (height, width).

    Raises:
        ConfigError, CheckpointError, ShapeError: the file cannot be read as a backbone.
    """
    return _embeds(name, size, _stamp(name))


def preprocess_for(name: str, *, height: int | None = None, width: int | None = None) -> PreprocessConfig:
    """How images are prepared for a backbone: as its file says. Without such information, as for ImageNet's networks.

    Args:
        name: of the backbone. height, width: of the images; None = the size the file was made for, else 256 × 128.

    Raises:
        ConfigError, CheckpointError, ShapeError: it is a file, and cannot be read as a backbone.

    Example:
        >>> preprocess_for("resnet50", height=384).size
        (384, 128)
    """
    outline = network_outline(name)
    said = FileInput() if outline is None else outline.reads
    made_for = said.size or PreprocessConfig().size
    fields = {"mean": said.mean, "std": said.std, "order": said.order}
    known = {key: value for key, value in fields.items() if value is not None}
    return PreprocessConfig.parse({"height": height or made_for[0], "width": width or made_for[1], **known})


def gains_from_bfloat16(name: str) -> bool:
    """Whether a CPU with matrix units trains this backbone faster in bfloat16. True if the backbone does not say."""
    return _entry(name).bfloat16_on_cpu


class Outline(NamedTuple):
    """Facts about a backbone that was built only to learn them.

    Attributes:
        geometry: of its map. reads: its file's statements about the input. identity: of its file
            (``FileBackbone.identity``). digests: SHA-256 of its files by their plain names.
    """

    geometry: MapGeometry
    reads: FileInput = FileInput()
    identity: str | None = None
    digests: Mapping[str, str] = {}


def _entry(name: str) -> BackboneEntry:
    thing = BACKBONES[name]
    return thing if isinstance(thing, BackboneEntry) else BackboneEntry(thing, strides=None)


def _stamp(name: str) -> Any:
    """A key of the caches. It includes the file's state, because another file may take its place."""
    named = NetworkName.of(name)
    return None if named is None else named.stamp()


@cache
def _outline(name: str, output_stride: int | None, entry: BackboneEntry, stamp: Any) -> Outline:
    """``entry`` is part of the cache's key, because another one may be registered under the same name."""
    from partreid.models.backbones.graph import FileBackbone

    with torch.random.fork_rng(devices=[]):  # asking for a size must not change the caller's random numbers
        backbone = build_backbone(name, output_stride=output_stride)
    geometry = MapGeometry(backbone.output_stride, backbone.input_multiple)
    if not isinstance(backbone, FileBackbone):
        return Outline(geometry)
    return Outline(geometry, backbone.reads, backbone.identity, backbone.files.digests if backbone.files else {})


@cache
def _embeds(name: str, size: tuple[int, int], stamp: Any) -> bool:
    from partreid.models.backbones.graph import FileBackbone

    backbone = build_backbone(name)
    return isinstance(backbone, FileBackbone) and backbone.embeds(size)


if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
