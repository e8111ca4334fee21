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

    @property
    def joined_strides(self) -> Sequence[int]:
        """Of the features that are the feature map, from fine to coarse: coarser ones are upsampled and appended."""
        return (self.output_stride,)

    def unjoined(self, images: Tensor) -> dict[int, Tensor]:
        """As :meth:`stages`; a map that is joined of others is not built."""
        return self.stages(images)

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
    return torch.cat([finest, *(upsampled(x, finest, align_corners=align_corners) for x in coarser)], dim=1)


def upsampled(x: Tensor, like: Tensor, *, align_corners: bool = False) -> Tensor:
    """A map [B, C, h, w] at the height and width of another (bilinear)."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=align_corners)


def lowered(weights: Tensor, size: Sequence[int]) -> Tensor:
    """Weights of a fine map's cells as those of a coarse map that is upsampled to it: the sums are the same.

    Σ w·up(G) = Σ lowered(w)·G, because upsampling (bilinear, as of :func:`join_maps` without corners) is linear.

    Args:
        weights: [B, M, H, W]. size: (h, w) of the coarse map.

    Returns:
        [B, M, h, w].
    """
    rows, columns = (_upsampling(c, f, weights) for c, f in zip(size, weights.shape[2:], strict=True))
    return rows @ weights @ columns.T


def _upsampling(coarse: int, fine: int, like: Tensor) -> Tensor:
    """[coarse, fine] what a cell of one axis gives to each of the upsampled axis."""
    cells = torch.eye(coarse, dtype=like.dtype, device=like.device).view(1, coarse, coarse, 1)
    return F.interpolate(cells, size=(fine, 1), mode="bilinear", align_corners=False).view(coarse, fine)


class FineMap(Backbone):
    """Concatenates a backbone's output, upsampled to ``stride``, with its own features from that stride on.

    Head and feet are smaller than a cell of a coarse map and lose every pixel to torso and background. The
    paper's HRNet has the same remedy built in: its branches are upsampled to the finest and concatenated. The
    cost is that of the coarse backbone; removing one more stride instead nearly triples the training time.

    Args:
        backbone: gives features of several strides. stride: of the finer map.

    Raises:
        ConfigError: the backbone has no features of that stride.
    """

    def __init__(self, backbone: Backbone, stride: int) -> None:
        super().__init__()
        if stride not in backbone.stage_channels or stride > backbone.output_stride:
            finer = sorted(s for s in backbone.stage_channels if s < backbone.output_stride)
            raise ConfigError(f"map_stride = {stride}: this backbone offers the finer strides {finer}.")
        self.backbone = backbone
        self._joined = sorted(s for s in backbone.stage_channels if s >= stride)
        self.channels = sum(backbone.stage_channels[s] for s in self._joined)
        self.stage_channels = backbone.stage_channels | {stride: self.channels}
        self.output_stride = stride
        self.input_multiple = backbone.input_multiple
        self.vector_dim = backbone.vector_dim

    @property
    def vector_stride(self) -> int:
        """Stride of the backbone's own map."""
        return self.backbone.vector_stride

    @property
    def joined_strides(self) -> Sequence[int]:
        """Of the backbone's features, those from ``stride`` on."""
        return self._joined

    def unjoined(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's own features, which :meth:`stages` joins."""
        return self.backbone.stages(images)

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """The backbone's own embedding of the whole image, read off its own map."""
        return self.backbone.vector(stages)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's features, those of ``stride`` replaced by all from there on, [B, ΣC_s, H/stride, W/stride]."""
        stages = self.unjoined(images)
        return stages | {self.output_stride: join_maps([stages[s] for s in self.joined_strides], align_corners=False)}
