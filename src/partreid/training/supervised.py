"""The model at the beginning of a training, and a training step, which computes the losses of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from partreid import processes
from partreid.datasets.augment import Augmented
from partreid.errors import ConfigError
from partreid.losses.extra import ExtraLosses, Gather, LossSetup
from partreid.losses.loss_config import ObjectiveConfig
from partreid.losses.objective import objective
from partreid.models.backbones import build_backbone
from partreid.models.build import build_network
from partreid.models.checkpoint import load_backbone
from partreid.models.network import ReIDNetwork
from partreid.models.shipped import is_shipped
from partreid.training.cached_maps import MapBatch
from partreid.training.distributed import synchronize_batchnorm
from partreid.training.ema import WeightAverage
from partreid.training.source import freeze, leave_own_embedding, parameter_groups
from partreid.training.state import Learner
from partreid.training.train_config import IMAGENET, NO_WEIGHTS, TrainConfig

if TYPE_CHECKING:  # its import takes a second
    from lightning_fabric.plugins.precision import Precision


def build_model(config: TrainConfig, num_identities: int) -> ReIDNetwork:
    """A new model with its pretrained backbone; new layers are random by ``config.seed``.

    Raises:
        CheckpointError: the pretrained weights are missing or do not fit.
    """
    torch.manual_seed(config.seed)
    # The word comes first, because a folder of ImageNet's images may be called "imagenet".
    trained = config.pretrained not in (IMAGENET, NO_WEIGHTS) and (
        is_shipped(config.pretrained) or Path(config.pretrained).is_dir()
    )
    weights = None if config.pretrained == NO_WEIGHTS or trained else config.pretrained
    model = config.model
    backbone = build_backbone(
        model.backbone, output_stride=model.output_stride, map_stride=model.map_stride, weights=weights
    )
    if trained:
        load_backbone(backbone, config.pretrained)
    return build_network(config.model, num_identities, backbone=backbone)


def new_learner(
    config: TrainConfig, num_identities: int, device: torch.device, scaling: Precision, *, gather: Gather | None = None
) -> Learner:
    """A new model with everything else that changes in training: your own losses, the optimizer, and the average of the
    weights.

    Args:
        config, num_identities: as in :func:`build_model`. device: of the training. scaling: Fabric's precision.
        gather: for several processes, as in :class:`SupervisedModel`.

    Raises:
        CheckpointError: as :func:`build_model`. ConfigError: the backbone has no features of ``frozen_stride``.
    """
    optimizing = config.optimizer
    model = build_model(config, num_identities)
    # Channels last is the layout in which CPUs and GPUs convolve fastest; it changes no result.
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.distributed.sync_batchnorm and processes.launched():
        model = synchronize_batchnorm(model, device)
    if not config.model.own_embedding:
        leave_own_embedding(model.backbone, config.preprocess.size)
    if optimizing.frozen_stride is not None:
        freeze(model.backbone, optimizing.frozen_stride, config.preprocess.size)
    setup = LossSetup(num_identities, model.dim, config.model.part_names, gather or (lambda rows: rows))
    extra = ExtraLosses(config.objective.extra, setup).to(device)
    optimizer = torch.optim.Adam(
        parameter_groups(model, [extra], optimizing.backbone_rate),
        lr=optimizing.learning_rate,
        weight_decay=optimizing.weight_decay,
        fused=device.type in ("cpu", "cuda"),  # "fused" needs one pass over all weights instead of a dozen
    )
    averages = optimizing.ema_decay > 0 and processes.is_first()  # it is written there, and needed nowhere else
    average = WeightAverage(model, optimizing.ema_decay) if averages else None
    return Learner(model, optimizer, average, scaling, extra)


def class_centres(model: ReIDNetwork, config: ObjectiveConfig) -> Tensor:
    """[C, D] a centre for each training class: the weights of an identity classifier, on the CPU.

    They point in the direction of a class's embeddings, cost nothing, and are the same in every process.

    Raises:
        ConfigError: no embedding of the whole person learns identities.
    """
    for region in ("foreground", "global_", "concat"):
        if getattr(config.gilt.identity, region) and region in model.REGIONS:
            neck = model.get_submodule(f"{region.rstrip('_')}_neck.classifier")
            weight = neck.get_parameter("weight").detach()
            return weight.float().cpu().clone()
    raise ConfigError(
        "batch.look_alikes asks the identity classifiers who looks alike: set objective.gilt.identity.foreground (or "
        ".global_ or .concat) above 0."
    )


class SupervisedModel(torch.nn.Module):
    """Model and objective as one module, which Fabric wraps for precision and distribution.

    Its output is a plain dictionary, the only structure that wrappers search for tensors. If ``compiled``, the model
    runs through torch.compile.
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
        # Only the call is compiled, so the model itself, its keys and its copies do not change.
        self._call: Callable[..., Any] = torch.compile(model.forward) if compiled else model
        self._embed: Callable[..., Any] = torch.compile(model.embed) if compiled else model.embed

    def forward(
        self, batch: Augmented | MapBatch, pid_index: Tensor, source: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The report of :func:`objective`: ``loss``, and each term and statistic by its name."""
        if isinstance(batch, MapBatch):
            output = self._embed(batch.stages(self.model.backbone), batch.part_maps)
        else:
            output = self._call(batch.images, batch.part_maps)
        report = objective(
            output, pid_index, batch.labels, self.config, gather=self._gather, extra=self.extra, source=source
        )
        return {"loss": report.total, **report.terms, **report.statistics}
