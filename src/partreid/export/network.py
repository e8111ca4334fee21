"""The exported computation: a network with everything around it, from pixels to the three outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partreid.errors import ConfigError
from partreid.models.network import ReIDNetwork
from partreid.preprocessing import PreprocessConfig
from partreid.runners.runner import merge_mirrored
from partreid.types import ModelOutput


class ExportedNetwork(nn.Module):
    """A network that takes uint8 images. It includes type, layout, normalisation, the mirror image and visibility.

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
        self.network = model
        self.mirror, self.reversed = mirror, preprocess.order == "bgr"
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std)):
            self.register_buffer(name, (torch.tensor(values) * 255).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [B, H, W, 3] RGB → vectors [B, S, D], visibility [B, S], attention [B, K+1, h, w]."""
        # The type comes first, because TensorRT only accepts bytes that are converted to numbers at once.
        images = (pixels.float().permute(0, 3, 1, 2) - self.mean) / self.std
        if self.reversed:
            images = images.flip(1)
        if self.mirror:  # as one batch of twice the size, so that the file contains the layers once
            both: ModelOutput = self.network(torch.cat([images, images.flip(3)]), classify=False)
            count = images.shape[0]
            output = merge_mirrored(both.map(lambda tensor: tensor[:count]), both.map(lambda tensor: tensor[count:]))
        else:
            output = self.network(images, classify=False)
        return output.embeddings.vectors, output.embeddings.visibility, output.attention
