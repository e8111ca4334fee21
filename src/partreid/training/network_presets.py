"""Presets for an existing network; each is a function of the network's file or name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from partreid.datasets.batch_config import AugmentConfig, BatchConfig, PasteConfig
from partreid.errors import ConfigError
from partreid.lazy import torch
from partreid.losses.loss_config import DistillationConfig, GiLtConfig, ObjectiveConfig, RegionWeights
from partreid.models.backbones import BACKBONES, build_backbone, preprocess_for
from partreid.models.backbones.osnet_names import OSNETS
from partreid.models.model_config import ModelConfig
from partreid.parts import GLOBAL
from partreid.training.train_config import OptimizerConfig, TrainConfig

GRAPHS = {".xml": "openvino/", ".onnx": "onnx/"}
WEIGHTS = (".pth", ".pt", ".safetensors")
NETWORK_SUFFIXES = (*GRAPHS, *WEIGHTS)
"""How files of networks end."""


def parts_on(network: str) -> TrainConfig:
    """Train only heads: parts, visibility and necks on a network that does not change. This takes minutes on two cores.

    The feature maps of the training images are computed once (:mod:`partreid.training.cached_maps`). If the network has
    an embedding of its own, its layers after the map learn to embed parts. Distillation keeps their embedding of the
    whole image, the slot "global", close to the original one.
    """
    base = _on_network(network)
    own = base.model.own_embedding
    return base.override(
        [
            f"objective.distillation.global_={5 if own else 0}",
            f"optimizer.frozen_stride={_WHOLE}",
            "optimizer.epochs=10",
            "optimizer.warmup_epochs=1",
            "optimizer.ema_decay=0.998",
        ]
    )


def fine_tune(network: str) -> TrainConfig:
    """Continue the training of a network, with parts and hidden people, while distillation keeps its embedding close to
    the original one.
    """
    base = _on_network(network)
    own = base.model.own_embedding
    return base.override(
        [
            f"objective.distillation.global_={5 if own else 0}",
            "augment.paste_probability=0.6",
            "augment.pasting.people=0.5",
            "optimizer.backbone_rate=0.3",
            "optimizer.epochs=6",
            "optimizer.warmup_epochs=0",
            "optimizer.ema_decay=0.99",
        ]
    )


NETWORK_PRESETS: dict[str, Callable[[str], TrainConfig]] = {"parts-on": parts_on, "fine-tune": fine_tune}
"""Every such preset by its name; ``get_preset("parts-on FILE")`` makes its configuration."""

_WHOLE = 1024
"""A stride larger than any backbone's, so that the whole backbone is frozen."""


def _on_network(network: str) -> TrainConfig:
    """The common part of both presets: the network, its input, and light's losses."""
    backbone, pretrained = find_network(network)
    with torch.random.fork_rng(devices=[]):  # asking for its size must not change the caller's random numbers
        built = build_backbone(backbone)
    own = built.vector_dim is not None
    size = getattr(built, "size", None) or (256, 128)
    return TrainConfig(
        model=ModelConfig(
            backbone=backbone,
            parts="five",
            own_embedding=own,
            embedding_dim=None if own else 512,
            # With the norm the part classifier learns in hundreds of steps; without it thousands are needed.
            part_classifier_batchnorm=True,
            visibility_threshold=0.2,
            normalize_embeddings=own,
            slot_weights={GLOBAL: 2} if own else {},
        ),
        preprocess=preprocess_for(backbone, height=size[0], width=size[1]),
        batch=BatchConfig(identities_per_batch=8),
        augment=AugmentConfig(
            padding=10,
            flip_probability=0.5,
            erase_probability=0.3,
            paste_probability=0.4,
            pasting=PasteConfig(people=0.7),
            label_sampling="quarters",
        ),
        objective=ObjectiveConfig(
            gilt=GiLtConfig(
                identity=RegionWeights(global_=1, foreground=1, concat=1, parts=1), triplet=RegionWeights(parts=0.1)
            ),
            part_attention_weight=3.0,
            distillation=DistillationConfig(),
        ),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="cosine"),
        pretrained=pretrained,
    )


def find_network(network: str) -> tuple[str, str]:
    """The values of ``model.backbone`` and ``pretrained`` for a file, or for a backbone's name.

    Raises:
        ConfigError: there is no such file, or no such backbone. CheckpointError: the file's network is unknown.
    """
    path = Path(network)
    suffix = path.suffix.lower()
    if _registered(network) or suffix not in NETWORK_SUFFIXES:
        return BACKBONES.check(network), "imagenet"
    if not path.is_file():
        raise ConfigError(f"There is no network file {network}. Check the path.")
    return (f"{GRAPHS[suffix]}{network}", "imagenet") if suffix in GRAPHS else (_osnet_of(path), network)


def _osnet_of(path: Path) -> str:
    """The OSNet whose weights are in a file, recognised by their names and shapes."""
    from partreid.models.backbones.osnet import OSNet
    from partreid.models.backbones.weights import read_state_dict

    found = {key: tuple(tensor.shape) for key, tensor in read_state_dict(path).items()}
    for name, (kind, width) in OSNETS.items():
        with torch.device("meta"):  # shapes without numbers
            wanted = OSNet(kind, width).state_dict()
        if all(found.get(key) == tuple(tensor.shape) for key, tensor in wanted.items() if tensor.ndim):
            return name
    raise ConfigError(
        f"{path} holds no OSNet ({', '.join(OSNETS)}). Weights of another network are given beside its name: "
        f"--backbone NAME --set pretrained={path}."
    )


def _registered(name: str) -> bool:
    try:
        return bool(BACKBONES.check(name))
    except ConfigError:
        return False


def names_network(word: str) -> bool:
    """Whether a word of a command line is a network's file or a backbone's name, and no data set."""
    return Path(word).suffix.lower() in NETWORK_SUFFIXES or (not Path(word).exists() and _registered(word))
