"""A network in OpenVINO's format (IR): ``.xml`` says the graph, ``.bin`` beside it holds the numbers.

Read here rather than by OpenVINO, because its weights are to be trained, and because a model that stands on such a file must not
need OpenVINO to run. What the operations mean: OpenVINO's operation sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from torch.nn import functional as F

from partreid.errors import CheckpointError
from partreid.models.backbones import operations as op
from partreid.models.backbones.graph import Graph, Node
from partreid.models.backbones.operations import Value

_LARGEST_XML = 64 * 2**20
_TYPES = {"f32": np.float32, "f16": np.float16, "f64": np.float64, "i64": np.int64, "i32": np.int32}
_MOST_WHOLE = 1024
"""Whole numbers in one constant: they are shapes and axes."""


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one.strip())


def _pads(data: Mapping[str, str]) -> tuple[int, ...]:
    if data.get("auto_pad", "explicit") not in ("explicit", "valid", "notset"):
        raise ValueError(f"auto_pad = {data['auto_pad']} is not supported")
    return (*_ints(data["pads_begin"]), *_ints(data["pads_end"]))


def _convolution(data: Mapping[str, str]) -> Callable[..., Value]:
    return partial(op.convolution, stride=_ints(data["strides"]), pads=_pads(data), dilation=_ints(data["dilations"]))


def _max_pool(data: Mapping[str, str]) -> Callable[..., Value]:
    if set(_ints(data.get("dilations", "1"))) != {1}:
        raise ValueError("a dilated maximum is not supported")
    return partial(op.max_pool, **_window(data))


def _average_pool(data: Mapping[str, str]) -> Callable[..., Value]:
    pads = _pads(data)
    if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        raise ValueError("a mean with uneven padding is not supported")
    return partial(op.average_pool, **_window(data), count_pads=data["exclude-pad"] != "true")


def _window(data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kernel": _ints(data["kernel"]), "stride": _ints(data["strides"]), "pads": _pads(data),
        "ceil": data.get("rounding_type", "floor") == "ceil",
    }  # fmt: skip


def _norm(data: Mapping[str, str]) -> Callable[..., Value]:
    if data["normalize_variance"] != "true" or data["eps_mode"].lower() != "inside_sqrt":
        raise ValueError("MVN without variance, or with eps outside the root, is not supported")
    eps = float(data["eps"])
    return lambda x, axes, *affine: op.instance_norm(x, *affine, axes=axes, eps=eps)


def _mean(data: Mapping[str, str]) -> Callable[..., Value]:
    keep = data["keep_dims"] == "true"
    return lambda x, axes: x.mean(dim=tuple(axes if isinstance(axes, list) else [axes]), keepdim=keep)


def _broadcast(function: Callable[[Any, Any], Any]) -> Callable[[Mapping[str, str]], Callable[..., Value]]:
    def build(data: Mapping[str, str]) -> Callable[..., Value]:
        if data.get("auto_broadcast", "numpy") != "numpy":
            raise ValueError(f"auto_broadcast = {data['auto_broadcast']} is not supported")
        return function

    return build


_OPERATIONS: dict[str, Callable[[Mapping[str, str]], Callable[..., Value]]] = {
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "MaxPool": _max_pool,
    "AvgPool": _average_pool,
    "MVN": _norm,
    "ReduceMean": _mean,
    "Add": _broadcast(lambda a, b: a + b),
    "Subtract": _broadcast(lambda a, b: a - b),
    "Multiply": _broadcast(lambda a, b: a * b),
    "Divide": _broadcast(lambda a, b: a / b),
    "ReLU": lambda data: torch.relu,
    "PReLU": lambda data: op.prelu,
    "Sigmoid": lambda data: torch.sigmoid,
    "Tanh": lambda data: torch.tanh,
    "HSwish": lambda data: F.hardswish,
    "Swish": lambda data: F.silu,
    "Sqrt": lambda data: torch.sqrt,
    "Clamp": lambda data: partial(torch.clamp, min=float(data["min"]), max=float(data["max"])),
    "Softmax": lambda data: partial(torch.softmax, dim=int(data["axis"])),
    "MatMul": lambda data: partial(
        op.matmul, transpose_a=data.get("transpose_a") == "true", transpose_b=data.get("transpose_b") == "true"
    ),
    "Reshape": lambda data: partial(op.reshape, zero_copies=data.get("special_zero") == "true"),
    "Transpose": lambda data: lambda x, order: x.permute(order),
    "ShapeOf": lambda data: op.shape_of,
    "Gather": lambda data: op.gather,
    "Concat": lambda data: partial(op.concat, axis=int(data["axis"])),
    "Convert": lambda data: lambda x: x,
}
"""Attributes → function, by the operation's type."""


def read_openvino(path: Path) -> Graph:
    """The graph of an ``.xml`` file; the numbers stay in the ``.bin`` beside it until they are asked for.

    Raises:
        CheckpointError: no such file, damaged, or with an operation, a type or a size that is not supported.
    """
    layers, edges = _parts(path)
    numbers = _numbers(path.with_suffix(".bin"))
    try:
        return _Reader(path, layers, edges, numbers).graph()
    except KeyError as error:
        raise CheckpointError(f"{path} cannot be read as an OpenVINO network: it lacks {error}.") from None
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as an OpenVINO network: {error}.") from None


