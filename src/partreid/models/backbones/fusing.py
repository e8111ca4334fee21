"""Sums and products after convolutions and norms are merged into them, which saves passes over maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from partreid.models.backbones.nodes import Node
from partreid.models.backbones.operations import convolution

_CONVOLUTIONS = ("Convolution", "GroupConvolution", "Conv")


def fused(nodes: list[Node], weights: dict[str, np.ndarray]) -> list[Node]:
    """Merge a following sum into a convolution's bias, and a following product and sum into a norm."""
    uses = Counter(name for node in nodes for name in node.inputs)
    done: dict[str, Node] = {}
    for node in nodes:
        first, other = (*node.inputs, "", "")[:2]
        if node.operation in ("Add", "Multiply") and first in weights:
            first, other = other, first
        before = done.get(first)
        if before is not None and uses[first] == uses[other] == 1 and _can_join(before, node, other, weights):
            del done[first]
            weights[other] = weights[other].reshape(-1)
            node = Node(node.name, before.operation, before.call, (*before.inputs, other))
        done[node.name] = node
    return [_with_plain_groups(node, weights, uses) for node in done.values()]


def _with_plain_groups(node: Node, weights: dict[str, np.ndarray], uses: Mapping[str, int]) -> Node:
    """Replace a grouped convolution's weights [G, O, I, h, w] by PyTorch's form [G·O, I, h, w].

    Training stores all weights channels-last, which is impossible for five dimensions.
    """
    weight = weights.get(node.inputs[1]) if node.operation == "GroupConvolution" else None
    if weight is None or weight.ndim != 5 or uses[node.inputs[1]] > 1:
        return node
    weights[node.inputs[1]] = weight.reshape(-1, *weight.shape[2:])
    how = node.call.keywords  # type: ignore[attr-defined]
    return replace(node, call=partial(convolution, **how, groups=len(weight)))


def _can_join(before: Node, node: Node, other: str, weights: Mapping[str, np.ndarray]) -> bool:
    """Whether ``before`` can take the weights ``other``, one number per channel, as a further input."""
    weight = weights.get(other)
    if weight is None or weight.ndim != 4 or weight.size != weight.shape[1]:
        return False
    if before.operation in _CONVOLUTIONS:
        kernel = weights.get(before.inputs[1])
        axes = 2 if before.operation == "GroupConvolution" else 1
        fits = kernel is not None and kernel.ndim == axes + 3 and np.prod(kernel.shape[:axes]) == weight.size
        return fits and node.operation == "Add" and len(before.inputs) == 2
    wanted = {2: "Multiply", 3: "Add"}.get(len(before.inputs))
    return before.operation == "MVN" and node.operation == wanted
