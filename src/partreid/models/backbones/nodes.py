"""A network as a graph of operations: how its values are computed in their order, and which ways lead through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from partreid.errors import ShapeError
from partreid.models.backbones.operations import Value

SIZES = ("Shape", "ShapeOf")
"""Operations that give the sizes of a value: no way that an image takes."""


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

    def compute(self, values: Mapping[str, Value], source: str) -> Value:
        """The value, from those that are there.

        Raises:
            ShapeError: the operation refuses the sizes that it meets.
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
    """What a file holds.

    Attributes:
        source: the file, for messages.
        nodes: in an order in which each finds its inputs.
        input, output: names of the images' value and of the network's answer.
        shape: of the input for one image, [1, 3, H, W], with None where the file leaves a size open.
        weights: numbers that are learned, as they lie in the file; memory for them is taken last.
        constants: other values: small tensors, numbers, lists of numbers.
        statistics: those of ``weights`` that were collected, not learned, and are never trained.
        one_image: the file was made for one image at a time; where it reshapes to a first size 1, this is their number.
        files: that the graph was read from: its own first, then those of its numbers.
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
    """Nodes in their order, and which values can be forgotten behind each.

    Args:
        nodes: of a graph. keep: names that are wanted. source: for messages.
    """

    def __init__(self, nodes: Sequence[Node], keep: set[str], source: str) -> None:
        last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
        self.source = source
        self.steps = [
            (node, [name for name in set(node.inputs) if last[name] == index and name and name not in keep])
            for index, node in enumerate(nodes)
        ]

    def run(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Compute all; ``values`` are those that are there already.

        Raises:
            ShapeError: an operation refuses the sizes that it meets.
        """
        found = {"": None, **values}
        for node, over in self.steps:
            found[node.name] = node.compute(found, self.source)
            for name in over:
                found.pop(name, None)
        return found


def ancestors(nodes: Sequence[Node], wanted: set[str]) -> set[str]:
    """Names of the nodes that the wanted values need, themselves among them."""
    needed = set(wanted)
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return {node.name for node in nodes if node.name in needed}


def passages(graph: Graph, needed: set[str], end: str) -> Iterator[str]:
    """Values through which every way from the input to ``end`` leads, in their order, ``end`` the last."""
    nodes = [node for node in graph.nodes if node.name in needed]
    place = {graph.input: 0} | {node.name: index + 1 for index, node in enumerate(nodes)}
    # Nodes that only reckon with constants or sizes lie on no way from the image.
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