def _parts(path: Path) -> tuple[ElementTree.Element, ElementTree.Element]:
    if not path.is_file():
        raise CheckpointError(f"There is no network file {path}.")
    if path.stat().st_size > _LARGEST_XML:
        raise CheckpointError(f"{path} was refused: a graph of {path.stat().st_size} bytes.")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise CheckpointError(f"{path} was refused: a network declares no document type or entities of its own.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CheckpointError(f"{path} is no whole XML file: {error}.") from None
    layers, edges = root.find("layers"), root.find("edges")
    if root.tag != "net" or layers is None or edges is None:
        raise CheckpointError(f"{path} is no OpenVINO network: expected <net> with <layers> and <edges>.")
    return layers, edges


def _numbers(path: Path) -> np.ndarray:
    if not path.is_file():
        raise CheckpointError(f"There is no {path}: an OpenVINO network is an .xml file and the .bin beside it.")
    return np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)


class _Reader:
    """From layers and edges to a :class:`Graph`."""

    def __init__(
        self, path: Path, layers: ElementTree.Element, edges: ElementTree.Element, numbers: np.ndarray
    ) -> None:
        self.path, self.numbers = path, numbers
        self.layers = {layer.attrib["id"]: layer for layer in layers}
        if len(self.layers) != len(layers):
            raise ValueError("two layers have the same id")
        self.inputs: dict[str, dict[int, tuple[str, int]]] = {identity: {} for identity in self.layers}
        for edge in edges:
            to, port = edge.attrib["to-layer"], int(edge.attrib["to-port"])
            if port in self.inputs[to]:
                raise ValueError(f"two edges lead to port {port} of layer {to}")
            self.inputs[to][port] = (edge.attrib["from-layer"], int(edge.attrib["from-port"]))
        self.names = self._unique_names()
        self.weights: dict[str, np.ndarray] = {}
        self.constants: dict[str, Value] = {}
        self.behind: set[str] = set()  # values behind the first weights

    def _unique_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for identity, layer in self.layers.items():
            name = layer.attrib.get("name") or identity
            names[identity] = f"{name}.{identity}" if name in names.values() or not name else name
        return names

    def graph(self) -> Graph:
        kinds = {identity: layer.attrib["type"] for identity, layer in self.layers.items()}
        images = [identity for identity, kind in kinds.items() if kind == "Parameter"]
        answers = [identity for identity, kind in kinds.items() if kind == "Result"]
        if len(images) != 1 or len(answers) != 1:
            raise ValueError(f"expected one input and one output, got {len(images)} and {len(answers)}")
        shape = self._input_shape(images[0])
        read = [self._node(identity) for identity in self._order(answers[0])]
        output = self._source(self.inputs[answers[0]][0])
        nodes = fused([node for node in read if node is not None], self.weights)
        files = (self.path, self.path.with_suffix(".bin"))
        return Graph(
            str(self.path), tuple(nodes), self.names[images[0]], output, shape, self.weights, self.constants, files
        )

    def _input_shape(self, identity: str) -> tuple[int | None, ...]:
        text = self.layers[identity].find("data").attrib["shape"]  # type: ignore[union-attr]
        sizes = [int(one) if one.strip().isdigit() else None for one in text.split(",")]
        if len(sizes) != 4 or sizes[1] != 3:
            raise ValueError(f"expected images of the shape N,3,H,W, got {text}")
        return (1, 3, *sizes[2:])

    def _order(self, end: str) -> list[str]:
        """Layers that the answer needs, each behind its inputs."""
        order: list[str] = []
        state: dict[str, bool] = {}  # False = its inputs are being looked at
        stack = [self._from(end, 0)[0]]
        while stack:
            identity = stack[-1]
            if identity not in state:
                state[identity] = False
                for source, _ in self.inputs[identity].values():
                    if state.get(source) is False:
                        raise ValueError(f"layer {source} waits for its own answer: the graph has a cycle")
                    if source not in state:
                        stack.append(source)
                continue
            stack.pop()
            if not state[identity]:
                state[identity] = True
                order.append(identity)
        return order

    def _from(self, identity: str, port: int) -> tuple[str, int]:
        return self.inputs[identity][port]

    def _source(self, edge: tuple[str, int]) -> str:
        """The name of the value that an edge carries. Converting between kinds of numbers changes none here."""
        identity, _ = edge
        while self.layers[identity].attrib["type"] == "Convert":
            identity, _ = self.inputs[identity][0]
        outputs = self.layers[identity].findall("output/port")
        if outputs and edge[0] == identity and int(outputs[0].attrib["id"]) != edge[1]:
            raise ValueError(f"layer {identity}: its second output is used, which is not supported")
        return self.names[identity]

    def _node(self, identity: str) -> Node | None:
        layer = self.layers[identity]
        kind, edges = layer.attrib["type"], self.inputs[identity]
        if kind in ("Parameter", "Const", "Convert"):
            return None
        if kind not in _OPERATIONS:
            raise ValueError(f"its operation {kind} (layer {self.names[identity]!r:.80}) is not supported")
        if sorted(edges) != list(range(len(edges))):
            raise ValueError(f"layer {identity} lacks an input")
        data = layer.find("data")
        call = _OPERATIONS[kind]({} if data is None else data.attrib)
        sources = tuple(self._source(edges[port]) for port in range(len(edges)))
        if kind in _LEARNED or any(name in self.behind for name in sources):
            self.behind.add(self.names[identity])
        for port, source in enumerate(sources):
            self._constant(edges[port], source, learned=kind in _LEARNED or self.names[identity] in self.behind)
        if kind == "GroupConvolution":
            call = self._grouped(call, sources[1])
        return Node(self.names[identity], kind, call, sources)

    def _grouped(self, call: Callable[..., Value], name: str) -> Callable[..., Value]:
        """The call with its number of groups; weights [G, O, I, h, w] become [G·O, I, h, w]."""
        weight = self.weights.get(name)
        if weight is None or weight.ndim != 5:
            raise ValueError(f"expected weights [G, O, I, h, w] of the grouped convolution {name!r:.80}")
        groups, outputs, *rest = weight.shape
        self.weights[name] = weight.reshape(groups * outputs, *rest)
        return partial(call, groups=groups)

    def _constant(self, edge: tuple[str, int], name: str, *, learned: bool) -> None:
        """Read the numbers of a constant, where the edge comes from one and they were not read already."""
        identity = edge[0]
        while self.layers[identity].attrib["type"] == "Convert":
            identity = self.inputs[identity][0][0]
        layer = self.layers[identity]
        if layer.attrib["type"] != "Const" or name in self.weights:
            return
        array = self._array(layer)
        if array.dtype.kind == "i":
            if array.size > _MOST_WHOLE or array.ndim > 1:
                raise ValueError(
                    f"the constant {name!r:.80} holds {array.size} whole numbers; tables are not supported"
                )
            self.constants[name] = array.tolist()
        elif learned:
            self.constants.pop(name, None)
            self.weights[name] = array
        else:
            self.constants[name] = torch.tensor(array.astype(np.float32))

    def _array(self, layer: ElementTree.Element) -> np.ndarray:
        """The numbers of a Const layer as they lie in the file."""
        data = layer.find("data").attrib  # type: ignore[union-attr]
        kind = data["element_type"]
        if kind not in _TYPES:
            raise ValueError(f"numbers of the type {kind} are not supported; expected {', '.join(_TYPES)}")
        shape, offset, size = _ints(data["shape"]), int(data["offset"]), int(data["size"])
        if min((*shape, offset, size), default=0) < 0 or prod(shape) * np.dtype(_TYPES[kind]).itemsize != size:
            raise ValueError(f"the constant {layer.attrib.get('name')!r:.80} of shape {shape} claims {size} bytes")
        if offset + size > len(self.numbers):
            raise ValueError(
                f"the constant {layer.attrib.get('name')!r:.80} ends at byte {offset + size} of a .bin of "
                f"{len(self.numbers)}"
            )
        return np.frombuffer(self.numbers[offset : offset + size], _TYPES[kind]).reshape(shape)


