"""Runners of networks: the interface, and the runner for PyTorch. Exported files have their own runners."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from partreid.errors import ConfigError
from partreid.functional.merging import SlotSums
from partreid.models.carried import file_backbone
from partreid.models.network import ReIDNetwork
from partreid.parts import PartSchema, flip_order, has_unnamed
from partreid.preprocessing import PreprocessConfig, normalize
from partreid.runtime import RuntimeConfig, resolve_arithmetic, resolve_device
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

_COMPARING = ("visibility", "visibility_threshold", "normalize_embeddings", "slot_weights")
"""Fields of the model that do not change any layer's output: they decide visibility and the comparison of vectors."""


class PoseInput(NamedTuple):
    """The part schema of the maps that a pose-guided network needs beside pixels, and (h, w) of its feature map."""

    schema: PartSchema
    map_size: tuple[int, int]


class Runner(Protocol):
    """A network that can be run, wherever it comes from.

    Attributes:
        preprocess: its input's size, and the normalisation, which ``run`` applies.
        mirror: whether ``run`` embeds each image and its mirror image, and averages them.
        device: where it computes.
    """

    preprocess: PreprocessConfig
    mirror: bool
    device: torch.device

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """A name for everything that the embeddings depend on. Runners with the same name agree up to rounding."""
        ...

    @property
    def normalize_embeddings(self) -> bool:
        """Whether matching should normalise vectors first, as the network was made for."""
        ...

    @property
    def slot_weights(self) -> Mapping[str, float]:
        """Weights of slots in matching by name, in addition to their visibility. A slot that is not named has 1."""
        ...

    @property
    def visibility(self) -> str:
        """The rule of visibility, as ``ModelConfig.visibility``; "always" for networks that call every part visible."""
        ...

    @property
    def visibility_threshold(self) -> float | None:
        """λ_v of Eq. 4; None for another rule."""
        ...

    @property
    def pose(self) -> PoseInput | None:
        """The part maps that ``run`` needs; None if the network finds the parts itself."""
        ...

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        """Run the network on a batch.

        Args:
            pixels: uint8 [B, H, W, 3] RGB at the size of ``preprocess``.
            part_maps: float32 [B, K, h, w] on the CPU if ``pose`` asks for them, else None.

        Returns:
            float32 tensors on the CPU; None for tensors that the runner does not have.
        """
        ...


def signed(embeddings: PartEmbeddings, runner: Runner) -> PartEmbeddings:
    """Embeddings marked with their model and its way of comparison."""
    return replace(
        embeddings,
        model=runner.fingerprint,
        compare_normalized=runner.normalize_embeddings,
        compare_weights=runner.slot_weights,
    )


def nothing(runner: Runner) -> PartEmbeddings:
    """Embeddings of no image, [0, S, D]. A black image is embedded to learn the width."""
    pose = runner.pose
    maps = None if pose is None else torch.zeros(1, len(pose.schema), *pose.map_size)
    output = runner.run(np.zeros((1, *runner.preprocess.size, 3), np.uint8), maps)
    return signed(output.embeddings, runner)[:0]


