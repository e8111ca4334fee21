"""One model from several that were trained from one start: the mean of their weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partreid.errors import CheckpointError, ConfigError
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, load_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.objects import guided
from partreid.types.numbers import in_order

_COMPARISON = ("visibility", "visibility_threshold", "foreground_embedding", "normalize_embeddings", "slot_weights")
"""Fields of a model that say how vectors are compared, for which the weights are the same."""
_RELATED = 0.8
"""Least cosine of two backbones' weights. Trainings from one start keep 0.98 and more. Two from ImageNet's weights with
different losses keep 0.99, and a network that learned people first has 0.6 with one that did not."""


@guided
def average_checkpoints(sources: Sequence[str | Path], weights: Sequence[float] | None = None) -> Checkpoint:
    """One model whose weights are the mean of several models' weights, as quick to run as one of them.

    The mean of a model and of what came out of its further training often generalises better than either: to the images
    of the further training it is nearly as good, and elsewhere it stays as good as the model was. Running statistics of
    batch norms are averaged too. Identity classifiers, which only training uses, are left out. (Wortsman et al. 2022,
    "Model soups" and "Robust fine-tuning of zero-shot models")

    Args:
        sources: two or more, each as in :func:`~partreid.models.checkpoint.load_checkpoint`. The result compares as the
            first one does.
        weights: a positive number for each source; their sum does not matter. Default: all alike.

    Returns:
        The model. Its metrics are the data sets that all its sources were trained on, if each source names its own.
        Scores and calibrations are not kept, because those of the sources do not hold for it.

    Raises:
        ConfigError: fewer than two sources, or weights that do not fit them.
        CheckpointError: a source cannot be read; or differs from the first in its network, its parts or the size and
            normalisation of its images; or was not trained from the same start, so that a mean would be noise.
    """
    if isinstance(sources, str | Path) or len(sources) < 2:
        raise ConfigError(f"An average needs two or more models, got {sources!r:.80}.")
    shares = _shares(weights, len(sources))
    read = load_checkpoint(sources[0])
    first, data = without_identities(read), [read.metrics.get("data")]
    start = {key: value.clone() for key, value in first.model.state_dict().items()}
    mean = {key: _share_of(value, shares[0]) for key, value in start.items()}
    for source, share in zip(sources[1:], shares[1:], strict=True):
        read = load_checkpoint(source)
        data.append(read.metrics.get("data"))
        other = without_identities(read)
        _check_alike(other, first, str(source), str(sources[0]))
        state = other.model.state_dict()
        _check_related(state, start, str(source), str(sources[0]))
        for key, value in state.items():
            if value.is_floating_point():
                mean[key] += _share_of(value, share)
    first.model.load_state_dict({key: value.to(start[key].dtype) for key, value in mean.items()})
    return replace(first, metrics=_all_data(data))


def without_identities(checkpoint: Checkpoint) -> Checkpoint:
    """The same model without its identity classifiers, which only training uses. Both models share the backbone."""
    model = checkpoint.model
    smaller = build_network(model.config, 0, backbone=model.backbone)
    empty = {key for key, value in smaller.state_dict().items() if value.numel() == 0}
    smaller.load_state_dict({key: value[:0] if key in empty else value for key, value in model.state_dict().items()})
    return Checkpoint(smaller.eval(), checkpoint.preprocess)


def _share_of(value: Tensor, share: float) -> Tensor:
    """What a tensor adds to the mean, in double precision; a counter stays as it is."""
    return value.double() * share if value.is_floating_point() else value


def _shares(weights: Sequence[float] | None, number: int) -> list[float]:
    """The weights with a sum of 1."""
    in_order("weights", weights)
    try:
        given = [1.0] * number if weights is None else [float(weight) for weight in weights]
    except (TypeError, ValueError):
        given = []
    if len(given) != number or not all(math.isfinite(weight) and weight > 0 for weight in given):
        raise ConfigError(f"Expected {number} positive weights, one for each model, got {weights!r:.80}.")
    return [weight / sum(given) for weight in given]


def _all_data(lists: Sequence[Any]) -> dict[str, Any]:
    """Every data set that one of the models was trained on, once; nothing if one of them does not name its own."""
    if not all(lists):
        return {}
    every: list[Any] = []
    for one in itertools.chain.from_iterable(lists):
        if one not in every:
            every.append(one)
    return {"data": every}


def _check_alike(other: Checkpoint, first: Checkpoint, name: str, first_name: str) -> None:
    """See that two models are the same network for the same images.

    Raises:
        CheckpointError: they are not; the message names each field.
    """
    pairs = [
        (f"model.{field}", getattr(other.model.config, field), getattr(first.model.config, field))
        for field in ModelConfig.model_fields
        if field not in (*_COMPARISON, *first.model.config.idle_fields)
    ]
    pairs += [
        (f"preprocess.{field}", getattr(other.preprocess, field), getattr(first.preprocess, field))
        for field in type(first.preprocess).model_fields
    ]
    if wrong := [f"{field} is {mine} and not {theirs}" for field, mine, theirs in pairs if mine != theirs]:
        raise CheckpointError(
            f"{name} cannot be averaged with {first_name}: {'; '.join(wrong)}. Train with the preset of the model that "
            "the training starts from."
        )


def _check_related(state: dict[str, Tensor], start: dict[str, Tensor], name: str, first_name: str) -> None:
    """See that two models were trained from one start.

    Raises:
        CheckpointError: their weights point elsewhere.
    """
    cosines = [
        torch.nn.functional.cosine_similarity(value.flatten(), start[key].flatten(), dim=0)
        for key, value in state.items()
        if key.startswith("backbone.") and value.ndim >= 2
    ]
    if cosines and (cosine := float(torch.stack(cosines).mean())) < _RELATED:
        raise CheckpointError(
            f"{name} and {first_name} were not trained from one start: the mean cosine of their backbones' weights is "
            f"{cosine:.2f}, and {_RELATED} is the least. An average of unrelated weights embeds nothing. Train one of "
            "them from the other: --set pretrained=RUN."
        )
