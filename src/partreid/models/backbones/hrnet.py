"""HRNet-W32 (Wang et al. 2020) as person ReID uses it: all four resolutions, joined at the finest.

Topology and key names are those of the public HRNet-Image-Classification, so that its ImageNet file loads.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from partreid.models.backbones.base import Backbone, join_maps
from partreid.models.backbones.resnet import BasicBlock, Bottleneck, conv_bn, residual_stage

_BRANCH_DEPTH = 4  # BasicBlocks of a branch within one module


class HRNet(Backbone):
    """Four branches at strides 4, 8, 16 and 32 through their "incre" heads, upsampled to stride 4, concatenated.

    The paper takes HRNet "as in" ISP (Zhu et al. 2020). The published weights have ISP's modules: the incre heads and a
    ``cls_head``, but not the classification network's ``downsamp_modules``, ``final_layer`` and ``classifier``. ISP
    upsamples bilinearly with aligned corners, so this is done here too. Otherwise the maps of the coarse branches would
    be shifted by up to half a coarse cell, and published weights would compute other numbers.

    Args:
        width: channels of the finest branch; each further branch has twice as many.
    """

    unused_keys = ("downsamp_modules.", "final_layer.", "classifier.")

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2**branch for branch in range(4)]
        self.conv1, self.bn1 = conv_bn(3, 64, 3, stride=2)
        self.conv2, self.bn2 = conv_bn(64, 64, 3, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = residual_stage(Bottleneck, 64, 64, 4, 1)
        inputs = 64 * Bottleneck.expansion
        self.transition1 = nn.ModuleList(
            [nn.Sequential(*conv_bn(inputs, widths[0], 3), nn.ReLU(inplace=True)), _new_branch(inputs, widths[1])]
        )
        self.stage2 = _stage(widths[:2], 1)
        # Existing branches pass through unchanged; they keep their place in the key names.
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), _new_branch(widths[1], widths[2])])
        self.stage3 = _stage(widths[:3], 4)
        self.transition3 = nn.ModuleList([*(nn.Identity() for _ in range(3)), _new_branch(widths[2], widths[3])])
        self.stage4 = _stage(widths, 3)
        planes = [32 * 2**branch for branch in range(4)]
        self.incre_modules = nn.ModuleList(
            residual_stage(Bottleneck, inputs, outputs, 1, 1) for inputs, outputs in zip(widths, planes, strict=True)
        )
        self.channels = sum(planes) * Bottleneck.expansion
        self.output_stride, self.input_multiple = 4, 32  # the coarsest branch has stride 32
        self.stage_channels = {4: self.channels}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """The one map, at stride 4."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        branches = self.stage2([transition(x) for transition in self.transition1])
        branches = self.stage3([*branches, self.transition2[-1](branches[-1])])
        branches = self.stage4([*branches, self.transition3[-1](branches[-1])])
        maps = [incre(branch) for incre, branch in zip(self.incre_modules, branches, strict=True)]
        return {4: join_maps(maps, align_corners=True)}


class _FuseModule(nn.Module):
    """One branch of blocks per resolution. Then every branch receives the sum of all branches at its resolution."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(residual_stage(BasicBlock, w, w, _BRANCH_DEPTH, 1) for w in widths)
        numbers = range(len(widths))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse_layer(widths, source, target) for source in numbers) for target in numbers
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """[B, C_i, H/s_i, W/s_i] per branch → the same shapes."""
        branches = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        return [self._fused(layers, branches) for layers in self.fuse_layers]  # type: ignore[arg-type]

    @staticmethod
    def _fused(layers: nn.ModuleList, branches: list[Tensor]) -> Tensor:
        # The first sum needs a new tensor; the following ones and the ReLU work in place.
        total: Tensor = layers[0](branches[0]) + layers[1](branches[1])
        for layer, x in zip(layers[2:], branches[2:], strict=True):
            total += layer(x)
        return total.relu_()


def _stage(widths: Sequence[int], modules: int) -> nn.Sequential:
    return nn.Sequential(*(_FuseModule(widths) for _ in range(modules)))


def _new_branch(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Sequential(*conv_bn(inputs, outputs, 3, 2), nn.ReLU(inplace=True)))


def _fuse_layer(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From branch ``source`` to the width and resolution of branch ``target``: nearest upward, strided downward."""
    inputs, outputs = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            *conv_bn(inputs, outputs, 1), nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        )
    steps = [nn.Sequential(*conv_bn(inputs, inputs, 3, 2), nn.ReLU(inplace=True)) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, nn.Sequential(*conv_bn(inputs, outputs, 3, 2)))


def hrnet_w32() -> HRNet:
    """HRNet-W32: 1920 channels at stride 4 (paper §4.2, "HR")."""
    return HRNet(32)
