"""Ready configurations. They are functions, so that each can be built from another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from partreid.datasets.batch_config import AugmentConfig, BatchConfig
from partreid.errors import ConfigError, nearest
from partreid.losses.loss_config import GiLtConfig, ObjectiveConfig, RegionWeights
from partreid.models.model_config import ModelConfig, bot_model, official_model, paper_model, pcb_model
from partreid.models.shipped import is_shipped
from partreid.objects import guided
from partreid.preprocessing import PreprocessConfig
from partreid.training.network_presets import NETWORK_PRESETS, NETWORK_SUFFIXES
from partreid.training.train_config import OptimizerConfig, TrainConfig


def paper_occluded() -> TrainConfig:
    """The paper's text for occluded sets: ResNet-50, 256×128, K = 8, 120 epochs."""
    return TrainConfig(model=paper_model())


def paper_holistic() -> TrainConfig:
    """The paper's text for holistic sets: K = 5."""
    return TrainConfig(model=ModelConfig(parts="five"))


def _with_backbone(base: TrainConfig, backbone: str) -> TrainConfig:
    """One of the paper's larger backbones, at its 384×128 (§4.2)."""
    return base.override([f"model.backbone={backbone}", "preprocess.height=384"])


def paper_occluded_ibn() -> TrainConfig:
    """The paper's text for occluded sets with ResNet-50-IBN-a at 384×128 (Table 1, BPBReID_RI)."""
    return _with_backbone(paper_occluded(), "resnet50_ibn_a")


def paper_holistic_ibn() -> TrainConfig:
    """The same for holistic sets: K = 5."""
    return _with_backbone(paper_holistic(), "resnet50_ibn_a")


def paper_occluded_hrnet() -> TrainConfig:
    """The paper's text for occluded sets with HRNet-W32 at 384×128 (Table 1, BPBReID_HR)."""
    return _with_backbone(paper_occluded(), "hrnet_w32")


def paper_holistic_hrnet() -> TrainConfig:
    """The same for holistic sets: K = 5."""
    return _with_backbone(paper_holistic(), "hrnet_w32")


def bot() -> TrainConfig:
    """The BoT baseline: one global embedding with identity loss and triplet, no labels needed."""
    gilt = GiLtConfig(identity=RegionWeights(global_=1), triplet=RegionWeights(global_=1))
    return TrainConfig(model=bot_model(), objective=ObjectiveConfig(gilt=gilt))


def pcb() -> TrainConfig:
    """The PCB baseline of Table 4: six stripes under the GiLt losses, no labels needed."""
    return TrainConfig(model=pcb_model())


def official_occluded() -> TrainConfig:
    """The settings with which the published weights compute, for occluded sets."""
    return TrainConfig(model=official_model(), optimizer=OptimizerConfig(warmup_factor=0.01))


def official_holistic() -> TrainConfig:
    """The settings with which the published weights compute, for holistic sets: K = 5 (``five_v``) and a triplet on the
    foreground.
    """
    return official_occluded().model_copy(
        update={
            "model": official_model().model_copy(update={"parts": "five_v"}),
            "objective": ObjectiveConfig(gilt=GiLtConfig(triplet=RegionWeights(foreground=1, parts=1))),
        }
    )


def light() -> TrainConfig:
    """For CPUs: EfficientNet-Lite0 at 128×64 with a fine map (stride 8: 16×8), K = 5, 60 epochs.

    It is made for trainings shorter than the paper's 120 epochs (docs/results.md has the figures), and differs from the
    paper. The parts also learn identities. Their triplet loss has a tenth of the weight, because it slows the
    beginning. People and boxes are pasted over images, so that the network learns which person is the target. Labels
    are read so that feet are not lost. The weights are averaged.
    """
    return _small().override(
        [
            "objective.gilt.identity.parts=1",
            "objective.gilt.triplet.parts=0.1",
            "augment.flip_probability=0.5",
            "augment.erase_probability=0.3",
            "augment.paste_probability=0.4",
            "augment.pasting.people=0.7",
            "augment.label_sampling=quarters",
            "optimizer.ema_decay=0.998",
        ]
    )


def generalize() -> TrainConfig:
    """The light preset for people and cameras unlike those of the training, for example from rendered people to real
    ones.

    Light, colour and resolution of the images vary, early layers normalise each image separately, and people who look
    alike are in the same batch (docs/training.md).
    """
    return light().override(
        [
            "model.backbone=efficientnet_lite0_in",
            "augment.jitter_probability=0.8",
            "augment.grayscale_probability=0.1",
            "augment.resolution_probability=0.3",
            "batch.look_alikes=true",
        ]
    )


def demo() -> TrainConfig:
    """What ``partreid demo`` trains on the images in the package, in a minute on two cores: :func:`ablation`."""
    return ablation()


def osnet_x1_0() -> TrainConfig:
    """OSNet ×1.0 at 256×128 (16×8), K = 5, 20 epochs; needs its file: ``--set pretrained=osnet_x1_0_imagenet.pth``.

    The losses and augmentation of :func:`light`. No package brings OSNet's weights.
    """
    return _osnet("osnet_x1_0")


