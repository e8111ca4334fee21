"""A backbone from a network file, which is read as a graph of operations.

The readers (``openvino_file.py``, ``onnx_file.py``) make a :class:`Graph` without computing anything. Then the sizes of
all values are determined without memory for the values. Only a graph with consistent sizes gets its weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from partreid.errors import ConfigError, ShapeError
from partreid.models.backbones import operations as op
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.file_input import file_input
from partreid.models.backbones.network_files import NetworkFiles
from partreid.models.backbones.nodes import SIZES, Graph, Node, Plan, ancestors, passages
from partreid.models.backbones.operations import Value

_MOST_OF_ONE = 2**28
"""Most numbers of one value of a network, for one image: 1 GiB."""
_MOST_OF_ALL = 2**31
"""Most numbers of all values together, because training keeps them all."""
_PROBE = 7919
"""An unusual number of images, so that no other size in a network is likely to equal it."""


class FileBackbone(Backbone):
    """A network read from a file: its layers up to the feature map, and its own embedding after it.

    The feature map is the last value with height and width on every path from the image to the answer, because after it
    the network pools. Every weight can be trained. The statistics of batch normalisation do not change.

    Args:
        graph: the file's content.
        map_name: another value as the feature map; None = the one described above.
        files: the files' bytes, which a checkpoint includes. None = the model can be used, but not saved.

    Attributes:
        size: (height, width) that the file was made for; None if it leaves them open.
        reads: the file's statements about its input.

    Raises:
        ConfigError: there is no such value, or no value has the shape of a feature map.
        ShapeError: the sizes in the file contradict each other, or are absurd.
    """

    @torch.inference_mode(mode=False)  # a model may be loaded in inference mode and trained later
    def __init__(self, graph: Graph, map_name: str | None = None, *, files: NetworkFiles | None = None) -> None:
        super().__init__()
        self.source, self.files = graph.source, files
        shape = [1, 3, graph.shape[2] or 256, graph.shape[3] or 128]
        self.size = None if None in graph.shape[2:] else (shape[2], shape[3])
        self._input, self._output = graph.input, graph.output
        needed = ancestors(graph.nodes, {graph.output})
        shapes = _shapes(graph, shape)
        self.reads = file_input(graph, files, self.size, passages(graph, needed, graph.output))
        if map_name is None:
            map_name = _last_map(graph, needed, shapes)
        elif map_name not in shapes or not _is_map(shapes[map_name]):
            maps = [f"{name:.80}" for name, size in shapes.items() if _is_map(size)]
            raise ConfigError(f"{graph.source} has no feature map {map_name!r:.80}. It has: {', '.join(maps[-8:])}.")
        graph, many, failure = _for_many(graph, shape)
        each = {name for name, size in shapes.items() if many.get(name) == (_PROBE, *size[1:]) and size[0] == 1}
        if map_name not in each:
            raise failure or ShapeError(f"{graph.source}: the map {map_name!r:.80} is not one of each image.")
        self._map = map_name
        self.channels = shapes[map_name][1]
        self.output_stride = self.input_multiple = _stride(shape, shapes[map_name], graph.source, map_name)
        before = ancestors(graph.nodes, {map_name})
        self._stage_names = _stages(graph, before, {name: shapes[name] for name in each}, shape, map_name)
        self.stage_channels = {stride: shapes[name][1] for stride, name in self._stage_names.items()}
        first = [node for node in graph.nodes if node.name in before]
        rest = [node for node in graph.nodes if node.name in needed and node.name not in before]
        reached = {map_name, "", *graph.weights, *graph.constants, *(node.name for node in rest)}
        # The size of the images is the size of the map times the stride.
        whole = map_name in needed and all(
            name in reached or (name == graph.input and node.operation in SIZES)
            for node in rest for name in node.inputs
        )  # fmt: skip
        if not (whole and graph.output in each and len(shapes[graph.output]) >= 2):
            rest = []
        self.vector_dim = prod(shapes[graph.output][1:]) if rest else None
        self._before = Plan(first, set(self._stage_names.values()), graph.source)
        self._after = Plan(rest, {graph.output}, graph.source)
        self._take(graph, {name for node in (*first, *rest) for name in node.inputs})

    def _take(self, graph: Graph, used: set[str]) -> None:
        """Set the used weights, statistics and constants. Constants are buffers that no checkpoint needs."""
        self.weights = nn.Module()
        self._numbers: dict[str, Value] = {}
        self._names: dict[str, str] = {}
        for name, value in graph.constants.items():
            if name in used and isinstance(value, Tensor):
                self.weights.register_buffer(self._plain(name), value, persistent=False)
            elif name in used:
                self._numbers[name] = value
        for name, array in graph.weights.items():
            if name in used and name in graph.statistics:
                self.weights.register_buffer(self._plain(name), torch.from_numpy(np.array(array, np.float32)))
            elif name in used:
                weight = torch.from_numpy(np.array(array, np.float32))
                self.weights.register_parameter(self._plain(name), nn.Parameter(weight))

    def _plain(self, name: str) -> str:
        """A file's name converted to a valid name in a state dict."""
        plain = re.sub(r"\W", "_", name[:_LONGEST_NAME], flags=re.ASCII) or "_"
        if hasattr(self.weights, plain):
            plain = f"{plain}__{len(self._names)}"
        while hasattr(self.weights, plain):
            plain += "_"
        self._names[name] = plain
        return plain

    def imagenet_state(self) -> dict[str, Tensor]:
        """The file's own weights, which are loaded already."""
        return self.state_dict()

    @property
    def identity(self) -> str | None:
        """Identifies the network apart from its weights: digest of its files, and its map. None without files."""
        return None if self.files is None else " ".join([*self.files.digests.values(), self._map])

    def embeds(self, size: tuple[int, int]) -> bool:
        """Whether the network has its own embedding for images of this (height, width)."""
        if self.vector_dim is None:
            return False
        copy = deepcopy(self).to("meta")
        try:
            with torch.no_grad():
                copy.vector(copy.stages(torch.empty(2, 3, *size, device="meta")))
        except ShapeError:
            return False
        return True

    def _given(self) -> dict[str, Value]:
        """Weights and constants by their names in the file."""
        return self._numbers | {name: getattr(self.weights, plain) for name, plain in self._names.items()}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride: for each stride, the last value on every path to the feature map.

        Raises:
            ShapeError: the network is only for images of another size.
        """
        values = self._before.run(self._given() | {self._input: images})
        stages = {stride: values[name] for stride, name in self._stage_names.items()}
        own, stride = stages[self.output_stride], self.output_stride
        if own.ndim != 4 or own.shape[2] * stride != images.shape[2] or own.shape[3] * stride != images.shape[3]:
            raise ShapeError(
                f"{self.source}: expected images {self._sizes()}, got {images.shape[2]}×{images.shape[3]}: "
                f"their map would be {tuple(own.shape)}."
            )
        return stages

    def _sizes(self) -> str:
        wanted = f"whose height and width are multiples of {self.input_multiple}"
        return wanted if self.size is None else f"{self.size[0]}×{self.size[1]}, or others {wanted}"

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        """The answer of the file's network, [B, vector_dim]."""
        if self.vector_dim is None:
            return super().vector(stages)
        features = stages[self.output_stride]
        size = [length * self.output_stride for length in features.shape[2:]]
        images = features.new_zeros(1).expand(features.shape[0], 3, *size)  # for their sizes only
        problem: object = None
        try:
            given = self._given() | {self._map: features, self._input: images}
            vector = self._after.run(given)[self._output].flatten(1)
        except ShapeError as error:
            problem = error
        else:
            if vector.shape[0] == features.shape[0] and vector.shape[1] == self.vector_dim:
                return vector  # type: ignore[no-any-return]
            problem = f"Its answer would be {tuple(vector.shape)}, expected {(features.shape[0], self.vector_dim)}."
        made_for = "of other sizes" if self.size is None else f"{self.size[0]}×{self.size[1]}"
        raise ShapeError(f"The own embedding of this network is for images {made_for}. {problem}")


