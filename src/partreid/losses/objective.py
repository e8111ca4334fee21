"""The overall objective (Eq. 5), and GiLt, global-identity local-triplet loss (Eq. 6), with all weights of Table 4."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.errors import ConfigError, LabelError
from partreid.functional.losses import (
    IGNORED_LABEL,
    TripletLoss,
    identity_loss,
    part_attention_loss,
    part_averaged_triplet,
    per_part_triplet,
)
from partreid.losses.extra import ExtraLosses, Gather
from partreid.losses.loss_config import DistillationConfig, GiLtConfig, ObjectiveConfig
from partreid.types import LossReport, ModelOutput


def objective(
    output: ModelOutput,
    pid_index: Tensor,
    labels: Tensor | None,
    config: ObjectiveConfig,
    *,
    gather: Gather | None = None,
    extra: ExtraLosses | None = None,
    source: Tensor | None = None,
) -> LossReport:
    """L = λ_pa · L_pa + L_GiLt, plus distillation, consistency, and the weighted sum of ``config.extra``.

    Args:
        output: of the model in training mode.
        pid_index: [B] training classes.
        labels: [B, H, W] human parsing labels at the feature map's size, 0 = background; None only if λ_pa = 0.
        config: weights.
        gather: joins the rows of all processes if each has a part of the batch. The mean of their losses is then the
            loss of the whole batch, in value and in gradient.
        extra: the losses of ``config.extra``. They may have parameters, so they are built once for a training.
        source: [B, D] the original network's embeddings of the clean images, for distillation.

    Raises:
        LabelError: labels are needed but missing, or of another size or K.
        ConfigError: no loss is left (every weight is 0, or on an embedding that the model does not have), or an
            identity loss is asked of a model without identity classifiers.

    Example:
        ``objective(model(images), pid_index, labels, ObjectiveConfig()).total.backward()``
    """
    visibility = _visibility(output, labels, config)
    terms, statistics = gilt_terms(output, pid_index, config.gilt, visibility=visibility, gather=gather)
    weighted = []
    for name, loss in terms.items():
        kind, region = name.split("/")
        weighted.append(getattr(getattr(config.gilt, kind), region) * loss)
    if config.part_attention_weight and output.part_logits is not None:
        if labels is None:
            raise LabelError("The part attention loss needs human parsing labels, and none were given.")
        loss = part_attention_loss(output.part_logits, labels, smoothing=config.part_attention_smoothing)
        if gather is not None:  # a process with more labelled pixels counts for more
            pixels = gather((labels != IGNORED_LABEL).sum().view(1))
            loss = loss * (labels != IGNORED_LABEL).sum() * len(pixels) / pixels.sum().clamp(min=1)
        terms["part_attention"] = loss
        weighted.append(config.part_attention_weight * loss)
    kept = {} if not config.distills else distillation_terms(output, source, config.distillation)
    for name, loss in kept.items():
        terms[name] = loss
        weighted.append(getattr(config.distillation, name.split("/")[1]) * loss)
    if config.consistency_weight:
        terms["consistency"] = consistency_loss(output)
        weighted.append(config.consistency_weight * terms["consistency"])
    for name, loss in ({} if extra is None else extra(output, pid_index, labels)).items():
        terms[f"extra/{name}"] = loss
        weighted.append(config.extra[name] * loss)
    if extra is None and any(config.extra.values()):
        raise ConfigError(f"objective.extra = {config.extra}: give extra=ExtraLosses(config.extra, LossSetup(...)).")
    if not weighted:
        there = ", ".join(name for name, _ in output.features.items())
        raise ConfigError(f"Every loss on what this model has ({there}) has weight 0: there is nothing to train on.")
    total = sum(weighted[1:], start=weighted[0])
    return LossReport(total, {name: loss.detach() for name, loss in terms.items()}, statistics)


def _visibility(output: ModelOutput, labels: Tensor | None, config: ObjectiveConfig) -> Tensor | None:
    """[B, K] for the part-averaged triplet, or None to count all parts."""
    if config.gilt.triplet_visibility == "ignore" or output.features.parts is None:
        return None
    if config.gilt.triplet_visibility == "model":
        return output.visibility
    if labels is None:
        raise LabelError("objective.gilt.triplet_visibility = labels needs human parsing labels; none were given.")
    parts = torch.arange(1, output.visibility.shape[1] + 1, device=labels.device)
    seen = (labels.flatten(1).unsqueeze(1) == parts.view(1, -1, 1)).any(dim=2)
    # Without a label file nothing is known about an image's parts, so all of them count.
    unknown = (labels == IGNORED_LABEL).flatten(1).all(dim=1, keepdim=True)
    return (seen | unknown).to(output.visibility)


def gilt_terms(
    output: ModelOutput,
    pid_index: Tensor,
    config: GiLtConfig,
    *,
    visibility: Tensor | None = None,
    gather: Gather | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every loss whose weight is not 0, on every embedding that the model has.

    Args:
        output: of the model. pid_index: [B] training classes. config: weights and margins.
        visibility: [B, K] for the part-averaged triplet; None counts all parts.
        gather: triplets are mined over its result instead of the batch alone.

    Returns:
        Unweighted losses by name (``identity/global_``, ``triplet/parts``, ...), and the fraction of
        active triplets by the same names.

    Raises:
        ConfigError: an identity loss is requested, but the model has no identity classifiers.
    """
    terms: dict[str, Tensor] = {}
    active: dict[str, Tensor] = {}
    pids = pid_index
    if gather is not None:
        pids, visibility = gather(pid_index), None if visibility is None else gather(visibility)
    for region, vectors in output.features.items():
        if getattr(config.identity, region):
            if output.identity_logits is None:
                raise ConfigError("This model has no identity classifiers: set the identity weights to 0.")
            logits = getattr(output.identity_logits, region)
            terms[f"identity/{region}"] = identity_loss(logits, pid_index, smoothing=config.label_smoothing)
        if getattr(config.triplet, region):
            mined = vectors if gather is None else gather(vectors)
            triplet = _triplet(mined, pids, config, visibility if region == "parts" else None)
            terms[f"triplet/{region}"] = triplet.loss
            active[f"active/{region}"] = triplet.active
    return terms, active


