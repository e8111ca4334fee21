"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.errors import ConfigError


class Backbone(nn.Module, ABC):
    """A feature extractor. docs/extending.md shows how to write one; all pass tests/models/backbone_contract.py.

    Attributes:
        channels: C of the feature map.
        output_stride: image pixels per cell of the feature map.
        input_multiple: height and width of images must be multiples of it.
        stage_channels: channels of the features that :meth:`stages` returns, by their stride.
        vector_dim: width of the network's own embedding of the whole image (:meth:`vector`); None = it has none.
        unused_keys: state-dict prefixes of an ImageNet file that are not used here, above all its classifier.
        key_prefix: prefix of this module's state-dict keys that an ImageNet file's keys lack.
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
        """Strides of the features that form the feature map, from fine to coarse; coarser ones are upsampled."""
        return (self.output_stride,)

    def unjoined(self, images: Tensor) -> dict[int, Tensor]:
        """Like :meth:`stages`, but a map that is joined from others is not built."""
        return self.stages(images)

    @abstractmethod
    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, [B, C_s, H/s, W/s]: the deepest of each stride. They include the feature map."""

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """The embedding of the whole image, [B, vector_dim], by a network that was trained to embed people.

        Args:
            stages: from :meth:`stages`; only those of ``vector_stride`` are read.

        Raises:
            ConfigError: the network has no embedding of its own (``vector_dim`` is None).
            ShapeError: it only has one for images of another size.
        """
        raise ConfigError("This backbone has no embedding of its own: it ends in its feature map.")

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """ImageNet weights, with their file's key names, if a Python package contains or fetches them; else None.

        Raises:
            CheckpointError: the weights cannot be fetched.
        """
        return None

    def own_names(self, state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
        """A file's weights under the names of :meth:`imagenet_state`, if a known program wrote the file.

        Args:
            state: name → tensor; names may have any prefix. source: of the weights, for messages.

        Returns:
            The same tensors, renamed. An unknown key keeps its name.

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
    """Weights of a fine map's cells, brought to a coarse map that is upsampled to it. Weighted sums stay the same.

    Σ w·up(G) = Σ lowered(w)·G, because upsampling (bilinear, as of :func:`join_maps` without corners) is linear.

    Args:
        weights: [B, M, H, W]. size: (h, w) of the coarse map.

    Returns:
        [B, M, h, w].
    """
    rows, columns = (_upsampling(c, f, weights) for c, f in zip(size, weights.shape[2:], strict=True))
    return rows @ weights @ columns.T


def _upsampling(coarse: int, fine: int, like: Tensor) -> Tensor:
    """[coarse, fine] the share of each coarse cell in each cell of the upsampled axis."""
    cells = torch.eye(coarse, dtype=like.dtype, device=like.device).view(1, coarse, coarse, 1)
    return F.interpolate(cells, size=(fine, 1), mode="bilinear", align_corners=False).view(coarse, fine)


class FineMap(Backbone):
    """Concatenates a backbone's output, upsampled to ``stride``, with its own features from that stride on.

    Head and feet are smaller than a cell of a coarse map and lose every pixel to torso and background. The
    paper's HRNet has the same remedy built in: its branches are upsampled to the finest and concatenated. The
    cost is that of the coarse backbone; removing one more stride instead nearly triples the training time.

    Args:
        backbone: has features of several strides. stride: of the finer map.

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
        """Strides of the joined features: all of the backbone's from ``stride`` on."""
        return self._joined

    def unjoined(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's own features, which :meth:`stages` joins."""
        return self.backbone.stages(images)

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """The backbone's own embedding of the whole image, computed from its own map."""
        return self.backbone.vector(stages)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's features. Those of ``stride`` are replaced by the joined map [B, ΣC_s, H/stride, W/stride]."""
        stages = self.unjoined(images)
        return stages | {self.output_stride: join_maps([stages[s] for s in self.joined_strides], align_corners=False)}