class TorchRunner:
    """Runs a network with PyTorch. Arguments and errors as for :class:`~partreid.inference.extractor.PartExtractor`."""

    def __init__(
        self, model: ReIDNetwork, preprocess: PreprocessConfig, runtime: RuntimeConfig, *, mirror: bool = False
    ) -> None:
        self.device = resolve_device(runtime.device)
        self.model = model.to(self.device).eval()
        self.preprocess = preprocess
        self.mirror = mirror
        network = file_backbone(model.backbone)
        if network is not None and (wrong := network.reads.contradictions(preprocess)):
            expected = ", ".join(f"{field}={value!r}" for field, value in wrong.items())
            raise ConfigError(
                f"{network.source} says that its network reads other images: {expected}. Prepare them with "
                "partreid.models.preprocess_for(model.config.backbone)."
            )
        if mirror and has_unnamed(self.slots):
            raise ConfigError(
                f"The parts of this model have no names ({', '.join(self.slots)}), so left and right cannot be told "
                "apart in a mirror image. Embed without the mirror, or load the weights with their part schema."
            )
        precision = "float32" if runtime.precision == "auto" else runtime.precision
        self._arithmetic = resolve_arithmetic(self.device, precision)
        self._known: tuple[tuple[object, ...], str] | None = None  # the state whose fingerprint is known

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.model.slots

    @property
    def normalize_embeddings(self) -> bool:
        """Whether the model was made for normalised vectors."""
        return self.model.config.normalize_embeddings

    @property
    def slot_weights(self) -> Mapping[str, float]:
        """The weights of slots for which the model was made."""
        return self.model.config.slot_weights

    @property
    def visibility(self) -> str:
        """The rule of visibility; "always" for stripes and for a global embedding."""
        return self.model.config.visibility_rule

    @property
    def visibility_threshold(self) -> float | None:
        """λ_v of Eq. 4; None where the rule is another."""
        return self.model.config.visibility_threshold if self.visibility == "threshold" else None

    @property
    def pose(self) -> PoseInput | None:
        """The part maps that replace learned attention, if the model needs them."""
        config = self.model.config
        if not config.pose_guided:
            return None
        height, width = self.preprocess.size
        stride = self.model.backbone.output_stride
        return PoseInput(config.part_schema, (height // stride, width // stride))

    @property
    def fingerprint(self) -> str:
        """The fingerprint depends on the present weights, so it changes when the model learns or is adapted."""
        state = self._state()
        if self._known is None or self._known[0] != state:
            self._known = (state, self._digest(self._choices()))
        return self._known[1]

    def _state(self) -> tuple[object, ...]:
        """Values that show quickly whether something has changed."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        versions = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
        places = [tensor.data_ptr() for tensor in tensors]
        # Writing into ``tensor.data`` does not raise the version. Training that way changes all weights, so a few of
        # them are enough to notice it.
        some = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
        samples = [tensor.detach().reshape(-1)[:1].float() for tensor in some[:: max(1, len(some) // 16)]]
        numbers = torch.cat(samples).tolist() if samples else []
        return self.model.config, self.preprocess, self.mirror, tuple(places), tuple(versions), tuple(numbers)

    @property
    def network_fingerprint(self) -> str:
        """A name for the layers' computation: weights, architecture and image size, but not the comparison."""
        config, preprocess, _ = self._choices()
        return self._digest([{name: config[name] for name in config if name not in _COMPARING}, preprocess])

    def _choices(self) -> tuple[dict[str, Any], dict[str, Any], bool]:
        config = self.model.config.model_dump(mode="json", exclude_defaults=True)
        network = file_backbone(self.model.backbone)
        if network is not None and network.identity is not None:
            config["backbone"] = network.identity  # the file's content, not its path
        return config, self.preprocess.model_dump(mode="json"), self.mirror

    def _digest(self, choices: Sequence[object]) -> str:
        digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.inference_mode()
    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        """Run the network on images uint8 [B, H, W, 3]; see :meth:`Runner.run`."""
        training = [module for module in self.model.modules() if module.training]
        if training:  # a training may have changed the mode since the last call
            self.model.eval()
        try:
            return self._run(pixels, part_maps)
        finally:
            for module in training:
                module.training = True

    def _run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        # [B, H, W, 3] seen as [B, 3, H, W] is channels-last already, the layout convolutions run fastest in.
        images = normalize(self._moved(torch.from_numpy(pixels)).permute(0, 3, 1, 2), self.preprocess)
        part_maps = None if part_maps is None else self._moved(part_maps)
        dtype = torch.float16 if self._arithmetic == "float16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=dtype, enabled=self._arithmetic != "float32"):
            output: ModelOutput = self.model(images, part_maps, classify=False)
            if self.mirror:
                if part_maps is not None:
                    part_maps = part_maps[:, list(flip_order(self.model.config.part_names))].flip(3)
                output = merge_mirrored(output, self.model(images.flip(3), part_maps, classify=False))
        return output.map(lambda tensor: tensor.float().cpu())

    def _moved(self, tensor: Tensor) -> Tensor:
        """Move to the device. A GPU reads pinned memory while the host continues."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def merge_mirrored(output: ModelOutput, mirrored: ModelOutput) -> ModelOutput:
    """Average a model's output for images with its output for their mirror images.

    In the mirror a left arm is a right one, so the slots are swapped back by their names. A slot's vector is the mean
    of both vectors, weighted by their visibility, so that a part seen in only one image comes from that image. Its
    visibility is the larger one. Holistic vectors are averaged without weights. Maps and logits are those of the image
    itself.

    Args:
        output: for the images. mirrored: for the mirrored images.

    Returns:
        The merged output. Merging in the other order gives the same up to the swap of slots.
    """
    here, there = output.embeddings, swap_sides(mirrored.embeddings)
    both = SlotSums.of(torch.stack([here.vectors, there.vectors]), torch.stack([here.visibility, there.visibility]))
    parts = output.visibility.shape[1]
    order = list(flip_order(here.slots[len(here.slots) - parts :]))
    return replace(
        output,
        features=_mean_regions(output.features, mirrored.features, order),
        bn_features=_mean_regions(output.bn_features, mirrored.bn_features, order),
        visibility=torch.maximum(output.visibility, mirrored.visibility[:, order]),
        embeddings=both.mean(here),
    )


def swap_sides(embeddings: PartEmbeddings) -> PartEmbeddings:
    """Embeddings with left and right slots exchanged.

    Example:
        >>> e = PartEmbeddings(torch.eye(2)[None], torch.tensor([[1.0, 0.5]]), ("left_arm", "right_arm"))
        >>> swap_sides(e).visibility
        tensor([[0.5000, 1.0000]])
    """
    order = list(flip_order(embeddings.slots))
    return replace(embeddings, vectors=embeddings.vectors[:, order], visibility=embeddings.visibility[:, order])


def _mean_regions(a: RegionVectors, b: RegionVectors, order: list[int]) -> RegionVectors:
    """The plain mean of every region; ``order`` swaps the parts of ``b``."""

    def mean(name: str) -> Tensor:
        mine: Tensor = getattr(a, name)
        theirs: Tensor = getattr(b, name)
        if name == "parts":
            theirs = theirs[:, order]
        elif name == "concat":  # the parts one after the other
            theirs = theirs.reshape(theirs.shape[0], len(order), -1)[:, order].flatten(1)
        return (mine + theirs) / 2

    return RegionVectors(**{name: mean(name) for name in RegionVectors.NAMES if getattr(a, name) is not None})
