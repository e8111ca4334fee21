"""What is exported: a network with everything around it, from pixels to the three outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.errors import ConfigError
from partreid.models.backbones import FineMap
from partreid.models.bpbreid import BPBReID
from partreid.models.network import ReIDNetwork
from partreid.preprocessing import PreprocessConfig
from partreid.runners.runner import merge_mirrored
from partreid.types import ModelOutput, RegionVectors


class ExportedNetwork(nn.Module):
    """A network from uint8 images on: type, layout, normalisation, the mirror image, and what is read off the output.

    Args:
        model: the network, in evaluation mode. preprocess: what its input must look like.
        mirror: as in :class:`~partreid.inference.extractor.PartExtractor`.

    Raises:
        ConfigError: the network needs pose fields beside the image.

    Example:
        >>> from partreid.models.build import build_network
        >>> from partreid.models.model_config import ModelConfig
        >>> model = build_network(ModelConfig(backbone="resnet18", parts="five"), 3).eval()
        >>> network = ExportedNetwork(model, PreprocessConfig(height=64, width=32))
        >>> [tuple(output.shape) for output in network(torch.zeros(2, 64, 32, 3, dtype=torch.uint8))]
        [(2, 6, 512), (2, 6), (2, 6, 4, 2)]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: ReIDNetwork, preprocess: PreprocessConfig, *, mirror: bool = False) -> None:
        super().__init__()
        if model.config.pose_guided:
            raise ConfigError(
                f"A network that looks where pose fields say (attention = {model.config.attention}) needs more than "
                "pixels and cannot be exported. Export one with attention = learned, stripes or none."
            )
        self.network = FineMapNetwork(model) if isinstance(model.backbone, FineMap) else model
        self.mirror, self.reversed = mirror, preprocess.order == "bgr"
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std)):
            self.register_buffer(name, (torch.tensor(values) * 255).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [B, H, W, 3] RGB → vectors [B, S, D], visibility [B, S], attention [B, K+1, h, w]."""
        # The type comes first: TensorRT takes bytes as input only where they become numbers at once.
        images = (pixels.float().permute(0, 3, 1, 2) - self.mean) / self.std
        if self.reversed:
            images = images.flip(1)
        if self.mirror:  # as one batch of twice the size: its layers stand in the file once
            both: ModelOutput = self.network(torch.cat([images, images.flip(3)]), classify=False)
            count = images.shape[0]
            output = merge_mirrored(both.map(lambda tensor: tensor[:count]), both.map(lambda tensor: tensor[count:]))
        else:
            output = self.network(images, classify=False)
        return output.embeddings.vectors, output.embeddings.visibility, output.attention


class FineMapNetwork(nn.Module):
    """A network on a :class:`FineMap` that never builds the fine map: the same output up to rounding.

    Upsampling is linear in the features, and so are the 1×1 convolution of Eq. 1 and the pooling of Eq. 3. The
    convolution is therefore computed on every map as it is, and its K+1 scores are upsampled instead of some thousand
    channels; and each map is pooled as it is, under pooling weights brought to its own size. Of the light network in
    bfloat16, the upsampled map took a quarter of the time (docs/performance.md).

    Args:
        model: its backbone is a ``FineMap``.
    """

    def __init__(self, model: ReIDNetwork) -> None:
        super().__init__()
        assert isinstance(model.backbone, FineMap)
        self.model = model
        self.backbone = model.backbone

    def forward(self, images: Tensor, *, classify: bool = False) -> ModelOutput:
        """As :meth:`ReIDNetwork.forward`, without identity logits."""
        stages = self.backbone.backbone.stages(images)
        maps = [stages[stride] for stride in self.backbone.joined_strides]
        if isinstance(self.model, BPBReID):
            attention = self.model.attend_by(self._scores(maps))
        else:  # looks at the map's size only
            attention = self.model.attend(maps[0], None)
        if self.model.config.own_embedding:
            pooled = self.model.pool_own(stages, attention.maps)
        else:
            pooled = self._pool(maps, attention.maps)
        return self.model.finish(pooled, attention, classify=classify)

    def _scores(self, maps: list[Tensor]) -> Tensor:
        """Scores of Eq. 1: the classifier's own channels of each map, upsampled and added up."""
        assert isinstance(self.model, BPBReID)
        norm, conv = self.model.part_classifier.bn, self.model.part_classifier.classifier
        first = 0
        scores: Tensor | None = None
        for features in maps:
            mine = slice(first, first := first + features.shape[1])
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                mean, variance = norm.running_mean[mine], norm.running_var[mine]
                features = F.batch_norm(features, mean, variance, norm.weight[mine], norm.bias[mine], eps=norm.eps)
            part = F.conv2d(features, conv.weight[:, mine], conv.bias if scores is None else None)
            scores = part if scores is None else scores + _upsampled(part, maps[0])
        assert scores is not None
        return scores

    def _pool(self, maps: list[Tensor], attention: Tensor) -> RegionVectors:
        """The pooled channels of every map, side by side."""
        finest, *coarser = maps
        regions = self.model.pool(finest, attention)
        pooled = [_stacked(regions)]
        for features in coarser:
            cells = features.shape[2] * features.shape[3]
            # A channel for each cell, 1 there and 0 elsewhere: pooled, it is the weight of that cell.
            basis = _upsampled(torch.eye(cells).view(1, cells, *features.shape[2:]), finest)
            weights = _stacked(self.model.pool(basis.expand(attention.shape[0], -1, -1, -1), attention))
            pooled.append(torch.bmm(weights, features.flatten(2).transpose(1, 2)))
        vectors, names = torch.cat(pooled, dim=2), [name for name, _ in regions.items()]
        holistic = {name: vectors[:, index] for index, name in enumerate(names) if name != "parts"}
        return RegionVectors(**holistic, parts=vectors[:, len(holistic) :] if "parts" in names else None)


def _upsampled(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)  # as FineMap does


def _stacked(regions: RegionVectors) -> Tensor:
    """Every region, [B, M, C]: the holistic ones, then the parts."""
    return torch.cat([v if v.ndim == 3 else v.unsqueeze(1) for _, v in regions.items()], dim=1)
