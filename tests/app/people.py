"""A model that looks at colours, and a gallery of people in two of them: for the tests of the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from partreid.inference.extractor import PartExtractor
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.gallery import Gallery
from partreid.runners.runner import PoseInput
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

HEIGHT, WIDTH = 64, 32
Rgb = tuple[int, int, int]
BLACK: Rgb = (0, 0, 0)
COLORS: dict[str, Rgb] = {"anna": (220, 40, 40), "ben": (40, 220, 40), "carla": (40, 40, 220)}
DAY = 1767225600  # 2026-01-01 in UTC
EVIL = "<script>window.evil=1</script>\"'><img src=x onerror='window.evil=1'>"
"""A text that must stay a text."""


class ColorRunner:
    """The torso is the upper half of an image, the legs the lower one; each is its mean colour, unseen where black."""

    preprocess = PreprocessConfig(height=HEIGHT, width=WIDTH)
    mirror = False
    device = torch.device("cpu")
    slots = ("foreground", "torso", "legs")
    fingerprint = "colours"
    normalize_embeddings = False
    slot_weights: ClassVar[dict[str, float]] = {}
    visibility = "argmax"
    visibility_threshold: float | None = None
    pose: PoseInput | None = None

    def __init__(self) -> None:
        self.runs = 0

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        """See :class:`~partreid.runners.runner.Runner`."""
        self.runs += 1
        halves = torch.from_numpy(pixels.reshape(len(pixels), 2, -1, 3).mean(axis=2)).float()
        seen = (halves.amax(dim=2) > 20).float()
        whole = (halves * seen[:, :, None]).sum(1, keepdim=True) / seen.sum(1).clamp(min=1)[:, None, None]
        vectors = torch.cat([whole, halves], dim=1) / 25
        visibility = torch.cat([seen.amax(1, keepdim=True), seen], dim=1)
        attention = torch.zeros(len(pixels), 3, 8, 4)
        attention[:, 1, :4], attention[:, 2, 4:] = 0.9, 0.9
        attention[:, 0] = 1 - attention[:, 1:].sum(1)
        embeddings = PartEmbeddings(vectors, visibility, self.slots)
        return ModelOutput(None, attention, RegionVectors(), RegionVectors(), None, seen, embeddings)


def person(torso: Rgb, legs: Rgb, *, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """An image of somebody in two colours; a black half is hidden."""
    image = np.zeros((*size, 3))
    image[: size[0] // 2], image[size[0] // 2 :] = torso, legs
    noise = np.random.default_rng(seed).integers(-4, 5, image.shape) * (image > 0)
    return (image + noise).clip(0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def calibration() -> MatchCalibration:
    return MatchCalibration(
        prior=0.3, offsets=(1.0, 2.0, 3.0), slopes=(1.0, 1.0, 1.0), model=ColorRunner.fingerprint, fitted_on="colours"
    )


def fill(gallery: Gallery, extractor: PartExtractor, folder: Path) -> None:
    """Three people in two cameras each: torso of their colour, legs of the next one's. Times lie an hour apart."""
    names = list(COLORS)
    for number, name in enumerate(names):
        for camera in (1, 2):
            legs = COLORS[names[(number + 1) % 3]]
            file = folder / f"{name}_c{camera}.png"
            file.write_bytes(png(person(COLORS[name], legs, seed=10 * number + camera)))
            gallery.add(
                extractor.embed(file),
                [file.stem],
                cameras=camera,
                times=DAY + 3600 * (2 * number + camera),
                metadata=[{"file": str(file), "track": 10 * number + camera}],
            )
