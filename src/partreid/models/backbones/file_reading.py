"""Shared by the readers of network files: it turns operations and constants, in any order, into a :class:`Graph`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from partreid.models.backbones import file_numbers as num
from partreid.models.backbones import file_shapes as shapes
from partreid.models.backbones.fusing import fused
from partreid.models.backbones.nodes import SIZES, Graph, Node
from partreid.models.backbones.operations import Value

Call: TypeAlias = Callable[..., Value]

MOST_OPERATIONS = 20_000
"""Most operations of one network: ten times as many as the deepest usual networks have."""
_MOST_INPUTS = 10 * MOST_OPERATIONS
_MOST_CLAIMED = 2**31
"""Numbers of all constants together: 8 GiB."""
_LARGEST_SIDE = 4096
_MISSING: Any = object()


class Attributes:
    """The attributes of one operation. Each must be taken: one that nobody takes would be ignored, so it is refused.

    Args:
        values: by name. version: of the operation set. outputs: number of values that the operation returns.
    """

    def __init__(self, values: Mapping[str, Any], version: int = 0, outputs: int = 1) -> None:
        self._values = dict(values)
        self.version, self.outputs = version, outputs

    def take(self, name: str, default: Any = _MISSING) -> Any:
        """The attribute as it stands in the file."""
        if name not in self._values and default is _MISSING:
            raise ValueError(f"it lacks the attribute {name}")
        return self._values.pop(name, default)

    def integer(self, name: str, default: Any = _MISSING) -> int:
        """A whole number."""
        return int(self.take(name, default))

    def number(self, name: str, default: Any = _MISSING) -> float:
        """A finite number."""
        value = float(self.take(name, default))
        if not np.isfinite(value):
            raise ValueError(f"{name} = {value}")
        return value

    def integers(self, name: str, default: Any = _MISSING) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self.take(name, default)
        values = values.split(",") if isinstance(values, str) else values
        if not isinstance(values, Sequence) or len(values) > num.MOST_NUMBERS:
            raise ValueError(f"{name} is no short list of numbers")
        return tuple(int(one) for one in values if not isinstance(one, str) or one.strip())

    def positive(self, name: str, default: Any = ()) -> tuple[int, ...]:
        """A kernel, strides or dilations: numbers from 1 to the largest side of a map."""
        values = self.integers(name, default)
        if any(not 1 <= value <= _LARGEST_SIDE for value in values):
            raise ValueError(f"{name} = {list(values)}; expected 1 to {_LARGEST_SIDE}")
        return values

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        """Yes or no."""
        value = self.take(name, default)
        if str(value).lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{name} = {value!r:.40}, expected yes or no")
        return str(value).lower() in ("true", "1")

    def one_of(self, name: str, allowed: Sequence[Any], default: Any = _MISSING) -> Any:
        """The attribute, which must be one of those that are computed exactly."""
        value = self.take(name, default)
        if value not in allowed:
            raise ValueError(f"{name} = {value!r:.40} is not supported; expected {', '.join(map(repr, allowed))}")
        return value

    def ignore(self, *names: str) -> None:
        """Take attributes that do not change any result."""
        for name in names:
            self._values.pop(name, None)

    def finish(self) -> None:
        """Check that every attribute was taken.

        Raises:
            ValueError: one was not.
        """
        if self._values:
            raise ValueError(f"its attribute {next(iter(self._values))!r:.40} is not supported")


@dataclass(frozen=True)
class Operation:
    """How an operation of a file format is read.

    Attributes:
        build: attributes → function that computes it.
        learned: its constants are weights, and so are those of later operations.
        numbers: inputs that are plain numbers, not tensors. statistics: inputs that are never trained.
        pieces: it returns several values, and any of them may be used.
    """

    build: Callable[[Attributes], Call]
    learned: bool = False
    numbers: tuple[int, ...] = ()
    statistics: tuple[int, ...] = ()
    pieces: bool = False


@dataclass(frozen=True)
class Step:
    """One operation of a file: names of its inputs ("" = left out) and outputs, and the function that computes it."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operation: Operation
    call: Call


@dataclass
class Parts:
    """The content of a file, as a reader found it.

    Attributes:
        source: the file, for messages. steps: in any order. constants: by name, a function that reads the numbers.
        input, output, shape, one_image: as in :class:`Graph`.
        bytes: size of the file that may contain numbers. further: files beside it, and their sizes.
    """

    source: str
    input: str
    output: str
    shape: tuple[int | None, ...]
    one_image: bool
    bytes: int
    steps: list[Step] = field(default_factory=list)
    constants: dict[str, Callable[[], np.ndarray]] = field(default_factory=dict)
    further: dict[Path, int] = field(default_factory=dict)