def distillation_terms(output: ModelOutput, source: Tensor | None, config: DistillationConfig) -> dict[str, Tensor]:
    """Mean of 1 - cosine to the source's vectors [B, D] for each embedding whose weight is not 0; unweighted.

    Raises:
        ConfigError: the vectors are missing, or of another width than the model's.
    """
    terms: dict[str, Tensor] = {}
    for region in ("global_", "foreground"):
        vectors = getattr(output.features, region)
        if not getattr(config, region) or vectors is None:
            continue
        if source is None or source.shape != vectors.shape:
            got = "none" if source is None else tuple(source.shape)
            raise ConfigError(
                f"objective.distillation.{region}: expected the source's vectors {tuple(vectors.shape)}, got {got}. "
                "Set model.own_embedding=true, which gives the model the width of the source's."
            )
        terms[f"distillation/{region}"] = (1 - F.cosine_similarity(vectors, source, dim=1)).mean()
    return terms


def consistency_loss(output: ModelOutput) -> Tensor:
    """Mean of 1 - cosine between two views: the batch's second half shows the same images as its first.

    f_g and f_f count once for each image. A part counts if both views show it (Eq. 4).
    """
    pairs, weights = [], []
    for vectors in (output.features.global_, output.features.foreground):
        if vectors is not None:
            first, second = vectors.chunk(2)
            pairs.append(F.cosine_similarity(first, second, dim=1).unsqueeze(1))
            weights.append(torch.ones_like(pairs[-1]))
    if output.features.parts is not None:
        first, second = output.features.parts.chunk(2)
        pairs.append(F.cosine_similarity(first, second, dim=2))
        first, second = output.visibility.detach().chunk(2)
        weights.append(first * second)
    cosine, weight = torch.cat(pairs, dim=1), torch.cat(weights, dim=1)
    return ((1 - cosine) * weight).sum() / weight.sum().clamp(min=1)


def _triplet(vectors: Tensor, pids: Tensor, config: GiLtConfig, visibility: Tensor | None) -> TripletLoss:
    if vectors.ndim == 2:
        return part_averaged_triplet(vectors.unsqueeze(1), pids, margin=config.margin)
    if config.part_triplet == "per_part":
        return per_part_triplet(vectors, pids, margin=config.margin)
    return part_averaged_triplet(vectors, pids, margin=config.margin, visibility=visibility)
