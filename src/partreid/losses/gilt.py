"""GiLt: global-identity local-triplet loss (Eq. 6), with its full table of weights (Table 4)."""

from __future__ import annotations

from torch import Tensor

from partreid.errors import ConfigError
from partreid.functional.losses import TripletLoss, identity_loss, part_averaged_triplet, per_part_triplet
from partreid.losses.extra import Gather
from partreid.losses.loss_config import GiLtConfig
from partreid.types import ModelOutput


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
        gather: triplets are mined over what it returns, instead of the batch alone.

    Returns:
        Unweighted losses by name (``identity/global_``, ``triplet/parts``, ...), and the share of active
        triplets by the same names.

    Raises:
        ConfigError: an identity loss is asked for, and the model has no identity classifiers.
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


def term_weight(name: str, config: GiLtConfig) -> float:
    """The weight of a term that :func:`gilt_terms` names."""
    kind, region = name.split("/")
    weight: float = getattr(getattr(config, kind), region)
    return weight


def _triplet(vectors: Tensor, pids: Tensor, config: GiLtConfig, visibility: Tensor | None) -> TripletLoss:
    if vectors.ndim == 2:
        return part_averaged_triplet(vectors.unsqueeze(1), pids, margin=config.margin)
    if config.part_triplet == "per_part":
        return per_part_triplet(vectors, pids, margin=config.margin)
    return part_averaged_triplet(vectors, pids, margin=config.margin, visibility=visibility)
