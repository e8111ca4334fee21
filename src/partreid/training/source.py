"""The network that a training starts from: its embeddings of the clean images, and its frozen weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from partreid.datasets.loaders import ImageDataset
from partreid.errors import CheckpointError, ConfigError
from partreid.files import atomic_file
from partreid.models.backbones import Backbone
from partreid.preprocessing import PreprocessConfig, normalize
from partreid.progress import Progress, no_progress

SOURCE_FILE = "source_vectors.safetensors"
"""File in a run's folder. It is kept, so that a resumed training is distilled from exactly the same vectors."""

_BATCH = 64


@torch.no_grad()
def source_vectors(
    backbone: Backbone, dataset: ImageDataset, preprocess: PreprocessConfig, run: Path, progress: Progress = no_progress
) -> Tensor:
    """The backbone's own embedding of every unchanged training image: not cropped, not mirrored, and with nothing
    pasted over it.

    They are computed once for a run and kept in its folder.

    Args:
        backbone: the network that the training starts from, in evaluation mode. dataset: its images.
        preprocess: what its input must look like. run: the run's folder. progress: shows how far it is.

    Returns:
        float32 [N, vector_dim] in the order of the data set's images, on the CPU.

    Raises:
        ConfigError: the backbone has no embedding of its own. DataError: an image cannot be read.
    """
    if backbone.vector_dim is None:
        raise ConfigError(
            "objective.distillation: this backbone has no embedding of its own for distillation. Set "
            "its weights to 0, or take a backbone that was trained to embed people (docs/models.md)."
        )
    path, key = run / SOURCE_FILE, source_key(backbone, dataset, preprocess)
    if path.is_file():
        kept = load_file(path)
        if key in kept:
            return kept[key]
    device = next(backbone.parameters()).device
    vectors = []
    with progress("embeddings of the network as it is", len(dataset)) as advance:
        for start in range(0, len(dataset), _BATCH):
            images = dataset.collate([dataset[i] for i in range(start, min(start + _BATCH, len(dataset)))]).images
            stages = backbone.stages(normalize(images.to(device), preprocess))
            vectors.append(backbone.vector(stages).float().cpu())
            advance(len(images))
    found = torch.cat(vectors)
    with atomic_file(path, error=CheckpointError) as temporary:
        save_file({key: found}, temporary)
    return found


def source_key(backbone: Backbone, dataset: ImageDataset, preprocess: PreprocessConfig) -> str:
    """A digest of everything that the vectors depend on: weights, preprocessing, and the images in their order."""
    digest = hashlib.sha256(preprocess.model_dump_json().encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(
            name.encode() + tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    for image in dataset.images:
        digest.update(f"{image.identity} {image.path.name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def keeps_whole(backbone: Backbone, stride: int | None) -> bool:
    """Whether freezing the weights up to the features of that stride freezes the whole feature map."""
    return stride is not None and stride >= max(backbone.stage_channels)


def freeze(backbone: Backbone, stride: int, size: tuple[int, int]) -> None:
    """Freeze the weights that a backbone's features of a stride depend on, and the statistics of their batch norms.

    Args:
        backbone: changed in place. size: (H, W) of its images.
        stride: of the last frozen features. The stride of the backbone's output freezes everything except the layers of
            its own embedding, which follow the map.

    Raises:
        ConfigError: the backbone has no features of that stride.
    """
    stride = min(stride, max(backbone.stage_channels))
    if stride not in backbone.stage_channels:
        offered = ", ".join(map(str, sorted(backbone.stage_channels)))
        raise ConfigError(f"optimizer.frozen_stride = {stride}: this backbone has features of the strides {offered}.")
    for weight, needed in _needed(backbone, stride, size):
        if needed:
            weight.requires_grad_(False)


def leave_own_embedding(backbone: Backbone, size: tuple[int, int]) -> None:
    """Freeze the layers after the map if the model does not use them, because no gradient would reach them.

    Otherwise several processes would wait for these gradients. ``size``: (H, W) of the backbone's images.
    """
    for weight, needed in _needed(backbone, backbone.output_stride, size) if backbone.vector_dim is not None else []:
        if not needed:
            weight.requires_grad_(False)


def _needed(backbone: Backbone, stride: int, size: tuple[int, int]) -> list[tuple[nn.Parameter, bool]]:
    """Each weight that learns, and whether the features of that stride depend on it."""
    weights = [weight for weight in backbone.parameters() if weight.requires_grad]
    with torch.enable_grad():
        features = backbone.eval().stages(torch.zeros(1, 3, *size, device=weights[0].device))[stride]
        reached = torch.autograd.grad(features.sum(), weights, allow_unused=True)
    backbone.train()
    return [(weight, gradient is not None) for weight, gradient in zip(weights, reached, strict=True)]


def keep_frozen_statistics(model: nn.Module) -> None:
    """Let batch norms with frozen weights use their stored statistics. Call it whenever a model is set to training
    mode.
    """
    for module in model.modules():
        weights = list(module.parameters(recurse=False))
        if isinstance(module, _BatchNorm) and weights and not any(weight.requires_grad for weight in weights):
            module.eval()


def parameter_groups(model: nn.Module, others: Sequence[nn.Module], backbone_rate: float) -> list[dict[str, object]]:
    """The weights that learn, with the factor of the learning rate of each group."""
    backbone = {id(weight) for weight in getattr(model, "backbone", nn.Module()).parameters()}
    weights = [weight for module in (model, *others) for weight in module.parameters() if weight.requires_grad]
    if backbone_rate == 1:
        return [{"params": weights, "scale": 1.0}]
    groups = {
        backbone_rate: [weight for weight in weights if id(weight) in backbone],
        1.0: [weight for weight in weights if id(weight) not in backbone],
    }
    return [{"params": part, "scale": scale} for scale, part in groups.items() if part]
