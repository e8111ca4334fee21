"""Reading published BPBReID checkpoints: one file of ``torch.save``, with the numerics of ``official_model()``.

The names in its stored configuration are not part of a published format, so this module does not rely on any of them.
It finds fields by similar names and by their values. A missing value is taken from the tensors or from the paper. Every
choice says where it comes from.

The file may hold a ``yacs`` configuration. It is read by PyTorch's restricted unpickler with an ordered
dictionary in its place: no code of the file is ever run.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
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
from partreid.objects import Guided, guided
from partreid.parts import PART_SCHEMAS, get_part_schema, unnamed_schema
from partreid.preprocessing import PreprocessConfig

_SCHEMAS = {2: "two_v", 3: "three_v", 4: "four", 5: "five_v", 6: "six_new", 8: "eight", 11: "eleven"}
_DEEPEST = 8
_SIZES, _LARGE = {"resnet50": (256, 128)}, (384, 128)  # paper §4.2: ResNet-50; HRNet-W32 and ResNet-50-IBN


@dataclass(frozen=True)
class OfficialOptions:
    """Values that the user knows better than the file; None = as the file says.

    Attributes:
        parts: name of the part schema. height, width: of the input in pixels.
    """

    parts: str | None = None
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class FoundSetting:
    """A value and its origin in words; ``assumed`` if the file does not tell it."""

    value: Any
    source: str
    assumed: bool = False


class StoredConfig:
    """The configuration in a checkpoint, whatever its fields are called.

    Args:
        content: nested mappings; anything else counts as an empty configuration.
    """

    def __init__(self, content: Any) -> None:
        self.entries = tuple(_walk(content))

    def schema(self, num_parts: int, chosen: str | None) -> FoundSetting:
        """The part schema's name: the user's choice, or the one that a field names, or the usual one for K.

        Raises:
            ConfigError: the chosen one does not exist or has another number of parts.
        """
        if chosen is not None:
            if len(get_part_schema(chosen)) != num_parts:
                raise ConfigError(
                    f"The model has K = {num_parts} parts, and the part schema {chosen!r} has "
                    f"{len(get_part_schema(chosen))}. Schemas with {num_parts}: {', '.join(_of_length(num_parts))}."
                )
            return FoundSetting(chosen, "chosen")
        for key, value in self.entries:
            if isinstance(value, str) and value in _of_length(num_parts):
                return FoundSetting(value, f"stored configuration, {key}")
        if num_parts == 5 and any("occluded" in text.lower() for text in self._training_sets()):
            return FoundSetting(
                "five", "trained on an occluded set (stored configuration), where the paper's K = 5 is this"
            )
        name = _SCHEMAS.get(num_parts) or unnamed_schema(num_parts).name
        others = [other for other in _of_length(num_parts) if other != name]
        hint = f"; it may be {' or '.join(others)}" if others else ""
        source = f"assumed, the usual one for K = {num_parts}{hint}; matching does not depend on the names"
        return FoundSetting(name, source, assumed=True)

    def preprocess(self, backbone: str, options: OfficialOptions) -> dict[str, FoundSetting]:
        """Input size and normalisation by the fields of ``PreprocessConfig``."""
        height, width = _SIZES.get(backbone, _LARGE)
        default = PreprocessConfig()
        return {
            "height": FoundSetting(options.height, "chosen") if options.height else self._number("height", height),
            "width": FoundSetting(options.width, "chosen") if options.width else self._number("width", width),
            "mean": self._channels("mean", default.mean, lowest=0.0),
            "std": self._channels("std", default.std, lowest=1e-3),
        }

    def _number(self, name: str, default: int) -> FoundSetting:
        for key, value in self.entries:
            if key.rpartition(".")[2].lower() == name and isinstance(value, int) and not isinstance(value, bool):
                return FoundSetting(value, f"stored configuration, {key}")
        return FoundSetting(default, "assumed, the paper's for this backbone", assumed=True)

    def _channels(self, name: str, default: Sequence[float], *, lowest: float) -> FoundSetting:
        """Three numbers in [0, 1] under a key that is ``name`` or ends in it."""
        for key, value in self.entries:
            last = key.rpartition(".")[2].lower()
            if (last != name and not last.endswith(f"_{name}")) or not isinstance(value, list | tuple):
                continue
            if len(value) == 3 and all(isinstance(v, int | float) and lowest <= v <= 1 for v in value):
                return FoundSetting(tuple(map(float, value)), f"stored configuration, {key}")
        return FoundSetting(tuple(default), "assumed, ImageNet's", assumed=True)

    def _training_sets(self) -> Iterator[str]:
        for key, value in self.entries:
            if key.rpartition(".")[2].lower() == "sources":
                yield from map(str, value if isinstance(value, list | tuple) else [value])


def _of_length(num_parts: int) -> list[str]:
    return [name for name, schema in PART_SCHEMAS.items() if len(schema) == num_parts]


def _walk(node: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) of nested dictionaries whose value is no dictionary, down to a reasonable depth."""
    if isinstance(node, Mapping) and depth < _DEEPEST:
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from _walk(value, f"{prefix}{key}.", depth + 1)
            else:
                yield f"{prefix}{key}", value


KEY_PREFIXES: dict[str, str | None] = {
    "backbone_appearance_feature_extractor.classifier.": None,
    # 1920 → 512 channels after HRNet's joined map. Nothing uses these weights, because all heads take the 1920.
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
"""Published key prefix → ours; None = not used in matching, so these keys are ignored. The first match counts."""

_BACKBONES = {  # a key that only this backbone has → its name; the first one found counts
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
        choices: values and their origins by name: backbone, parts, height, width, mean, std.
    """

    checkpoint: Checkpoint
    used: tuple[str, ...]
    ignored: tuple[str, ...]
    choices: Mapping[str, FoundSetting]


@guided
def load_official(path: str | Path, *, options: OfficialOptions | None = None) -> Checkpoint:
    """Read a published BPBReID checkpoint (ResNet-50, HRNet-W32), with a warning about assumed values.

    Args:
        path: the ``.pth.tar`` file. options: part schema and input size, if you know them better than the file.

    Returns:
        The model in evaluation mode. Part names, input size and normalisation come from the stored configuration.

    Raises:
        CheckpointError: the file is missing or damaged, contains more than tensors and a configuration, has an unknown
            backbone, or keys that do not fit (all are listed).
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
    backbone = next((name for key, name in _BACKBONES.items() if key in state), "")
    if not backbone:
        offered = ", ".join(_BACKBONES.values())
        raise CheckpointError(f"{path}: its backbone is none of {offered}, judged by the names of its tensors.")
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
        CheckpointError: a key is unknown, or a key that determines sizes is missing.
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
        # PyTorch's restricted unpickler only fills plain, ordered and counting dictionaries.
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


def _metrics(content: Mapping[str, Any]) -> dict[str, float]:
    """The scores and the epoch that the file stores, if they are finite numbers."""
    metrics = {}
    for key in _METRICS:
        try:
            value = float(content[key])
        except (KeyError, TypeError, ValueError, RuntimeError):  # missing, or no number; nothing depends on it
            continue
        if math.isfinite(value):
            metrics[key] = value
    return metrics