_LEARNED = frozenset({"Convolution", "GroupConvolution", "MatMul", "PReLU"})
"""Operations whose float constants are weights. Those of sums and products are weights behind the first of these."""


def fused(nodes: list[Node], weights: dict[str, np.ndarray]) -> list[Node]:
    """Convolutions take the sum that follows as their bias, and norms the product and the sum: fewer passes over maps."""
    uses = Counter(name for node in nodes for name in node.inputs)
    done: dict[str, Node] = {}
    for node in nodes:
        first, other = (*node.inputs, "", "")[:2]
        if node.operation in ("Add", "Multiply") and first in weights:
            first, other = other, first
        before = done.get(first)
        if before is not None and uses[first] == uses[other] == 1 and _is_channelwise(weights.get(other)):
            joined = _joined(before, node, other)
            if joined is not None:
                del done[first]
                weights[other] = weights[other].reshape(-1)
                node = joined
        done[node.name] = node
    return list(done.values())


def _joined(before: Node, node: Node, other: str) -> Node | None:
    """One node for two, where that can be."""
    if node.operation == "Add" and before.operation in ("Convolution", "GroupConvolution") and len(before.inputs) == 2:
        return Node(node.name, before.operation, before.call, (*before.inputs, other))
    if node.operation == "Multiply" and before.operation == "MVN" and len(before.inputs) == 2:
        return Node(node.name, "MVN", before.call, (*before.inputs, other))
    if node.operation == "Add" and before.operation == "MVN" and len(before.inputs) == 3:
        return Node(node.name, "MVN", before.call, (*before.inputs, other))
    return None


def _is_channelwise(weight: np.ndarray | None) -> bool:
    return weight is not None and weight.ndim == 4 and weight.size == weight.shape[1]
