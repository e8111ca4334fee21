"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.errors import ConfigError


class Backbone(nn.Module, ABC):
    """A feature extractor. One of your own: docs/extending.md; what holds for all: tests/models/backbone_contract.py.

    Attributes:
        channels: C of the feature map.
        output_stride: image pixels per cell of the feature map.
        input_multiple: height and width of images must be multiples of it.
        stage_channels: channels of the features that :meth:`stages` returns, by their stride.
        vector_dim: width of the network's own embedding of the whole image (:meth:`vector`); None = it has none.
        unused_keys: state-dict prefixes of an ImageNet file that are not used here, its classifier above all.
        key_prefix: what stands before an ImageNet file's keys in this module's state dict.
    """

    channels: int
    output_stride: int
    input_multiple: int
    stage_channels: dict[int, int]
    vector_dim: int | None = None
    unused_keys: tuple[str, ...] = ()
    key_prefix: str = ""

    @property
    def vector_stride(self) -> int:
        """Stride of the features that :meth:`vector` reads."""
        return self.output_stride

    @abstractmethod
    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, [B, C_s, H/s, W/s]: the deepest of each stride, the feature map among them."""

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """What a network that was trained to embed people makes of the whole image, [B, vector_dim].

        Args:
            stages: of :meth:`stages`; only those of ``vector_stride`` are read.

        Raises:
            ConfigError: the network has no embedding of its own (``vector_dim`` is None).
            ShapeError: it has one for images of another size only.
        """
        raise ConfigError("This backbone has no embedding of its own: it ends in its feature map.")

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """ImageNet weights by the names of their file, where a Python package brings or fetches them; None = nowhere.

        Raises:
            CheckpointError: they cannot be had.
        """
        return None

    def own_names(self, state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
        """A file's weights by the names of :meth:`imagenet_state`, where it was written by a program that is known.

        Args:
            state: name → tensor, behind any prefix. source: of the weights, for messages.

        Returns:
            The same, renamed; a key that is not known keeps its name.

        Raises:
            CheckpointError: this network computes something else than the weights were trained for.
        """
        return dict(state)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → the feature map G, [B, C, H/output_stride, W/output_stride]."""
        return self.stages(images)[self.output_stride]


def join_maps(maps: Sequence[Tensor], *, align_corners: bool) -> Tensor:
    """Feature maps from fine to coarse, upsampled to the finest (bilinear) and concatenated, [B, ΣC, H, W]."""
    finest, *coarser = maps
    size = finest.shape[2:]
    upsampled = [F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners) for x in coarser]
    return torch.cat([finest, *upsampled], dim=1)


class FineMap(Backbone):
    """Concatenates a backbone's output, upsampled to ``stride``, with its own features from that stride on.

    Head and feet are smaller than a cell of a coarse map and lose every pixel to torso and background. The
    paper's HRNet has the same remedy built in: its branches are upsampled to the finest and concatenated. The
    cost is that of the coarse backbone; removing one more stride instead nearly triples the training time.

    Args:
        backbone: gives features of several strides. stride: of the finer map.

    Attributes:
        joined_strides: of the features that are concatenated, from fine to coarse.

    Raises:
        ConfigError: the backbone has no features of that stride.
    """

    def __init__(self, backbone: Backbone, stride: int) -> None:
        super().__init__()
        if stride not in backbone.stage_channels or stride > backbone.output_stride:
            finer = sorted(s for s in backbone.stage_channels if s < backbone.output_stride)
            raise ConfigError(f"map_stride = {stride}: this backbone offers the finer strides {finer}.")
        self.backbone = backbone
        self.joined_strides = sorted(s for s in backbone.stage_channels if s >= stride)
        self.channels = sum(backbone.stage_channels[s] for s in self.joined_strides)
        self.stage_channels = backbone.stage_channels | {stride: self.channels}
        self.output_stride = stride
        self.input_multiple = backbone.input_multiple
        self.vector_dim = backbone.vector_dim

    @property
    def vector_stride(self) -> int:
        """Stride of the backbone's own map."""
        return self.backbone.vector_stride

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """The backbone's own embedding of the whole image, read off its own map."""
        return self.backbone.vector(stages)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's features, those of ``stride`` replaced by all from there on, [B, ΣC_s, H/stride, W/stride]."""
        stages = self.backbone.stages(images)
        return stages | {self.output_stride: join_maps([stages[s] for s in self.joined_strides], align_corners=False)}
