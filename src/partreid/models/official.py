"""Reading published BPBReID checkpoints: one file of ``torch.save``, with the numerics of ``official_model()``.

The file may hold a ``yacs`` configuration. It is read by PyTorch's restricted unpickler with an ordered
dictionary in its place: no code of the file is ever run.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from partreid.errors import CheckpointError, ConfigError, warn
from partreid.models.backbones.weights import load_exactly, plain_names, read_weights_file
from partreid.models.build import build_fitting
from partreid.models.checkpoint import Checkpoint
from partreid.models.model_config import ModelConfig, official_model
from partreid.models.official_config import FoundSetting, OfficialOptions, StoredConfig
from partreid.objects import Guided, guided
from partreid.preprocessing import PreprocessConfig

KEY_PREFIXES: dict[str, str | None] = {
    "backbone_appearance_feature_extractor.classifier.": None,
    # 1920 → 512 channels behind HRNet's joined map; every head behind it takes the 1920, so nothing reads these.
    "backbone_appearance_feature_extractor.cls_head.": None,
    "backbone_appearance_feature_extractor.": "backbone.",
    "global_after_pooling_dim_reduce.": "heads.global_.",
    "foreground_after_pooling_dim_reduce.": "heads.foreground.",
    "background_after_pooling_dim_reduce.": None,
    "parts_after_pooling_dim_reduce.": "heads.parts.",
    "pixel_classifier.": "part_classifier.",
    "global_identity_classifier.": "global_neck.",
    "background_identity_classifier.": None,
    "foreground_identity_classifier.": "foreground_neck.",
    "concat_parts_identity_classifier.": "concat_neck.",
    "parts_identity_classifier.": "part_necks.",
}
"""Published key prefix → ours; None = not used in matching, ignored by name. The first that fits counts."""

_BACKBONES = {  # a key that only this backbone has → its name; the first that is there counts
    "backbone.incre_modules.3.0.conv3.weight": "hrnet_w32",
    "backbone.layer1.0.bn1.IN.weight": "resnet50_ibn_a",
    "backbone.layer4.2.conv3.weight": "resnet50",
}
_METRICS = ("rank1", "mAP", "epoch")


@dataclass(frozen=True, repr=False)
class OfficialImport(Guided):
    """A published checkpoint, and an account of its reading.

    Attributes:
        checkpoint: model in evaluation mode, preprocessing, and the scores that the file stores.
        used: the file's keys that were loaded. ignored: the others, which matching does not use.
        choices: what was taken from where, by name: backbone, parts, height, width, mean, std.
    """

    checkpoint: Checkpoint
    used: tuple[str, ...]
    ignored: tuple[str, ...]
    choices: Mapping[str, FoundSetting]


@guided
def load_official(path: str | Path, *, options: OfficialOptions | None = None) -> Checkpoint:
    """Read a published BPBReID checkpoint (ResNet-50, HRNet-W32), with a warning of what had to be assumed.

    Args:
        path: the ``.pth.tar`` file. options: part schema and input size, where you know them better than the file.

    Returns:
        The model in evaluation mode. Part names, input size and normalisation come from the stored configuration.

    Raises:
        CheckpointError: missing, damaged, holding more than tensors and a configuration, of an unknown
            backbone, or with keys that do not fit (all are listed).
        ConfigError: the options, or the file's own configuration, do not fit the model.
    """
    result = read_official(path, options=options)
    named = {what: result.choices[what] for what in ("parts", "height", "width")}
    if assumed := [f"{what} = {found.value} ({found.source})" for what, found in named.items() if found.assumed]:
        warn(f"{path} does not tell all that it is: {', '.join(assumed)}.")
    return result.checkpoint


def read_official(path: str | Path, *, options: OfficialOptions | None = None) -> OfficialImport:
    """As :func:`load_official`, with an account of what was used, ignored and assumed instead of warnings."""
    path, options = Path(path), options or OfficialOptions()
    content = _read(path)
    state, ignored = translate_keys(content["state_dict"], source=str(path))
    stored = StoredConfig(content.get("config"))
    backbone = _backbone(state, str(path))
    parts = stored.schema(state["part_classifier.classifier.weight"].shape[0] - 1, options.parts)
    inputs = stored.preprocess(backbone, options)
    known = {
        "backbone": backbone,
        "parts": parts.value,
        "embedding_dim": state["heads.parts.layers.0.weight"].shape[0],
    }
    config = ModelConfig.parse(official_model().model_dump() | known, source=str(path))
    preprocess = PreprocessConfig.parse({name: found.value for name, found in inputs.items()}, source=str(path))
    if any(length % config.input_multiple for length in preprocess.size):
        raise ConfigError(
            f"{path}: the input {preprocess.height}×{preprocess.width} ({inputs['height'].source}; "
            f"{inputs['width'].source}) must be multiples of {config.input_multiple} for {backbone}."
        )
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    model = build_fitting(config, shapes["global_neck.classifier.weight"][0], shapes, source=str(path))
    load_exactly(model, state, source=str(path))
    return OfficialImport(
        Checkpoint(model.eval(), preprocess, _metrics(content)),
        used=tuple(key for key in content["state_dict"] if key not in ignored),
        ignored=ignored,
        choices={"backbone": FoundSetting(backbone, "the tensors' names"), "parts": parts, **inputs},
    )


def translate_keys(state: Mapping[str, Tensor], *, source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Published names → ours, and the published names that matching does not use.

    Raises:
        CheckpointError: a key has no place, or one that sizes are read from is missing.
    """
    translated, ignored, unknown = {}, [], []
    for key, value in state.items():
        (name,) = plain_names({key: value}, source=source)
        prefix = next((p for p in KEY_PREFIXES if name.startswith(p)), None)
        if prefix is None:
            unknown.append(key)
        elif (ours := KEY_PREFIXES[prefix]) is not None:
            translated[ours + name.removeprefix(prefix)] = value
        else:
            ignored.append(key)
    if unknown:
        raise CheckpointError(f"{source}: these keys are not of a BPBReID model: {', '.join(unknown)}.")
    needed = {
        "part_classifier.classifier.weight": 4, "heads.parts.layers.0.weight": 2, "global_neck.classifier.weight": 2
    }  # fmt: skip
    if missing := [key for key, ndim in needed.items() if key not in translated or translated[key].ndim != ndim]:
        raise CheckpointError(f"{source} is not a whole BPBReID model: missing keys {', '.join(missing)}.")
    return translated, tuple(ignored)


