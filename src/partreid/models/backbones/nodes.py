"""A network as a graph of operations: the order in which its values are computed, and the paths through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from partreid.errors import ShapeError
from partreid.models.backbones.operations import Value

SIZES = ("Shape", "ShapeOf")
"""Operations that return the size of a value. They are not on the image's path."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: of the value that it computes. operation: its name in the file, for messages.
        call: computes the value. inputs: names of the values that it needs; "" means None.
    """

    name: str
    operation: str
    call: Callable[..., Value]
    inputs: tuple[str, ...]

    def compute(self, values: Mapping[str, Value], source: str) -> Value:
        """Compute the value from the known ones.

        Raises:
            ShapeError: the operation refuses the sizes of its inputs.
        """
        try:
            return self.call(*[values[name] for name in self.inputs])
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ShapeError(f"{source}: the operation {self.operation} {self.name!r:.80} fails: {line:.200}") from None


@dataclass(frozen=True, eq=False)
class Graph:
    """The content of a network file.

    Attributes:
        source: the file, for messages.
        nodes: in an order in which each comes after its inputs.
        input, output: names of the images' value and of the network's answer.
        shape: of the input for one image, [1, 3, H, W]; None for a size that the file leaves open.
        weights: learned numbers, still in the file; they are read into memory last.
        constants: other values: small tensors, numbers, lists of numbers.
        statistics: names in ``weights`` of numbers that were collected, not learned. They are never trained.
        one_image: whether the file was made for one image at a time. A reshape to a first size 1 then means the number
            of images.
        files: from which the graph was read: its own first, then those of its numbers.
    """

    source: str
    nodes: tuple[Node, ...]
    input: str
    output: str
    shape: tuple[int | None, ...]
    weights: Mapping[str, np.ndarray]
    constants: Mapping[str, Value] = field(default_factory=dict)
    statistics: frozenset[str] = frozenset()
    one_image: bool = False
    files: tuple[Path, ...] = ()


class Plan:
    """Nodes in their order, and for each node the values that are not needed after it.

    Args:
        nodes: of a graph. keep: names of the requested values. source: for messages.
    """

    def __init__(self, nodes: Sequence[Node], keep: set[str], source: str) -> None:
        last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
        self.source = source
        self.steps = [
            (node, [name for name in set(node.inputs) if last[name] == index and name and name not in keep])
            for index, node in enumerate(nodes)
        ]

    def run(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Compute all nodes; ``values`` contains the values that are known already.

        Raises:
            ShapeError: an operation refuses the sizes of its inputs.
        """
        found = {"": None, **values}
        for node, over in self.steps:
            found[node.name] = node.compute(found, self.source)
            for name in over:
                found.pop(name, None)
        return found


def ancestors(nodes: Sequence[Node], wanted: set[str]) -> set[str]:
    """Names of the requested values and of all nodes that they need."""
    needed = set(wanted)
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return {node.name for node in nodes if node.name in needed}


def passages(graph: Graph, needed: set[str], end: str) -> Iterator[str]:
    """Values on every path from the input to ``end``, in their order; the last one is ``end``."""
    nodes = [node for node in graph.nodes if node.name in needed]
    place = {graph.input: 0} | {node.name: index + 1 for index, node in enumerate(nodes)}
    # Nodes that only compute with constants or sizes are not on a path from the image.
    reached = {graph.input}
    furthest = [0] * (len(nodes) + 2)
    for node in nodes:
        froms = [] if node.operation in SIZES else [name for name in node.inputs if name in reached]
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
