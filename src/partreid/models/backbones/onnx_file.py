"""A network in ONNX's format from another program: ``.onnx``, and files beside it if it is large.

It is read here instead of run by a library, because its weights should be trained.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partreid.errors import CheckpointError
from partreid.files import nameable
from partreid.models.backbones.file_reading import (
    MOST_OPERATIONS,
    QUANTISED,
    Attributes,
    Parts,
    Step,
    assemble,
    image_shape,
    one_only,
)
from partreid.models.backbones.nodes import Graph
from partreid.models.backbones.onnx_format import FLOATS, Message, Numbers
from partreid.models.backbones.onnx_operations import OPERATIONS, OPSETS

_LARGEST_FILE = 2**31
"""Largest size in bytes, because Protocol Buffers have no larger messages."""
_DOMAINS = ("", "ai.onnx")


def read_onnx(path: Path) -> Graph:
    """The graph of an ``.onnx`` file. The numbers stay in the file, or in files beside it, until they are needed.

    Raises:
        CheckpointError: the file is missing or damaged, or has an operation, a type or a size that is not supported.
    """
    path = nameable(path, error=CheckpointError)
    if not path.is_file():
        raise CheckpointError(f"There is no network file {path}.")
    size = path.stat().st_size
    if not 0 < size < _LARGEST_FILE:
        raise CheckpointError(f"{path} was refused: an ONNX file of {size} bytes.")
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return assemble(_parts(path, Message(data), size))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as an ONNX network: {str(error).rstrip('.'):.500}.") from None


def _parts(path: Path, model: Message, size: int) -> Parts:
    graph = model.message(7)
    if graph is None or 1 not in model:
        raise ValueError("it holds no graph")
    if model.count(25):
        raise ValueError("it has functions of its own; write it with them inlined (onnx.inliner)")
    if graph.count(1) > MOST_OPERATIONS or graph.count(5) > 10 * MOST_OPERATIONS:
        told = f"{graph.count(1)} operations and {graph.count(5)} constants"
        raise ValueError(f"it has {told}; at most {MOST_OPERATIONS} operations are allowed")
    if graph.count(15):
        raise ValueError("sparse weights are not supported")
    versions = {one.text(1): one.integer(2) for one in model.messages(8)}
    version = versions.get("", versions.get("ai.onnx", 0))
    if version not in OPSETS:
        raise ValueError(f"its operation set is {version}; expected one of {OPSETS[0]} to {OPSETS[-1]}")
    parts = Parts(str(path), "", "", (), one_image=False, bytes=size)
    for tensor in graph.messages(5):
        _add_constant(parts, tensor.text(8), Numbers(tensor, path.parent, tensor.text(8)))
    inputs = {one.text(1): one for one in graph.messages(11)}
    images = [name for name in inputs if name not in parts.constants]
    parts.input = one_only("input", images)
    parts.output = one_only("output", [one.text(1) for one in graph.messages(12)])
    parts.shape, parts.one_image = image_shape(_sizes(inputs[parts.input]))
    for node in graph.messages(1):
        _add_node(parts, node, version, path.parent)
    return parts


def _add_constant(parts: Parts, name: str, numbers: Numbers) -> None:
    if name in parts.constants:
        raise ValueError(f"two things are named {name!r:.80}")
    parts.constants[name] = numbers.read
    if numbers.file is not None:
        parts.further[numbers.file[0]] = numbers.file[1]


def _sizes(value: Message) -> list[int | None]:
    """The declared shape of an input; None where it is open."""
    kind = value.message(2)
    tensor = kind.message(1) if kind else None
    shape = tensor.message(2) if tensor else None
    if tensor is None or tensor.integer(1) not in FLOATS:
        raise ValueError("expected images of floating-point numbers, normalised, as input")
    if shape is None:
        raise ValueError("its input has no shape; expected images [N, 3, H, W]")
    return [dim.integer(1) if 1 in dim else None for dim in shape.messages(1)]


def _add_node(parts: Parts, node: Message, version: int, folder: Path) -> None:
    kind, name, outputs = node.text(4), node.text(3), tuple(node.texts(2))
    try:
        if node.text(7) not in _DOMAINS:
            raise ValueError(f"it is of the domain {node.text(7)!r:.80}, which is not supported")
        if not outputs or not outputs[0]:
            raise ValueError("it gives no value")
        attributes = _attributes(node, folder, outputs[0])
        if kind == "Constant":
            _constant(parts, outputs[0], attributes)
            return
        if kind in QUANTISED:
            raise ValueError(QUANTISED[kind])
        if kind not in OPERATIONS:
            raise ValueError("it is not supported")
        operation = OPERATIONS[kind]
        told = Attributes(attributes, version, len(outputs))
        call = operation.build(told)
        told.finish()
    except ValueError as error:
        raise ValueError(f"the operation {kind!r:.40} {name or (outputs or [''])[0]!r:.80}: {error}") from None
    parts.steps.append(Step(kind, tuple(node.texts(1)), outputs, operation, call))


def _attributes(node: Message, folder: Path, name: str) -> dict[str, Any]:
    """The attributes by name: a number, a text, a list of either, or a tensor."""
    found: dict[str, Any] = {}
    for one in node.messages(5):
        key = one.text(1)
        if key in found:
            raise ValueError(f"it has the attribute {key!r:.40} twice")
        if one.count(6) or one.count(11):
            raise ValueError(f"its attribute {key!r:.40} is a graph of its own, which is not supported")
        if one.text(21):
            raise ValueError(f"its attribute {key!r:.40} refers to a function's, which is not supported")
        found[key] = _attribute(one, folder, name)
    return found


def _attribute(one: Message, folder: Path, name: str) -> Any:
    kind = one.integer(20)
    if kind == 1:
        (value,) = one.floats(2) if 2 in one else (0.0,)
        return float(value)
    if kind == 2:
        return one.integer(3)
    if kind == 3:
        return one.text(4)
    if kind == 4 and (tensor := one.message(5)) is not None:
        return Numbers(tensor, folder, name)
    if kind == 6:
        return one.floats(7).tolist()
    if kind == 7:
        return one.integers(8, _LONGEST_LIST)
    raise ValueError(f"its attribute {one.text(1)!r:.40} is of a kind that is not supported")


_LONGEST_LIST = 1024


def _constant(parts: Parts, name: str, attributes: dict[str, Any]) -> None:
    if len(attributes) != 1:
        raise ValueError("expected one value")
    ((kind, value),) = attributes.items()
    if isinstance(value, Numbers):
        _add_constant(parts, name, value)
        return
    if kind not in ("value_int", "value_ints", "value_float", "value_floats"):
        raise ValueError(f"its attribute {kind!r:.40} is not supported")
    if name in parts.constants:
        raise ValueError(f"two things are named {name!r:.80}")
    parts.constants[name] = partial(_array, value, np.int64 if "int" in kind else np.float32)


def _array(value: float | Sequence[float], kind: Any) -> np.ndarray:
    return np.array(value, kind)
