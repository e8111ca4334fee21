"""The overall objective (Eq. 5)."""

from __future__ import annotations

from torch import Tensor

from partreid.errors import ConfigError, LabelError
from partreid.functional.losses import part_attention_loss
from partreid.losses.config import ObjectiveConfig
from partreid.losses.gilt import gilt_terms, term_weight
from partreid.types import LossReport, ModelOutput


def objective(output: ModelOutput, pid_index: Tensor, labels: Tensor | None, config: ObjectiveConfig) -> LossReport:
    """L = λ_pa · L_pa + L_GiLt.

    Args:
        output: of the model in training mode.
        pid_index: [B] training classes.
        labels: [B, H, W] human parsing labels at the feature map's size, 0 = background; None only if λ_pa = 0.
        config: weights.

    Raises:
        LabelError: labels are needed and missing, or of another size or K.
        ConfigError: every weight is 0, or an identity loss is asked of a model without identity classifiers.

    Example:
        ``objective(model(images), pid_index, labels, ObjectiveConfig()).total.backward()``
    """
    terms, statistics = gilt_terms(output, pid_index, config.gilt)
    weighted = [term_weight(name, config.gilt) * loss for name, loss in terms.items()]
    if config.part_attention_weight:
        if labels is None:
            raise LabelError("The part attention loss needs human parsing labels, and none were given.")
        loss = part_attention_loss(output.part_logits, labels, smoothing=config.part_attention_smoothing)
        terms["part_attention"] = loss
        weighted.append(config.part_attention_weight * loss)
    if not weighted:
        raise ConfigError("Every loss has weight 0: there is nothing to train on.")
    total = weighted[0]
    for loss in weighted[1:]:
        total = total + loss
    return LossReport(total, {name: loss.detach() for name, loss in terms.items()}, statistics)
