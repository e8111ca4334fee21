"""A network that is read from a file as a graph of operations, and what of it is a backbone.

The readers (``openvino_file.py``, ``onnx_file.py``) make a :class:`Graph`; nothing in it has been computed yet. The sizes of all values are
then found out without memory for them, and only a graph whose sizes agree gets its weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from partreid.errors import ConfigError, ShapeError
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.file_input import file_input
from partreid.models.backbones.network_files import NetworkFiles
from partreid.models.backbones.operations import Value

_MOST_NUMBERS = 2**28
"""Of one value of a network for one image; 1 GiB."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: of the value that it gives. operation: its name in the file, for messages.
        call: computes the value. inputs: names of the values it is computed from; "" stands for None.
    """

    name: str
    operation: str
    call: Callable[..., Value]
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """What a file holds.

    Attributes:
        source: the file, for messages.
        nodes: in an order in which each finds its inputs.
        input, output: names of the images' value and of the network's answer.
        shape: of the input for one image, [1, 3, H, W], with None where the file leaves a size open.
        weights: numbers that are learned, as they lie in the file; memory for them is taken last.
        constants: other values: small tensors, whole numbers, lists of them.
        files: that the graph was read from: its own first, then those of its numbers.
    """

    source: str
    nodes: tuple[Node, ...]
    input: str
    output: str
    shape: tuple[int | None, ...]
    weights: Mapping[str, np.ndarray]
    constants: Mapping[str, Value] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def run(nodes: Sequence[Node], values: dict[str, Value], keep: frozenset[str], *, source: str) -> dict[str, Value]:
    """Compute nodes in their order; what is not kept is forgotten after its last use.

    Args:
        nodes: of a graph. values: those that are there already. keep: names that are wanted. source: for messages.

    Raises:
        ShapeError: an operation refuses the sizes that it meets.
    """
    last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
    values = {"": None, **values}
    for index, node in enumerate(nodes):
        try:
            values[node.name] = node.call(*(values[name] for name in node.inputs))
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ShapeError(f"{source}: the operation {node.operation} {node.name!r:.80} fails: {line:.200}") from None
        for name in node.inputs:
            if last[name] == index and name not in keep and name:
                values.pop(name, None)
    return values


class FileBackbone(Backbone):
    """A network read from a file, up to its feature map; and its own embedding behind it.

    The feature map is the last value of height and width through which every way from the image to the answer leads:
    what follows pools. Every weight can be trained.

    Args:
        graph: what the file holds.
        map_name: another value as the feature map; None = the one told above.
        files: their bytes, which a checkpoint carries along; None = the model can only be used, and not be saved.

    Attributes:
        size: (height, width) that the file was made for; None where it leaves them open.
        reads: what the file says of its input.

    Raises:
        ConfigError: there is no such value, or none has the shape of a feature map.
        ShapeError: the sizes in the file contradict each other.
    """

    def __init__(self, graph: Graph, map_name: str | None = None, *, files: NetworkFiles | None = None) -> None:
        super().__init__()
        self.source, self.files = graph.source, files
        shape = [1, 3, *(fallback if size is None else size for size, fallback in zip(graph.shape[2:], (256, 128)))]
        self.size = None if None in graph.shape[2:] else (shape[2], shape[3])
        self._input, self._output = graph.input, graph.output
        needed = _ancestors(graph.nodes, {graph.output})
        shapes = _shapes(graph, shape)
        self.reads = file_input(graph, files, self.size, _passages(graph, needed, graph.output))
        if map_name is None:
            map_name = _last_map(graph, needed, shapes)
        elif map_name not in shapes or len(shapes[map_name]) != 4:
            maps = [name for name, size in shapes.items() if len(size) == 4 and prod(size[2:]) > 1]
            raise ConfigError(f"{graph.source} has no feature map {map_name!r}. It has: {', '.join(maps[-8:])}.")
        self._map = map_name
        _, self.channels, height, width = shapes[map_name]
        self.output_stride = self.input_multiple = _stride(shape, shapes[map_name], graph.source, map_name)
        before = _ancestors(graph.nodes, {map_name})
        self._stage_names = _stages(graph, before, shapes, shape, map_name)
        self.stage_channels = {stride: shapes[name][1] for stride, name in self._stage_names.items()}
        self._before = tuple(node for node in graph.nodes if node.name in before)
        after = tuple(node for node in graph.nodes if node.name in needed and node.name not in before)
        reached = {map_name, "", *graph.weights, *graph.constants, *(node.name for node in after)}
        whole = map_name in needed and all(name in reached for node in after for name in node.inputs)
        self._after = after if whole and len(shapes[graph.output]) >= 2 else ()
        self.vector_dim = prod(shapes[graph.output][1:]) if self._after else None
        used = {name for node in (*self._before, *self._after) for name in node.inputs}
        self._constants = {name: value for name, value in graph.constants.items() if name in used}
        self.weights = nn.Module()
        self._names: dict[str, str] = {}
        for name in (name for name in graph.weights if name in used):
            self._add(name, torch.tensor(np.asarray(graph.weights[name], dtype=np.float32)))

    def _add(self, name: str, weight: Tensor) -> None:
        plain = re.sub(r"\W", "_", name) or "_"
        while hasattr(self.weights, plain):
            plain += "_"
        self.weights.register_parameter(plain, nn.Parameter(weight))
        self._names[name] = plain

    def imagenet_state(self) -> dict[str, Tensor]:
        """The file's own weights, which are there already."""
        return self.state_dict()

    @property
    def identity(self) -> str | None:
        """What the network computes beside its weights: digest of its files, and its map; None where there are none."""
        return None if self.files is None else " ".join([*self.files.digests.values(), self._map])

    def embeds(self, size: tuple[int, int]) -> bool:
        """Whether the network has an embedding of its own for images of this (height, width)."""
        if self.vector_dim is None:
            return False
        copy = deepcopy(self).to("meta")
        try:
            with torch.no_grad():
                vectors = copy.vector(copy.stages(torch.empty(2, 3, *size, device="meta")))
        except ShapeError:
            return False
        return tuple(vectors.shape) == (2, self.vector_dim)

    def _given(self, like: Tensor) -> dict[str, Value]:
        """Weights and constants by their names in the file."""
        constants = {k: v.to(like) if isinstance(v, Tensor) else v for k, v in self._constants.items()}
        return constants | {name: getattr(self.weights, plain) for name, plain in self._names.items()}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride: of each stride, the last value through which every way to the feature map leads."""
        given = self._given(images) | {self._input: images}
        values = run(self._before, given, frozenset(self._stage_names.values()), source=self.source)
        return {stride: values[name] for stride, name in self._stage_names.items()}

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """What the file's network answers, [B, vector_dim]."""
        if self.vector_dim is None:
            return super().vector(stages)
        features = stages[self.output_stride]
        given = self._given(features) | {self._map: features}
        try:
            values = run(self._after, given, frozenset({self._output}), source=self.source)
        except ShapeError as error:
            if self.size is None:
                raise
            raise ShapeError(
                f"The own embedding of this network is for images {self.size[0]}×{self.size[1]}. {error}"
            ) from None
        vector: Tensor = values[self._output].flatten(1)
        return vector