_LONGEST_NAME = 200


def _is_map(size: Sequence[int]) -> bool:
    return len(size) == 4 and prod(size[2:]) > 1


def _walk(graph: Graph, shape: Sequence[int], *, each_image: bool = False) -> Iterator[tuple[Node, Value]]:
    """Every node with its value for images of ``shape``. Values have sizes only and take no memory.

    Args:
        each_image: read a file for one image as a file for any number of images. The nodes are changed accordingly.
    """
    meta = {name: torch.empty(array.shape, dtype=torch.float32, device="meta") for name, array in graph.weights.items()}
    constants = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in graph.constants.items()}
    values = {"": None} | meta | constants | {graph.input: torch.empty(*shape, dtype=torch.float32, device="meta")}
    for node, over in Plan(graph.nodes, set(), graph.source).steps:
        if each_image and node.operation == "Reshape":
            x, sizes = (values[name] for name in node.inputs[:2])
            if (
                isinstance(x, Tensor)
                and x.ndim
                and x.shape[0] == shape[0]
                and isinstance(sizes, list)
                and sizes[:1] == [1]
            ):
                node = replace(node, call=partial(node.call, each_image=True))
        x = values[node.inputs[0]] if node.inputs else None
        same = node.call in op.SAME_SIZE and isinstance(x, Tensor)  # no need to ask PyTorch, which takes 1 ms
        values[node.name] = value = x if same else node.compute(values, graph.source)
        yield node, value
        for name in over:
            values.pop(name, None)


