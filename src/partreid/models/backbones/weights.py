"""Weights in files. They are only loaded if every key is used or named, and every number fits."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from partreid.errors import CheckpointError, warn
from partreid.files import nameable
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.osnet_names import OSNETS

T = TypeVar("T")

IMAGENET_FILES = {
    "resnet18": "torchvision's, for example resnet18-f37072fd.pth",
    "resnet50": "torchvision's, for example resnet50-11ad3fa6.pth",
    "resnet50_ibn_a": "IBN-Net's, for example resnet50_ibn_a-d9d0bb7b.pth",
    "hrnet_w32": "HRNet-Image-Classification's, hrnetv2_w32_imagenet_pretrained.pth",
    **{name: f"torchreid's model zoo's, for example {name}_imagenet.pth" for name in OSNETS},
}
"""The usual ImageNet file of each backbone whose weights are not part of a Python package."""


def load_backbone_weights(backbone: Backbone, name: str, weights: str | Path) -> None:
    """Load ImageNet weights ("imagenet", or a file) into a backbone, or the weights of a network that contains it.

    Raises:
        CheckpointError: there is no such file; keys are missing, foreign or of another shape (all are listed); or
            weights are not finite floating-point numbers.
    """
    source = f"the ImageNet weights of {name}" if str(weights) == "imagenet" else str(weights)
    state = backbone.imagenet_state() if str(weights) == "imagenet" else read_state_dict(Path(weights))
    if state is None:
        usual = f" that is {IMAGENET_FILES[name]} (docs/models.md)" if name in IMAGENET_FILES else ""
        raise CheckpointError(
            f"No ImageNet weights for {name} come with a Python package. Give the path of the file{usual}, or "
            '"none" to start from random weights.'
        )
    state = _of_backbone(backbone, backbone.own_names(state, source=source), source)
    state = {backbone.key_prefix + k: v for k, v in state.items() if not k.startswith(backbone.unused_keys)}
    load_exactly(backbone, state, source=source)


def _of_backbone(backbone: Backbone, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The backbone's own keys, if the file has them among others with a prefix: ``backbone.conv1.weight``."""
    wanted = {key.removeprefix(backbone.key_prefix) for key in backbone.state_dict()}
    wanted = {key for key in wanted if not key.endswith(_COUNTER)}
    first = min(sorted(wanted), key=len)
    prefixes = {key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}")}
    fitting = {prefix: sum(prefix + key in state for key in wanted) for prefix in prefixes}
    most = max(fitting.values(), default=0)
    whole = [prefix for prefix, count in fitting.items() if count == most]
    if "" in whole or 2 * most < len(wanted):
        return state  # a file of this backbone alone, or of something else: the error names every key
    if len(whole) > 1:
        raise CheckpointError(
            f"{source} holds the backbone {len(whole)} times, below {', '.join(map(repr, sorted(whole)))}. Save the "
            "one that is meant in a file of its own."
        )
    (prefix,) = whole
    if others := sorted({key.split(".")[0] for key in state if not key.startswith(prefix)}):
        warn(f"{source}: the backbone is {prefix!r}; not used: {', '.join(others)}.")
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or PyTorch file; PyTorch files are read without running their code.

    A training's file contains them among other entries (``{"model": ..., "epoch": 3}``), and wrappers put a word before
    every name (``module.``, ``_orig_mod.``). Both are recognised.

    Raises:
        CheckpointError: the file is missing or damaged, or contains no mapping of names to tensors, or several.
    """
    content = read_weights_file(path, allowed=[argparse.Namespace])  # a training's options, plain values
    return plain_names(_innermost(content, str(path)), source=str(path))


def plain_names(state: Mapping[str, T], *, source: str) -> dict[str, T]:
    """The same tensors, with names without the words that wrappers put before them.

    Example:
        >>> plain_names({"module.conv1.weight": 1, "module._orig_mod.bn1.bias": 2}, source="a.pth")
        {'conv1.weight': 1, 'bn1.bias': 2}
    """
    plain: dict[str, T] = {}
    for key, value in state.items():
        name = _WRAPPERS.sub("", key)
        if name in plain:
            raise CheckpointError(f"{source} holds {name} twice, with a wrapper's word before it and without.")
        plain[name] = value
    return plain


_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")
"""Words of DataParallel and torch.compile in names. A compiled part of a network has the word inside its names."""

_USUAL = ("state_dict", "model_state_dict", "model", "net", "network")
"""Usual names of the network's entry in a training's file with several entries of tensors. The first one found
counts."""

_DEEPEST = 4


def _innermost(content: Any, source: str) -> dict[str, Tensor]:
    """The mapping of names to tensors in a file's content."""
    found = dict(_states(content))
    for name in _USUAL:
        usual = [path for path in found if path.rpartition(".")[2] == name]
        if len(found) > 1 and len(usual) == 1:
            return _chosen(found, usual[0], source)
    if _averaged(found):
        return _chosen(found, "teacher", source)
    if len(found) > 1:
        raise CheckpointError(
            f"{source} holds several networks: {', '.join(map(repr, found))}. Save the one that is meant in a file of "
            "its own."
        )
    if not found:
        raise CheckpointError(f"{source}: expected a mapping of names to tensors.")
    return dict(next(iter(found.values())))


