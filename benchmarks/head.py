"""What the part attention, the heads and the losses cost over the bare backbone."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.timing import Figure, compare
from partreid.losses.loss_config import ObjectiveConfig
from partreid.losses.objective import objective
from partreid.models.bpbreid import BPBReID
from partreid.models.model_config import ModelConfig
from partreid.runtime import keep_freed_memory
from partreid.training.presets import light, paper_occluded

TITLE = "Part attention, heads and losses over the bare backbone"
LIMIT = 1.05
IDENTITIES = 751
UNJOINED = "over its maps before they are joined"
"""The network itself does not join them: what is left is the head alone."""


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """Inference and training step, for the paper's ResNet-50 (K = 8) and the light model (K = 5)."""
    models = (
        ("ResNet-50, K = 8, 256×128", paper_occluded().model, (256, 128), 16),
        ("light, K = 5, 128×64", light().model, (128, 64), 64),
    )
    for name, config, size, batch in models:
        yield from _inference(name, config, size, batch, rounds)
    keep_freed_memory()  # as training does
    for name, config, size, batch in models:
        yield from _training(name, config, size, batch, rounds)


def _inference(name: str, config: ModelConfig, size: tuple[int, int], batch: int, rounds: int) -> Iterator[Figure]:
    model, images = _model(config), _images(batch, size)
    model.eval()

    @torch.inference_mode()
    def whole() -> None:
        model(images, classify=False)  # as PartExtractor calls it

    @torch.inference_mode()
    def bare() -> None:
        model.backbone(images)

    @torch.inference_mode()
    def unjoined() -> None:
        model.backbone.unjoined(images)

    title = f"inference, {name}, batch {batch}"
    yield compare(title, whole, bare, rounds=rounds, limit=LIMIT)
    if len(model.backbone.joined_strides) > 1:
        yield compare(f"{title}, {UNJOINED}", whole, unjoined, rounds=rounds)


def _training(name: str, config: ModelConfig, size: tuple[int, int], batch: int, rounds: int) -> Iterator[Figure]:
    model, images = _model(config).train(), _images(batch, size)
    pid_index = torch.arange(batch) // 4
    stride = config.stride
    labels = torch.randint(0, len(config.part_schema) + 1, (batch, size[0] // stride, size[1] // stride))

    def whole() -> None:
        model.zero_grad()
        objective(model(images), pid_index, labels, ObjectiveConfig()).total.backward()

    # As large as the map, as heads send it back: that of a mean is one number, on which some layers are slow.
    gradient = torch.randn_like(model.backbone(images).detach())

    def bare() -> None:
        model.zero_grad()
        model.backbone(images).backward(gradient)

    strides = model.backbone.joined_strides
    found = model.backbone.unjoined(images)
    gradients = [torch.randn_like(found[stride].detach()) for stride in strides]

    def unjoined() -> None:
        model.zero_grad()
        maps = model.backbone.unjoined(images)
        torch.autograd.backward([maps[stride] for stride in strides], gradients)

    title = f"forward + backward, {name}, batch {batch}"
    yield compare(title, whole, bare, rounds=rounds, limit=LIMIT)
    if len(strides) > 1:
        yield compare(f"{title}, {UNJOINED}", whole, unjoined, rounds=rounds)


def _model(config: ModelConfig) -> BPBReID:
    return BPBReID(config, IDENTITIES).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _images(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(batch, 3, *size).contiguous(memory_format=torch.channels_last)