def osnet_x0_25() -> TrainConfig:
    """The same with OSNet ×0.25, the smallest: ``--set pretrained=osnet_x0_25_imagenet.pth``."""
    return _osnet("osnet_x0_25")


def osnet_ain_x1_0() -> TrainConfig:
    """The same with OSNet-AIN ×1.0, made for unseen cameras: ``--set pretrained=osnet_ain_x1_0_imagenet.pth``."""
    return _osnet("osnet_ain_x1_0")


def _osnet(backbone: str) -> TrainConfig:
    at_256 = light().model_copy(update={"preprocess": PreprocessConfig()})  # mean and std of ImageNet, as in the zoo
    return at_256.override(
        [
            f"model.backbone={backbone}",
            "model.map_stride=null",
            "augment.padding=10",
            "optimizer.epochs=20",
            "optimizer.warmup_epochs=2",
        ]
    )


def ablation() -> TrainConfig:
    """A row of ``partreid experiment`` in three minutes on one core: generalize's network, the paper's losses.

    So short a training must start from a network that knows people. It starts from the model in the package, and
    changes its layers more slowly than the new heads. Labels are read at the quarters of a cell, and the classifier's
    input is normalised, so that small parts are learned in hundreds of steps.
    """
    return _small().override(
        [
            "model.backbone=efficientnet_lite0_in",
            "model.part_classifier_batchnorm=true",
            "augment.label_sampling=quarters",
            "optimizer.backbone_rate=0.3",
            "optimizer.epochs=5",
            "optimizer.warmup_epochs=1",
            "pretrained=shipped",
        ]
    )


def _small() -> TrainConfig:
    """The network of :func:`light` and how it is trained, with the paper's losses and augmentation.

    Short training leaves the part classifier behind: λ_pa is raised from 0.35 to 3, and λ_v lowered from 0.4 to
    0.3, because attention over few steps stays flatter. Batches of 8 × 4 take twice the steps of 16 × 4 in the same
    time.
    """
    return TrainConfig(
        model=ModelConfig(
            backbone="efficientnet_lite0", map_stride=8, parts="five", embedding_dim=256, visibility_threshold=0.3
        ),
        # EfficientNet-Lite's ImageNet weights were trained on images in [-1, 1].
        preprocess=PreprocessConfig(height=128, width=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        batch=BatchConfig(identities_per_batch=8),
        augment=AugmentConfig(padding=5),
        objective=ObjectiveConfig(part_attention_weight=3.0),
        optimizer=OptimizerConfig(epochs=60, learning_rate=1e-3, warmup_epochs=3, schedule="cosine"),
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "paper-occluded": paper_occluded,
    "paper-holistic": paper_holistic,
    "paper-occluded-ibn": paper_occluded_ibn,
    "paper-holistic-ibn": paper_holistic_ibn,
    "paper-occluded-hrnet": paper_occluded_hrnet,
    "paper-holistic-hrnet": paper_holistic_hrnet,
    "bot": bot,
    "pcb": pcb,
    "official-occluded": official_occluded,
    "official-holistic": official_holistic,
    "light": light,
    "generalize": generalize,
    "demo": demo,
    "ablation": ablation,
    "osnet-x1-0": osnet_x1_0,
    "osnet-x0-25": osnet_x0_25,
    "osnet-ain-x1-0": osnet_ain_x1_0,
}
"""Every preset by its name on the command line."""


@guided
def get_preset(name: str) -> TrainConfig:
    """The preset of that name; those for an existing network are "parts-on FILE" and "fine-tune FILE".

    Raises:
        ConfigError: there is no such preset (the message names the nearest one); or it needs a network, and none is
            named or its file is missing.
        CheckpointError: the network's file cannot be read.
    """
    if name in PRESETS:
        return PRESETS[name]()
    first, _, network = str(name).partition(" ")
    if first in NETWORK_PRESETS and network.strip():
        return NETWORK_PRESETS[first](network.strip())
    if first in NETWORK_PRESETS:
        raise ConfigError(
            f'The preset {first} stands on a network: expected "{first} FILE" with a file of one '
            f"({', '.join(NETWORK_SUFFIXES)}) or a backbone's name such as resnet50, got {name!r}."
        )
    raise ConfigError(f"Unknown preset {name!r}. {nearest(name, (*PRESETS, *NETWORK_PRESETS))}")


def find_config(source: str | Path) -> TrainConfig:
    """A configuration, from a preset's name, a run's folder, or a TOML, YAML or JSON file.

    Raises:
        ConfigError: it is none of these, or the file does not fit. CheckpointError: the folder holds no run.
    """
    if str(source) in PRESETS or str(source).partition(" ")[0] in NETWORK_PRESETS:
        return get_preset(str(source))
    path = Path(source)
    if is_shipped(source) or path.is_dir():
        from partreid.models.checkpoint import find_checkpoint  # opening a run needs PyTorch, a preset does not
        from partreid.training.started_with import load_train_config

        return load_train_config(find_checkpoint(source))
    if path.exists():
        return TrainConfig.load(path)
    raise ConfigError(
        f"Expected a preset, a run's folder or a file, got {str(source)!r}. "
        f"{nearest(str(source), (*PRESETS, *NETWORK_PRESETS))}"
    )