def _ancestors(nodes: Sequence[Node], wanted: set[str]) -> set[str]:
    """Names of the nodes that the wanted values need, themselves among them."""
    needed = set(wanted)
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return {node.name for node in nodes if node.name in needed}


def _shapes(graph: Graph, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The size of every tensor for one image, computed without memory for any."""
    meta = {name: torch.empty(array.shape, device="meta") for name, array in graph.weights.items()}
    constants = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in graph.constants.items()}
    values = meta | constants | {graph.input: torch.empty(*shape, device="meta")}
    names = frozenset(node.name for node in graph.nodes)
    with torch.no_grad():
        values = run(graph.nodes, values, names, source=graph.source)
    shapes = {name: tuple(values[name].shape) for name in names if isinstance(values[name], Tensor)}
    shapes = {node.name: shapes[node.name] for node in graph.nodes if node.name in shapes}  # in their order
    for name, size in shapes.items():
        if prod(size) > _MOST_NUMBERS:
            raise ShapeError(
                f"{graph.source}: the value {name!r:.80} would have {prod(size)} numbers for one image; at most "
                f"{_MOST_NUMBERS} are allowed."
            )
    if graph.output not in shapes:
        raise ShapeError(f"{graph.source}: the answer {graph.output!r:.80} is no tensor.")
    return shapes


def _passages(graph: Graph, needed: set[str], end: str) -> Iterator[str]:
    """Values through which every way from the input to ``end`` leads, in their order, ``end`` the last."""
    nodes = [node for node in graph.nodes if node.name in needed]
    place = {graph.input: 0} | {node.name: index + 1 for index, node in enumerate(nodes)}
    # Nodes that only reckon with constants lie on no way from the image.
    reached = {graph.input}
    furthest = [0] * (len(nodes) + 2)
    for node in nodes:
        froms = [name for name in node.inputs if name in reached]
        if froms:
            reached.add(node.name)
        for name in froms:
            furthest[place[name]] = max(furthest[place[name]], place[node.name])
    most = 0
    for name, index in place.items():
        if name in reached and most <= index:
            yield name
        most = max(most, furthest[index])
        if name == end:
            return


def _last_map(graph: Graph, needed: set[str], shapes: dict[str, tuple[int, ...]]) -> str:
    maps = [
        name
        for name in _passages(graph, needed, graph.output)
        if len(s := shapes.get(name, ())) == 4 and prod(s[2:]) > 1
    ]
    if not maps:
        raise ConfigError(
            f"{graph.source} has no feature map: no value with height and width through which every way from the image "
            "to the answer leads. Name one: model.backbone=.../FILE#NAME."
        )
    return maps[-1]


def _stages(
    graph: Graph, before: set[str], shapes: dict[str, tuple[int, ...]], shape: Sequence[int], map_name: str
) -> dict[int, str]:
    """By stride, the last value through which every way to the map leads."""
    found = {}
    for name in _passages(graph, before, map_name):
        size = shapes.get(name, ())
        if name != graph.input and len(size) == 4 and shape[2] % size[2] == 0 and shape[3] % size[3] == 0:
            stride = shape[2] // size[2]
            if shape[3] // size[3] == stride:
                found[stride] = name
    own = shape[2] // shapes[map_name][2]
    return {stride: name for stride, name in found.items() if stride < own} | {own: map_name}


def _stride(shape: Sequence[int], size: Sequence[int], source: str, name: str) -> int:
    if shape[2] % size[2] or shape[3] % size[3] or shape[2] // size[2] != shape[3] // size[3]:
        raise ConfigError(
            f"{source}: the map {name!r:.80} is {size[2]}×{size[3]} for images {shape[2]}×{shape[3]}; expected one cell "
            "for the same whole number of pixels in height and width. Name another: model.backbone=.../FILE#NAME."
        )
    return shape[2] // size[2]