def image_shape(sizes: Sequence[int | None]) -> tuple[tuple[int | None, ...], bool]:
    """From an input's declared sizes: the size of one image, and whether the file was made for one image at a time.

    Raises:
        ValueError: the input is not for images.
    """
    told = f"[{', '.join('?' if size is None else str(size) for size in sizes[:8])}]"
    if len(sizes) != 4 or sizes[1] not in (3, None):
        raise ValueError(f"expected images [N, 3, H, W], got {told}")
    if sizes[0] not in (None, 1):
        raise ValueError(f"it was made for {sizes[0]} images at a time, {told}; write it for 1, or for any number")
    if any(size is not None and not 1 <= size <= _LARGEST_SIDE for size in sizes[2:]):
        raise ValueError(f"images of the size {told}; 1 to {_LARGEST_SIDE} are allowed")
    return (1, 3, *sizes[2:]), sizes[0] == 1


def one_only(what: str, names: Sequence[str]) -> str:
    """The only input or output.

    Raises:
        ValueError: there is none, or there are several; the message names them.
    """
    if len(names) != 1:
        told = ", ".join(f"{name!r:.80}" for name in names[:8]) or "none"
        advice = "images" if what == "input" else "the embedding, or the map"
        raise ValueError(f"expected one {what}, {advice}; got {told}. Write the network again with that one only")
    return names[0]


_ADVICE = "it is of a quantised network, which cannot be trained on; take the file it was made from"
QUANTISED = dict.fromkeys(
    ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
     "MatMulInteger", "FakeQuantize", "FakeConvert"),
    _ADVICE,
)  # fmt: skip
"""Operations on eight-bit numbers, and the message about them."""


def assemble(parts: Parts) -> Graph:
    """The graph of everything that the answer needs. Each operation comes after its inputs.

    Raises:
        ValueError: a name has no value, or two; there is a cycle; there are too many operations; or constants are not
            finite, or claim more bytes than the file has.
    """
    steps = _ordered(parts)
    learned, direct, statistics = _learned(parts, steps)
    nodes, wanted, plain = _nodes(steps, parts)
    wanted |= {parts.output}
    weights: dict[str, np.ndarray] = {}
    constants: dict[str, Value] = {}
    claimed, held = 0, parts.bytes + sum(parts.further.values())
    for name, read in parts.constants.items():
        if name not in wanted and plain.get(name) not in wanted:
            continue
        array = read()
        claimed += array.size
        if claimed > min(held + 2**20, _MOST_CLAIMED):
            raise ValueError(f"its constants claim more numbers than a file of {held} bytes holds, or than fit")
        _check_finite(name, array)
        if plain.get(name) in wanted or array.dtype.kind != "f":
            constants[plain.get(name, name)] = _numbers(name, array)
        if array.dtype.kind != "f":
            constants[name] = _numbers(name, array)
        elif name in wanted and (name in direct or (name in learned and array.size != 1)):
            weights[name] = _weight(name, array)
        elif name in wanted:
            constants[name] = float(array) if array.ndim == 0 else torch.tensor(np.asarray(array, np.float32))
    return Graph(
        parts.source, tuple(fused(nodes, weights)), parts.input, parts.output, parts.shape, weights, constants,
        statistics=frozenset(statistics & set(weights)), one_image=parts.one_image,
        files=(Path(parts.source), *parts.further),
    )  # fmt: skip


def _ordered(parts: Parts) -> list[Step]:
    """The steps that the answer needs, each after the steps that it needs itself."""
    if len(parts.steps) > MOST_OPERATIONS or sum(len(step.inputs) for step in parts.steps) > _MOST_INPUTS:
        raise ValueError(f"it has {len(parts.steps)} operations; at most {MOST_OPERATIONS} are allowed")
    givers: dict[str, Step | None] = {parts.input: None, **dict.fromkeys(parts.constants)}
    if parts.input in parts.constants:
        raise ValueError(f"two things are named {parts.input!r:.80}")
    for one in parts.steps:
        for name in filter(None, one.outputs):
            if name in givers:
                raise ValueError(f"two things are named {name!r:.80}")
            givers[name] = one
    order: list[Step] = []
    done: dict[int, bool] = {}  # by a step's identity; False = its inputs are being visited
    stack = [_giver(givers, parts.output)]
    while stack:
        step = stack[-1]
        if step is None or done.get(id(step)):
            stack.pop()
        elif id(step) in done:
            stack.pop()
            done[id(step)] = True
            order.append(step)
        else:
            done[id(step)] = False
            for name in filter(None, step.inputs):
                before = _giver(givers, name)
                if before is not None and done.get(id(before)) is False:
                    raise ValueError(f"{name!r:.80} waits for itself: the graph has a cycle")
                stack.append(before)
    return order


