"""The configuration of a training: every choice in one tree, stored beside the checkpoint."""

from __future__ import annotations

import json
import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from partreid.base_config import ConfigModel
from partreid.datasets.batch_config import AugmentConfig, BatchConfig
from partreid.losses.loss_config import ObjectiveConfig
from partreid.models.backbones import embeds, network_outline
from partreid.models.model_config import ModelConfig
from partreid.parts import PartSchema
from partreid.preprocessing import PreprocessConfig

Positive = Annotated[float, Field(gt=0)]
IMAGENET, NO_WEIGHTS = "imagenet", "none"
"""Possible values of ``pretrained`` other than a path."""


class OptimizerConfig(ConfigModel):
    """Adam and its learning rate over the epochs."""

    epochs: Annotated[int, Field(ge=1)] = 120
    """Passes over the training identities (paper §4.2: 120)."""
    learning_rate: Positive = 3.5e-4
    """Peak learning rate (paper §4.2)."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """L2 penalty added to the gradient, as Adam has it (BoT's setting, adopted by the paper)."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 10
    """Epochs of linear warm-up (paper §4.2: 10)."""
    warmup_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Fraction of the peak at which warm-up starts (paper: 3.5e-5 = 0.1; published weights: 0.01)."""
    schedule: Literal["steps", "cosine"] = "steps"
    """After warm-up: constant between milestones (paper), or a half cosine down to 0, updated at every batch."""
    milestones: tuple[int, ...] = (40, 70)
    """Epochs at which "steps" multiplies the rate by ``decay`` (paper §4.2: 40 and 70)."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor at each milestone (paper §4.2: 0.1)."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are averaged before a step. Each mines its own triplets and has its own BN statistics, so
    2 batches of 16 × 4 are not one of 32 × 4. The last step of an epoch uses the remaining batches.
    """
    backbone_rate: Positive = 1.0
    """Learning rate of the backbone as a fraction of the others' (paper: 1). A smaller rate preserves more of its
    pretrained weights.
    """
    frozen_stride: Annotated[int, Field(ge=1)] | None = None
    """The backbone's weights up to its features of this stride are frozen. The stride of its output freezes the whole
    map, and only later layers learn. None = train all weights (paper).
    """
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average of the weights and BN statistics, which becomes the model in the
    checkpoint; 0 = none (paper). 0.999 averages about the last 1000 steps."""

    def rate(self, epoch: float) -> float:
        """Learning rate at a point of training.

        Args:
            epoch: epochs done, with a fraction within one; "steps" changes at whole epochs only.
        """
        if self.schedule == "steps":
            epoch = math.floor(epoch)
        if epoch < self.warmup_epochs:
            return self.learning_rate * (self.warmup_factor + (1 - self.warmup_factor) * epoch / self.warmup_epochs)
        if self.schedule == "steps":
            return self.learning_rate * self.decay ** sum(epoch >= m for m in self.milestones)
        done = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class DistributedConfig(ConfigModel):
    """Training on several devices, one process each (torchrun). On a single device it has no effect."""

    batch: Literal["across_devices", "per_device"] = "across_devices"
    """True: P × K images are one batch across all devices. Each device has P / devices identities, and triplets are
    mined over the whole batch. So a configuration means the same on any number of devices. False: each device draws and
    mines its own P × K images. Steps are then larger, and may need a higher learning rate.
    """
    sync_batchnorm: bool = False
    """Whether BN statistics are taken over all devices instead of each device's images."""


class CachedMapsConfig(ConfigModel):
    """Feature maps that are computed once, if ``optimizer.frozen_stride`` freezes the whole feature map."""

    variants: Annotated[int, Field(ge=0)] = 4
    """Number of variants of each image, the first unchanged and the others augmented, if there is enough space. 0 =
    compute maps at every step.
    """
    gib: Positive = 4.0
    """Space for them in the run's folder, in GiB."""
    keep: bool = False
    """Whether they are kept after the training."""


class TrainConfig(ConfigModel):
    """Everything that shapes a trained model. The defaults are the paper's for occluded sets."""

    model: ModelConfig = ModelConfig()
    """What the model is."""
    preprocess: PreprocessConfig = PreprocessConfig()
    """Size and normalisation of its input."""
    batch: BatchConfig = BatchConfig()
    """How training batches are drawn."""
    augment: AugmentConfig = AugmentConfig()
    """How images and labels are varied."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is minimised."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How it is minimised."""
    cached_maps: CachedMapsConfig = CachedMapsConfig()
    """How heads alone are trained."""
    distributed: DistributedConfig = DistributedConfig()
    """How several devices share the work."""
    pretrained: str = "imagenet"
    """Initial weights of the backbone: "imagenet" (if a package contains the file), a file of such weights, the folder
    of a run (its backbone), or "none".
    """
    labels: str = "auto"
    """Label folder within each set's ``masks``; "auto" = the only one; if several are given with commas, the first
    existing one.
    """
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of all random numbers: order, augmentation, new layers."""

    @model_validator(mode="after")
    def _size_fits_stride(self) -> TrainConfig:
        multiple = self.model.input_multiple
        if self.preprocess.height % multiple or self.preprocess.width % multiple:
            raise ValueError(
                f"height and width of the input {self.preprocess.height}×{self.preprocess.width} must be multiples of "
                f"{multiple} for model.backbone = {self.model.backbone}"
            )
        return self

    @model_validator(mode="after")
    def _images_are_as_the_file_reads_them(self) -> TrainConfig:
        name, given = self.model.backbone, self.preprocess
        outline = network_outline(name)
        if outline is None:
            return self
        if wrong := outline.reads.contradictions(given):
            lines = " ".join(
                f"--set preprocess.{field}={json.dumps(value, separators=(',', ':')).strip(chr(34))}"
                for field, value in wrong.items()
            )
            raise ValueError(
                f"the file of model.backbone = {name} says that its network reads other images; to these it would "
                f"answer with numbers that look right: {lines}"
            )
        made_for = outline.reads.size
        if self.model.own_embedding and made_for not in (None, given.size) and not embeds(name, given.size):
            assert made_for is not None
            raise ValueError(
                f"the own embedding of model.backbone = {name} is for images {made_for[0]}×{made_for[1]}, and not "
                f"{given.height}×{given.width}: --set preprocess.height={made_for[0]} "
                f"--set preprocess.width={made_for[1]}"
            )
        return self

    @model_validator(mode="after")
    def _two_views_are_compared(self) -> TrainConfig:
        if (self.objective.consistency_weight > 0) != (self.batch.views == 2):
            raise ValueError(
                f"objective.consistency_weight = {self.objective.consistency_weight:g} and batch.views = "
                f"{self.batch.views}: two views of each image are what consistency compares; nothing else needs them"
            )
        return self

    @model_validator(mode="after")
    def _labels_know_the_parts(self) -> TrainConfig:
        if self.model.attention == "stripes" and self.objective.gilt.triplet_visibility == "labels":
            raise ValueError(
                "labels say nothing of stripes: objective.gilt.triplet_visibility = labels needs another "
                "model.attention"
            )
        return self

    @property
    def label_schema(self) -> PartSchema | None:
        """The parts that labels are read for; None trains without labels."""
        attention = self.model.attention == "learned" and self.objective.part_attention_weight > 0
        triplet = self.model.attention != "none" and self.objective.gilt.triplet_visibility == "labels"
        cut_out = self.augment.paste_probability > 0 and self.augment.pasting.people > 0
        return self.model.part_schema if attention or triplet or cut_out or self.model.pose_guided else None

    @property
    def map_size(self) -> tuple[int, int]:
        """(H, W) of the feature map."""
        stride = self.model.stride
        return self.preprocess.height // stride, self.preprocess.width // stride
