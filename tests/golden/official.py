"""Rebuilds the weights behind ``official_r50_k5.npz`` and ``osnet_*.npz`` from their key lists."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent


def official_state_dict(keys_file: str) -> dict[str, Tensor]:
    """A published-style state dict whose values derive from the key names alone."""
    keys: dict[str, list[int]] = json.loads((FOLDER / keys_file).read_text())
    return {key: _fill(key, shape, keys) for key, shape in keys.items()}


def _fill(key: str, shape: list[int], keys: dict[str, list[int]]) -> Tensor:
    z = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape)
    kind = key.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return torch.tensor(0)
    if kind == "running_mean" or kind == "bias":
        value = 0.1 * z
    elif kind == "running_var":
        value = 1 + 0.1 * np.abs(z)
    elif key.removesuffix("weight") + "running_mean" in keys or len(shape) == 1:  # of a batch or an instance norm
        value = 1 + 0.1 * z
    else:
        value = z * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))