def _read(path: Path) -> dict[str, Any]:
    scalar = np.float64(0).__reduce__()[0]
    allowed = [
        # The only dictionaries that PyTorch's restricted unpickler fills are plain, ordered and counting ones.
        (OrderedDict, "yacs.config.CfgNode"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        np.dtypes.Float64DType,
        np.dtypes.Float32DType,
        np.dtypes.Int64DType,
    ]
    content = read_weights_file(path, allowed=allowed)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dictionary with an entry 'state_dict'.")
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise CheckpointError(f"{path}: its 'state_dict' must map names to tensors.")
    size = path.stat().st_size  # a view that repeats a number may claim any size, which the model would then have
    if large := [key for key, value in state.items() if value.numel() * value.element_size() > size]:
        raise CheckpointError(f"{path}: {large[0]} is larger than the whole file: {tuple(state[large[0]].shape)}.")
    return {**content, "state_dict": state}


def _backbone(state: Mapping[str, Tensor], source: str) -> str:
    for key, name in _BACKBONES.items():
        if key in state:
            return name
    raise CheckpointError(
        f"{source}: its backbone is none of {', '.join(_BACKBONES.values())}, judged by the names of its tensors."
    )


def _metrics(content: Mapping[str, Any]) -> dict[str, float]:
    """The scores and the epoch that the file stores, those that are finite numbers."""
    metrics = {}
    for key in _METRICS:
        try:
            value = float(content[key])
        except (KeyError, TypeError, ValueError, RuntimeError):  # not there, or no number: nothing depends on it
            continue
        if math.isfinite(value):
            metrics[key] = value
    return metrics
