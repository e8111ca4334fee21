"""Ready configurations: functions, so that each is built from the one it departs from."""

from __future__ import annotations

from collections.abc import Callable

from partreid.datasets.augment import AugmentConfig
from partreid.errors import ConfigError, nearest
from partreid.losses.config import GiLtConfig, ObjectiveConfig, RegionWeights
from partreid.models.config import ModelConfig, official_model
from partreid.preprocessing import PreprocessConfig
from partreid.training.config import OptimizerConfig, TrainConfig


def paper_occluded() -> TrainConfig:
    """The paper's text for occluded sets: ResNet-50, 256×128, K = 8, 120 epochs."""
    return TrainConfig()


def paper_holistic() -> TrainConfig:
    """The paper's text for holistic sets: K = 5."""
    return TrainConfig(model=ModelConfig(parts="five"))


def official_occluded() -> TrainConfig:
    """The published weights' numerics for occluded sets."""
    return TrainConfig(model=official_model(), optimizer=OptimizerConfig(warmup_factor=0.01))


def official_holistic() -> TrainConfig:
    """The published weights' numerics for holistic sets: K = 5 (``five_v``) and a triplet on the foreground."""
    return official_occluded().model_copy(
        update={
            "model": official_model().model_copy(update={"parts": "five_v"}),
            "objective": ObjectiveConfig(gilt=GiLtConfig(triplet=RegionWeights(foreground=1, parts=1))),
        }
    )


def light() -> TrainConfig:
    """For CPUs: EfficientNet-Lite0 at 128×64 with a fine map (stride 8: 16×8), K = 5, 60 epochs."""
    return TrainConfig(
        model=ModelConfig(backbone="efficientnet_lite0", map_stride=8, parts="five", embedding_dim=256),
        # EfficientNet-Lite's ImageNet weights were trained on pictures in [-1, 1].
        preprocess=PreprocessConfig(height=128, width=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        augment=AugmentConfig(padding=5),
        optimizer=OptimizerConfig(epochs=60, learning_rate=1e-3, warmup_epochs=3, schedule="cosine"),
    )


def demo() -> TrainConfig:
    """The light preset, short enough for ``partreid demo`` on two cores."""
    return light().override(["optimizer.epochs=30"])


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "paper-occluded": paper_occluded,
    "paper-holistic": paper_holistic,
    "official-occluded": official_occluded,
    "official-holistic": official_holistic,
    "light": light,
    "demo": demo,
}
"""Every preset by its name on the command line."""


def get_preset(name: str) -> TrainConfig:
    """The preset of that name.

    Raises:
        ConfigError: there is none; the message names the nearest one.
    """
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}. {nearest(name, PRESETS)}")
    return PRESETS[name]()
