"""A network with the batch-norm statistics of each image's camera, and how these statistics are estimated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.errors import ConfigError, DataError, warn
from partreid.models.network import ReIDNetwork
from partreid.preprocessing import PreprocessConfig
from partreid.runners._batch_norms import Change, Gathered, Statistics, batch_norms, change_to, changed, trained
from partreid.runners._light import LightWatch
from partreid.runners.adaptation import Adaptation
from partreid.runners.runner import TorchRunner
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput

_SMALL = (16, 8)
"""Height and width of images when they are compared with one another."""
_ALIKE = 0.8
"""Two such images with at least this correlation hardly differ (docs/adapt.md)."""


class AdaptedRunner(TorchRunner):
    """Runs a network with PyTorch, each image with the statistics of its camera. The network itself is not changed.

    If a batch norm sees the parts of an image as separate images, these must follow one another, as in
    :meth:`ReIDNetwork.pool_own`.

    Args:
        adaptation: of this model. Other arguments as for :class:`TorchRunner`.

    Raises:
        ConfigError: the adaptation is another model's.
    """

    def __init__(
        self,
        model: ReIDNetwork,
        preprocess: PreprocessConfig,
        runtime: RuntimeConfig,
        *,
        mirror: bool = False,
        adaptation: Adaptation,
    ) -> None:
        super().__init__(model, preprocess, runtime, mirror=mirror)
        self.adaptation = adaptation
        self._check()
        self._own = super().fingerprint
        self._norms = {name: norm for name, norm in batch_norms(model).items() if name in adaptation.statistics}
        for name, (mean, _) in adaptation.statistics.items():
            if name not in self._norms or mean.shape[1:] != trained(self._norms[name]).mean.shape:
                raise ConfigError(f"The adaptation has statistics of a layer {name!r:.80} that this model lacks.")
        self._changes = {name: self._change(name) for name in self._norms}
        self._told: set[str | None] = set()
        self._light = LightWatch(adaptation.light)

    def _change(self, name: str) -> Change:
        """[cameras + 1, C]: the last row is for an unknown camera, which gets the mean of all statistics."""
        known = (one.to(self.device) for one in self.adaptation.statistics[name])
        wanted = Statistics(*(torch.cat([one, one.mean(dim=0, keepdim=True)]) for one in known))
        return change_to(self._norms[name], wanted)

    def _check(self) -> None:
        if self.network_fingerprint != self.adaptation.network:
            raise ConfigError(
                f"The adaptation is of another model, or of another image size: it is of {self.adaptation.network}, "
                f"this is {self.network_fingerprint}. Make one of this model with `partreid adapt`."
            )

    @property
    def fingerprint(self) -> str:
        """A fingerprint of the model and the whole adaptation, so embeddings of all its cameras have the same one."""
        own = super().fingerprint
        if own != self._own:  # the model has learned meanwhile, or is compared in another way
            self._check()
            self._own = own
        whole = f"{own} {self.adaptation.fingerprint}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def run(
        self, pixels: np.ndarray, part_maps: Tensor | None, cameras: Sequence[str | None] | None = None
    ) -> ModelOutput:
        """Like :meth:`Runner.run`. ``cameras`` names each image's camera; unknown ones cause a warning."""
        rows = [self.adaptation.row(camera) for camera in cameras or [None] * len(pixels)]
        if cameras is not None:
            self._tell(pixels, cameras, rows)
        index = torch.tensor(rows, device=self.device)

        def change(name: str, x: Tensor) -> Tensor:
            scale, shift = self._changes[name]
            each = index.repeat_interleave(x.shape[0] // len(rows))
            return Change(scale[each], shift[each]).of(x)

        with changed(self._norms, change):
            return super().run(pixels, part_maps)

    def _tell(self, pixels: np.ndarray, cameras: Sequence[str | None], rows: Sequence[int]) -> None:
        """Warn of each unknown camera once, and of a camera whose light has changed."""
        known = self.adaptation.cameras
        for camera, row in zip(cameras, rows, strict=True):
            if row == len(known) and camera not in self._told:
                self._told.add(camera)
                warn(self.adaptation.unknown(camera))
        for row in self._light.changed(pixels, rows):
            warn(
                f"The light of camera {known[row]!r:.80} has changed since the adaptation was made. Compare with "
                "and without it, or make another with `partreid adapt`."
            )


def runner_of(
    model: ReIDNetwork,
    preprocess: PreprocessConfig,
    runtime: RuntimeConfig,
    *,
    mirror: bool = False,
    adaptation: Adaptation | None = None,
) -> TorchRunner:
    """The runner of a network, with the adaptation if there is one. Errors as for the two classes."""
    if adaptation is None:
        return TorchRunner(model, preprocess, runtime, mirror=mirror)
    return AdaptedRunner(model, preprocess, runtime, mirror=mirror, adaptation=adaptation)


class GatheringRunner(TorchRunner):
    """Runs a network on one camera's images, gathers their statistics, and uses the statistics gathered so far.

    Args:
        weight: of these images' statistics in the mixture with the model's own, in (0, 1].

    Raises:
        ConfigError: the network has no batch norms, or the weight is not in (0, 1].
    """

    def __init__(
        self, model: ReIDNetwork, preprocess: PreprocessConfig, runtime: RuntimeConfig, *, weight: float
    ) -> None:
        super().__init__(model, preprocess, runtime)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1:
            raise ConfigError(f"Expected a weight above 0 and of at most 1, got {weight!r:.80}.")
        self.weight = weight
        self._norms = batch_norms(model)
        if not any(name.startswith("backbone.") for name in self._norms):
            raise ConfigError(
                f"The backbone {model.config.backbone} has no batch norms to adapt: it has other norms, or was read "
                "from a file whose batch norms are part of its graph. Use the model as it is."
            )
        self._gathered: dict[str, Gathered] = {}
        self._colors: list[np.ndarray] = []
        self._small: list[Tensor] = []

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        """Like :meth:`Runner.run`, with the statistics so far, which include these images."""

        def change(name: str, x: Tensor) -> Tensor:
            gathered = self._gathered.setdefault(name, Gathered())
            gathered.add(x)
            norm = self._norms[name]
            return change_to(norm, gathered.mixed(trained(norm), self.weight)).of(x)

        self._colors.append(pixels.mean(axis=(1, 2)))
        self._small.append(F.adaptive_avg_pool2d(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), _SMALL))
        with changed(self._norms, change):
            return super().run(pixels, part_maps)

    @property
    def count(self) -> int:
        """Number of images seen so far."""
        return sum(map(len, self._colors))

    def distinct(self) -> float:
        """The approximate number of different images: images that hardly differ count as one."""
        small = torch.cat(self._small).flatten(1)
        small = F.normalize(small - small.mean(dim=1, keepdim=True), dim=1)
        alike = (small @ small.T > _ALIKE).fill_diagonal_(True)
        return float((1 / alike.sum(dim=1)).sum())

    def statistics(self) -> dict[str, Statistics]:
        """Mean and variance [C] by the name of the batch norm, for the norms that were run.

        Raises:
            DataError: no image was seen.
        """
        if not self._gathered:
            raise DataError("Statistics need images: run some first.")
        found = {
            name: gathered.mixed(trained(self._norms[name]), self.weight) for name, gathered in self._gathered.items()
        }
        return {name: Statistics(both.mean.cpu(), both.variance.cpu()) for name, both in found.items()}

    def light(self) -> Tensor:
        """[2, 3]: mean and standard deviation over the images of their mean colour."""
        colors = torch.from_numpy(np.concatenate(self._colors)).float()
        return torch.stack([colors.mean(dim=0), colors.std(dim=0, correction=0)])