def _shapes(graph: Graph, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The size of every tensor for one image, in their order."""
    shapes = {}
    total = 0
    for node, value in _walk(graph, shape):
        if not isinstance(value, Tensor):
            continue
        size = shapes[node.name] = tuple(value.shape)
        total += prod(size)
        if not 0 < prod(size) <= _MOST_OF_ONE or total > _MOST_OF_ALL:
            raise ShapeError(
                f"{graph.source}: the value {node.name!r:.80} would have {prod(size)} numbers for one image, and all "
                f"up to it {total}; 1 to {_MOST_OF_ONE}, and together {_MOST_OF_ALL}, are allowed."
            )
    if len(shapes.get(graph.output, ())) < 1:
        raise ShapeError(f"{graph.source}: the answer {graph.output!r:.80} is not computed from the image.")
    return shapes


def _for_many(graph: Graph, shape: Sequence[int]) -> tuple[Graph, dict[str, tuple[int, ...]], ShapeError | None]:
    """The graph for any number of images, the sizes for ``_PROBE`` images, and the error if there was one."""
    nodes, many, failure = [], {}, None
    try:
        for node, value in _walk(graph, [_PROBE, *shape[1:]], each_image=graph.one_image):
            nodes.append(node)
            if isinstance(value, Tensor):
                many[node.name] = tuple(value.shape)
    except ShapeError as error:
        failure = ShapeError(f"For several images: {error}")
    return replace(graph, nodes=(*nodes, *graph.nodes[len(nodes) :])), many, failure


def _last_map(graph: Graph, needed: set[str], shapes: dict[str, tuple[int, ...]]) -> str:
    maps = [name for name in passages(graph, needed, graph.output) if _is_map(shapes.get(name, ()))]
    if not maps:
        raise ConfigError(
            f"{graph.source} has no feature map: no value with height and width lies on every path from the image to "
            "the answer. Name one: model.backbone=.../FILE#NAME."
        )
    return maps[-1]


def _stages(
    graph: Graph, before: set[str], shapes: dict[str, tuple[int, ...]], shape: Sequence[int], map_name: str
) -> dict[int, str]:
    """By stride, the last value on every path to the map."""
    found = {}
    for name in passages(graph, before, map_name):
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
            f"{source}: the map {name!r:.80} is {size[2]}×{size[3]} for images {shape[2]}×{shape[3]}; expected one "
            "cell for the same whole number of pixels in height and width. Name another: model.backbone=.../FILE#NAME."
        )
    return shape[2] // size[2]
