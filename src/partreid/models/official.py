"""Reading published BPBReID checkpoints: one file of ``torch.save``, with the numerics of ``official_model()``.

The file may hold a ``yacs`` configuration. It is read by PyTorch's restricted unpickler with an ordered
dictionary in its place: no code of the file is ever run.
"""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partreid.errors import CheckpointError
from partreid.models.backbones.weights import load_exactly
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint
from partreid.models.config import ModelConfig, official_model
from partreid.parts import PART_SCHEMAS, unnamed_schema
from partreid.preprocessing import PreprocessConfig

KEY_PREFIXES: dict[str, str | None] = {
    "backbone_appearance_feature_extractor.classifier.": None,
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

_DEFAULT_SCHEMAS = {2: "two_v", 3: "three_v", 4: "four", 5: "five_v", 6: "six_new", 8: "eight", 11: "eleven"}


def load_official(path: str | Path) -> Checkpoint:
    """Read a published BPBReID checkpoint (ResNet-50).

    Args:
        path: the ``.pth.tar`` file.

    Returns:
        The model in evaluation mode. Part names and input size come from the stored configuration; without
        one the parts are named from K, with a warning.

    Raises:
        CheckpointError: missing, damaged, holding more than tensors and a configuration, of an unknown
            backbone, or with keys that do not fit (all are listed).
    """
    content = _read(Path(path))
    state = translate_keys(content["state_dict"], source=str(path))
    num_parts = state["part_classifier.classifier.weight"].shape[0] - 1
    stored = content.get("config")
    config = official_model().model_copy(
        update={
            "backbone": _backbone(state, str(path)),
            "parts": _schema_name(num_parts, stored, str(path)),
            "embedding_dim": state["heads.parts.layers.0.weight"].shape[0],
        }
    )
    model = BPBReID(ModelConfig.parse(config.model_dump()), state["global_neck.classifier.weight"].shape[0])
    load_exactly(model, state, source=str(path))
    metrics: dict[str, float] = {key: float(content[key]) for key in ("rank1", "mAP", "epoch") if key in content}
    return Checkpoint(model.eval(), _preprocess(stored), metrics)


def translate_keys(state: dict[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Published names → ours; keys that matching does not use are dropped by name.

    Raises:
        CheckpointError: a key has no place, or one that sizes are read from is missing.
    """
    translated, unknown = {}, []
    for key, value in state.items():
        name = key.removeprefix("module.")
        prefix = next((p for p in KEY_PREFIXES if name.startswith(p)), None)
        if prefix is None:
            unknown.append(key)
        elif (ours := KEY_PREFIXES[prefix]) is not None:
            translated[ours + name.removeprefix(prefix)] = value
    if unknown:
        raise CheckpointError(f"{source}: these keys are not of a BPBReID model: {', '.join(unknown)}.")
    needed = ("part_classifier.classifier.weight", "heads.parts.layers.0.weight", "global_neck.classifier.weight")
    if missing := [key for key in needed if key not in translated]:
        raise CheckpointError(f"{source} is not a whole BPBReID model: missing keys {', '.join(missing)}.")
    return translated


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    scalar = np.float64(0).__reduce__()[0]
    allowed = [
        # The only dictionaries that PyTorch's restricted unpickler fills are plain, ordered and counting ones.
        (OrderedDict, "yacs.config.CfgNode"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        np.dtypes.Float64DType,
        np.dtypes.Float32DType,
    ]
    try:
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds more than tensors and a configuration. None of it was run."
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read, it is damaged or no PyTorch file: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path}: expected a dictionary with an entry 'state_dict'.")
    return content


def _backbone(state: dict[str, Tensor], source: str) -> str:
    if "backbone.layer4.2.conv3.weight" in state and not any(".IN." in key for key in state):
        return "resnet50"
    raise CheckpointError(
        f"{source}: only ResNet-50 checkpoints can be read so far; this backbone's layers are those of another network."
    )


def _schema_name(num_parts: int, stored: Any, source: str) -> str:
    """The grouping that the stored configuration names, else one for K."""
    for _, value in _walk(stored):
        if isinstance(value, str) and value in PART_SCHEMAS and len(PART_SCHEMAS[value]) == num_parts:
            return value
    name = _DEFAULT_SCHEMAS.get(num_parts) or unnamed_schema(num_parts).name
    warnings.warn(
        f"{source} stores no part grouping: its {num_parts} parts are named after {name!r}, which may be wrong. "
        f"Matching does not depend on the names.",
        stacklevel=3,
    )
    return name


def _preprocess(stored: Any) -> PreprocessConfig:
    size = {key: value for key, value in _walk(stored) if key in ("height", "width") and isinstance(value, int)}
    return PreprocessConfig.parse(size)


def _walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) of nested dictionaries that is not itself a dictionary."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict):
                yield from _walk(value)
            else:
                yield str(key), value
