"""What a training step computes: a new model, and the losses of a batch that it sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partreid.datasets.augment import Augmented
from partreid.losses.extra import ExtraLosses, Gather
from partreid.losses.loss_config import ObjectiveConfig
from partreid.losses.objective import objective
from partreid.models.backbones import build_backbone
from partreid.models.build import build_network
from partreid.models.checkpoint import load_backbone
from partreid.models.network import ReIDNetwork
from partreid.training.train_config import TrainConfig

IMAGENET, NO_WEIGHTS = "imagenet", "none"
"""Words that ``pretrained`` may be beside a path."""


def build_model(config: TrainConfig, num_identities: int) -> ReIDNetwork:
    """A new model with its pretrained backbone; new layers are random by ``config.seed``.

    Raises:
        CheckpointError: the pretrained weights are missing or do not fit.
    """
    torch.manual_seed(config.seed)
    # A folder of ImageNet's images may well be called "imagenet".
    trained = config.pretrained not in (IMAGENET, NO_WEIGHTS) and Path(config.pretrained).is_dir()
    weights = None if config.pretrained == NO_WEIGHTS or trained else config.pretrained
    model = config.model
    backbone = build_backbone(
        model.backbone, output_stride=model.output_stride, map_stride=model.map_stride, weights=weights
    )
    if trained:
        load_backbone(backbone, config.pretrained)
    return build_network(config.model, num_identities, backbone=backbone)


class SupervisedModel(torch.nn.Module):
    """Model and objective as one module: what Fabric wraps for precision and distribution.

    Its output is a plain dictionary, the only structure that wrappers walk through. Where ``compiled``, the model runs
    through torch.compile.
    """

    def __init__(
        self,
        model: ReIDNetwork,
        config: ObjectiveConfig,
        *,
        extra: ExtraLosses | None = None,
        gather: Gather | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.extra = extra
        self._gather = gather
        # Only the call is compiled: the model itself, its keys and its copies stay what they are.
        self._call: Callable[..., Any] = torch.compile(model.forward) if compiled else model

    def forward(self, batch: Augmented, pid_index: Tensor, source: Tensor | None = None) -> dict[str, Tensor]:
        """The report of :func:`objective`: ``loss``, and each term and statistic by its name."""
        output = self._call(batch.images, batch.part_maps)
        report = objective(
            output, pid_index, batch.labels, self.config, gather=self._gather, extra=self.extra, source=source
        )
        return {"loss": report.total, **report.terms, **report.statistics}
