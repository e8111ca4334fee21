"""An image and its mirror image as one output, with left and right put back in place."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from partreid.functional.merging import SlotSums
from partreid.parts import flip_order
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors


def merge_mirrored(output: ModelOutput, mirrored: ModelOutput) -> ModelOutput:
    """Average what a model says of images and of their mirror images.

    In the mirror a left arm is a right one: its slots are swapped back by their names. A slot's vector is the mean of
    both, weighted by the visibility in each, so that a part seen in only one comes from that one; its visibility is
    the larger. Holistic vectors are averaged plainly. Maps and logits stay those of the image itself.

    Args:
        output: of images. mirrored: of the same images, mirrored.

    Returns:
        The merged output; that of the mirror images would be the same up to the swap of slots.
    """
    here, there = output.embeddings, swap_sides(mirrored.embeddings)
    both = SlotSums.of(torch.stack([here.vectors, there.vectors]), torch.stack([here.visibility, there.visibility]))
    parts = output.visibility.shape[1]
    order = list(flip_order(here.slots[len(here.slots) - parts :]))
    return replace(
        output,
        features=_mean_regions(output.features, mirrored.features, order),
        bn_features=_mean_regions(output.bn_features, mirrored.bn_features, order),
        visibility=torch.maximum(output.visibility, mirrored.visibility[:, order]),
        embeddings=both.mean(here),
    )


def swap_sides(embeddings: PartEmbeddings) -> PartEmbeddings:
    """Embeddings in which what stood under a left slot stands under the right one, and the other way round.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[None], torch.tensor([[1.0, 0.5]]), ("left_arm", "right_arm"))
        >>> swap_sides(e).visibility
        tensor([[0.5000, 1.0000]])
    """
    order = list(flip_order(embeddings.slots))
    return replace(embeddings, vectors=embeddings.vectors[:, order], visibility=embeddings.visibility[:, order])


def _mean_regions(a: RegionVectors, b: RegionVectors, order: list[int]) -> RegionVectors:
    """The plain mean of every region that there is; ``order`` swaps the parts of ``b``."""

    def mean(name: str) -> Tensor:
        mine: Tensor = getattr(a, name)
        theirs: Tensor = getattr(b, name)
        if name == "parts":
            theirs = theirs[:, order]
        elif name == "concat":  # the parts one after the other
            theirs = theirs.reshape(theirs.shape[0], len(order), -1)[:, order].flatten(1)
        return (mine + theirs) / 2

    return RegionVectors(**{name: mean(name) for name in RegionVectors.NAMES if getattr(a, name) is not None})