def _chosen(found: Mapping[str, Mapping[str, Tensor]], path: str, source: str) -> dict[str, Tensor]:
    """Choose one of several networks. The warning names the others; for an optimiser's tensors it names their place."""
    top = path.partition(".")[0]
    others = [p if p.partition(".")[0] == top else p.partition(".")[0] for p in found if p != path]
    warn(f"{source}: the network is {path!r}; not used: {', '.join(map(repr, dict.fromkeys(others)))}.")
    return dict(found[path])


def _averaged(found: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether this is a training like DINO. Its result is the teacher, which averages the student's weights."""
    if not found.keys() >= {"student", "teacher"}:
        return False
    names = [_WRAPPERS.sub("", key) for key in found["teacher"]]
    return all(name.startswith(("backbone.", "head.")) for name in names)


def _states(content: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every (dotted place, mapping of names to tensors) in nested dictionaries."""
    if not isinstance(content, dict):
        return
    if content and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        yield path, content
    elif depth < _DEEPEST:
        for key, value in content.items():
            yield from _states(value, f"{path}.{key}" if path else str(key), depth + 1)


def read_weights_file(path: Path, *, allowed: Sequence[Any] = ()) -> Any:
    """The content of a ``.safetensors`` or PyTorch file. PyTorch's restricted unpickler reads it and runs none of its
    code.

    Args:
        path: the file, in the zip format or the older one.
        allowed: allowed classes besides tensors and containers, or (class, "name in the file"): classes of plain data.

    Raises:
        CheckpointError: the file is missing or damaged, or contains anything else; the message names it.
    """
    if not nameable(path, error=CheckpointError).is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
        # Recognise the format by the content, not the name: it begins with the length of a JSON header.
        if head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            return load_file(path)
        _refuse_bomb(path)
        # With a path, the suffix would decide.
        with path.open("rb") as file, torch.serialization.safe_globals(list(allowed)):
            return torch.load(file, "cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    # Damaged bytes can lead to any error in the restricted unpickler.
    except Exception as error:
        # PyTorch's message names the class or function that the file asked for, and advises to trust it.
        found = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if found:
            raise CheckpointError(
                f"{path} was refused and none of it was run: it holds more than tensors and plain values, "
                f"{found[1]} for one."
            ) from None
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, or holds more than tensors."
        ) from None


def _refuse_bomb(path: Path) -> None:
    """Refuse a file that unpacks to far more than its size. PyTorch never compresses, so it did not write it."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > 2 * path.stat().st_size + 2**20:
        raise CheckpointError(f"{path} was refused: it would unpack to {size} bytes, and PyTorch packs nothing.")


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a ``.safetensors`` file. Only its header is read, so claimed gigabytes take no memory."""
    if not nameable(path, error=CheckpointError).is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > _LARGEST_HEADER:
            raise ValueError(f"a header of {header} bytes")
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as weights ({error}): it is damaged.") from None


_LARGEST_HEADER = 16 * 2**20


def load_exactly(module: torch.nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load ``state`` if every key, shape and number fits. Otherwise nothing is loaded.

    Half precision is converted to the module's type. Whole numbers instead of weights are refused: they come from
    another tool's quantisation, and could not be scaled back here.

    Raises:
        CheckpointError: listing every missing key, foreign key and wrong shape, or the first tensors of wrong numbers.
    """
    wanted = module.state_dict()
    state = dict(state)
    check_shapes(wanted, {key: value.shape for key, value in state.items()}, source=source)
    for key in [key for key in state if key.endswith(_COUNTER)]:
        state[key] = _counter(state[key], wanted[key])
    problems = [f"{key} {fault}" for key, value in state.items() if (fault := _fault(key, value, wanted[key]))]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise CheckpointError(
            f"{source} holds weights that cannot be used: {'; '.join(problems[:_SHOWN])}{more}. Take the file of "
            "another epoch or program."
        )
    module.load_state_dict(state, strict=False)


def check_shapes(wanted: Mapping[str, Tensor], found: Mapping[str, Sequence[int]], *, source: str) -> None:
    """Check that tensors of these shapes fit a network. The error lists missing keys, foreign keys and wrong shapes."""
    # Files written before PyTorch 0.4.1 lack these counters; nothing computed depends on them.
    missing = [key for key in wanted if key not in found and not key.endswith(_COUNTER)]
    foreign = [key for key in found if key not in wanted]
    shapes = [
        f"{key} is {tuple(shape)}, expected {tuple(wanted[key].shape)}"
        for key, shape in found.items()
        if key in wanted and tuple(shape) not in (tuple(wanted[key].shape), (1,) if key.endswith(_COUNTER) else None)
    ]
    problems = [
        f"{title} ({len(keys)}): {', '.join(keys)}"
        for title, keys in (("missing keys", missing), ("foreign keys", foreign), ("wrong shapes", shapes))
        if keys
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit the model: " + "; ".join(problems) + ".")


_COUNTER = "num_batches_tracked"
"""The key of a batch norm's counter of batches. Apex and old PyTorch wrote it with a dimension, networks in half
precision as a float."""

_SHOWN = 5
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _counter(value: Tensor, mine: Tensor) -> Tensor:
    """A counter in the module's form. If the file's is no number, the module's own."""
    numbers = (
        value.dtype in (*_FLOATS, torch.int64, torch.int32) and value.layout == torch.strided and not value.is_meta
    )
    return value.reshape(mine.shape).to(mine.dtype) if numbers and bool(torch.isfinite(value).all()) else mine


def _fault(key: str, value: Tensor, mine: Tensor) -> str:
    """What is wrong with the numbers of a tensor of the right shape; "" = nothing."""
    if value.layout != torch.strided or value.is_meta:
        return f"is no plain tensor ({value.layout}, {value.device})"
    if mine.dtype in _FLOATS:
        if value.dtype not in _FLOATS:
            return f"is {_name(value)}, expected floating point"
        value = value.detach().to(mine.dtype)
        if not torch.isfinite(value).all():
            return f"has {int((~torch.isfinite(value)).sum())} of {value.numel()} numbers that are NaN or infinite"
        if key.endswith("running_var") and bool((value < 0).any()):
            return "has a negative variance"
        # A kernel of several channels. A factor per channel, [1, C, 1, 1], may be 0 in a network that does not use it.
        if ((value.ndim == 4 and len(value) > 1) or key.endswith("running_var")) and not value.any():
            return "holds zeros only, as in files that were not copied completely"
    elif value.dtype != mine.dtype:
        return f"is {_name(value)}, expected {_name(mine)}"
    return ""


def _name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
