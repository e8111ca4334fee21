"""A finer feature map from a coarse backbone: shallow features beside the upsampled deep ones."""

from __future__ import annotations

from torch import Tensor

from partreid.errors import ConfigError
from partreid.models.backbones.base import Backbone, join_maps


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

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """The backbone's features, those of ``stride`` replaced by all from there on, [B, ΣC_s, H/stride, W/stride]."""
        stages = self.backbone.stages(images)
        return stages | {self.output_stride: join_maps([stages[s] for s in self.joined_strides], align_corners=False)}