def _giver(givers: Mapping[str, Step | None], name: str) -> Step | None:
    if name not in givers:
        raise ValueError(f"nothing gives the value {name!r:.80}")
    step = givers[name]
    if step is not None and name != step.outputs[0] and not step.operation.pieces:
        raise ValueError(f"the second answer of {step.kind}, {name!r:.80}, is used, which is not supported")
    return step


def _learned(parts: Parts, steps: Sequence[Step]) -> tuple[set[str], set[str], set[str]]:
    """Values that may be weights: operands on the path from the image, from the first learned operation on.

    Returns:
        Three sets. All such values. Those that a learned operation takes itself, or that a following sum adds as its
        bias: these are weights even if they are one number. And statistics, with the values they are computed from.
    """
    reached, behind, answers = {parts.input}, set[str](), set[str]()
    learned, direct, statistics = set[str](), set[str](), set[str]()
    for step in steps:
        if reached.isdisjoint(step.inputs):
            continue
        reached.update(step.outputs)
        if step.operation.learned or not behind.isdisjoint(step.inputs):
            behind.update(step.outputs)
            learned.update(n for port, n in enumerate(step.inputs) if port not in step.operation.numbers)
            is_bias = step.kind == "Add" and not answers.isdisjoint(step.inputs)
            direct.update(step.inputs if step.operation.learned or is_bias else ())
            answers.update(step.outputs if step.operation.learned else ())
            statistics.update(n for port, n in enumerate(step.inputs) if port in step.operation.statistics)
    learned -= reached
    for step in reversed(steps):  # values from which weights are computed
        if reached.isdisjoint(step.outputs) and not learned.isdisjoint(step.outputs):
            learned.update(n for port, n in enumerate(step.inputs) if port not in step.operation.numbers)
            statistics.update(step.inputs if not statistics.isdisjoint(step.outputs) else ())
    return learned, direct - reached, statistics


def _nodes(steps: Sequence[Step], parts: Parts) -> tuple[list[Node], set[str], dict[str, str]]:
    """One node for each value; the names of the nodes' inputs; and, by constant, the inputs that are plain numbers.

    A constant is used as plain numbers by inputs that need plain numbers, and by the operations that compute them.
    """
    reckoned = set[str]()
    for step in reversed(steps):
        whole = step.kind not in SIZES and not reckoned.isdisjoint(step.outputs)
        reckoned.update(name for port, name in enumerate(step.inputs) if whole or port in step.operation.numbers)
    nodes, wanted, plain = [], set[str](), dict[str, str]()
    for step in steps:
        whole = not reckoned.isdisjoint(step.outputs)
        inputs = []
        for port, name in enumerate(step.inputs):
            numbers = name in parts.constants and (whole or port in step.operation.numbers)
            inputs.append(plain.setdefault(name, f"\0numbers of {name}") if numbers else name)
        wanted.update(inputs)
        if not step.operation.pieces:
            nodes.append(Node(step.outputs[0], step.kind, step.call, tuple(inputs)))
            continue
        pieces = f"\0pieces of {step.outputs[0]}"
        nodes.append(Node(pieces, step.kind, step.call, tuple(inputs)))
        nodes += [
            Node(name, step.kind, partial(shapes.piece, index=i), (pieces,)) for i, name in enumerate(step.outputs)
        ]
    return nodes, wanted, plain


def _check_finite(name: str, array: np.ndarray) -> None:
    flat = array.reshape(-1)
    for start in range(0, flat.size if array.dtype.kind == "f" else 0, 2**22):  # an operation's outputs take memory too
        if not np.isfinite(flat[start : start + 2**22]).all():
            raise ValueError(f"the constant {name!r:.80} holds numbers that are NaN or infinite")


def _numbers(name: str, array: np.ndarray) -> Value:
    if array.size > num.MOST_NUMBERS or array.ndim > 1:
        raise ValueError(f"the constant {name!r:.80}, {array.shape}, is a table of numbers, which is not supported")
    return array.tolist()


def _weight(name: str, array: np.ndarray) -> np.ndarray:
    if not array.size:
        raise ValueError(f"the weights {name!r:.80} are empty: {array.shape}")
    if array.ndim == 4 and len(array) > 1 and not array.any():
        raise ValueError(f"the weights {name!r:.80} are zeros only, as in files that were not copied completely")
    return array
