"""Training: configuration, presets, the loop, and resuming."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.training.callbacks import StepRecord, TensorBoardCallback, TrainingCallback
    from partreid.training.loop import Trainer
    from partreid.training.network_presets import NETWORK_PRESETS, names_network
    from partreid.training.presets import PRESETS, find_config, get_preset
    from partreid.training.state import load_run_config
    from partreid.training.supervised import SupervisedModel
    from partreid.training.train_config import CachedMapsConfig, DistributedConfig, OptimizerConfig, TrainConfig

__all__ = [
    "NETWORK_PRESETS", "PRESETS", "CachedMapsConfig", "DistributedConfig", "OptimizerConfig", "StepRecord",
    "SupervisedModel", "TensorBoardCallback", "TrainConfig", "Trainer", "TrainingCallback", "find_config", "get_preset",
    "load_run_config", "names_network",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
