"""The configuration of a rendered set, and the plan of its images: person, camera and occlusion of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from partreid.base_config import ConfigModel

TRAIN, QUERY, HOLISTIC, GALLERY = "bounding_box_train", "query", "query_holistic", "bounding_box_test"
FOLDERS = (TRAIN, QUERY, HOLISTIC, GALLERY)


class SyntheticConfig(ConfigModel):
    """A rendered set of pedestrians. The same configuration always gives the same bytes."""

    train_identities: int = Field(default=100, ge=2, le=4000)
    """Identities to train on."""
    test_identities: int = Field(default=60, ge=2, le=4000)
    """Identities of the queries and the gallery; none of them is trained on."""
    train_images: int = Field(default=12, ge=2, le=500)
    """Images of each training identity."""
    gallery_images: int = Field(default=6, ge=2, le=500)
    """Gallery images of each test identity, by at least two cameras."""
    query_images: int = Field(default=3, ge=1, le=100)
    """Occluded queries of each test identity."""
    holistic_query_images: int = Field(default=1, ge=0, le=100)
    """Whole queries of each test identity, in the folder query_holistic."""
    image_height: int = Field(default=256, ge=32, le=1024)
    """Height of an image in pixels."""
    image_width: int = Field(default=128, ge=16, le=512)
    """Width of an image in pixels."""
    seed: int = Field(default=0, ge=0)
    """Everything random derives from it."""
    cameras: int = Field(default=20, ge=2, le=99)
    """Cameras, each with its own place, light, surroundings, optics and faults."""
    panoramas: Path | None = None
    """Folder of panoramas (.exr, .exr.js, .hdr) for light and background, dealt out to the cameras; None: made up."""
    train_occluded: float = Field(default=0.2, ge=0, le=1)
    """Fraction of training images with something in front of the person."""
    gallery_occluded: float = Field(default=0.1, ge=0, le=1)
    """Fraction of gallery images with something in front of the person."""
    query_occlusion: tuple[float, float] = (0.35, 0.75)
    """Least and greatest hidden fraction of the body in an occluded query."""
    train_occlusion: tuple[float, float] = (0.15, 0.6)
    """The same for occluded training and gallery images."""
    people_in_front: float = Field(default=0.45, ge=0, le=1)
    """Fraction of wanted occlusions by another person; the rest are things."""
    company: float = Field(default=0.4, ge=0, le=1)
    """Fraction of images with one to three other people beside, behind or partly in front of the person."""
    detector_noise: float = Field(default=0.0, ge=0, le=1)
    """Errors of the pose fields, as a pose detector makes them: 0 = none, 1 = strong."""
    samples: Literal[1, 2, 4] = 2
    """Rays a pixel."""
    assets: Path | None = None
    """Folder of MakeHuman clothes, shoes, hats and hair; people wear simple cloth without one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("query_occlusion", "train_occlusion"):
            low, high = getattr(self, name)
            if not 0 < low < high < 1:
                raise ValueError(f"{name} must be two numbers with 0 < least < greatest < 1, got {low}, {high}")
        return self


@dataclass(frozen=True)
class PlannedImage:
    """An image to be made.

    Attributes:
        folder: one of :data:`FOLDERS`. pid: from 1; test identities follow the training ones. camid: 0-based.
        number: running number in the set. index: of this identity's images in this folder.
        occlusion: wanted least and greatest hidden fraction, None for a whole person.
    """

    folder: str
    pid: int
    camid: int
    number: int
    index: int
    occlusion: tuple[float, float] | None

    @property
    def stem(self) -> str:
        """Base name without suffix; the camera in it counts from 1."""
        return f"{self.pid:04d}_c{self.camid + 1}_{self.number:06d}"

    def seed(self, seed: int) -> list[int]:
        """Seed of this image's random numbers; it needs no other image's numbers."""
        return [seed, 1 + FOLDERS.index(self.folder), self.pid, self.index]


def plan_images(config: SyntheticConfig) -> list[PlannedImage]:
    """All images, those of an identity next to each other. The same configuration gives the same list."""
    plan: list[PlannedImage] = []
    for person in range(config.train_identities + config.test_identities):
        rng = np.random.default_rng([config.seed, 0, person])
        seen = dict.fromkeys(FOLDERS, 0)
        for folder, camid, occlusion in _of_one(config, rng, is_train=person < config.train_identities):
            plan.append(PlannedImage(folder, person + 1, camid, len(plan) + 1, seen[folder], occlusion))
            seen[folder] += 1
    return plan


def _of_one(
    config: SyntheticConfig, rng: np.random.Generator, *, is_train: bool
) -> Iterator[tuple[str, int, tuple[float, float] | None]]:
    cameras = [int(c) for c in rng.permutation(config.cameras)]
    if is_train:
        for i in range(config.train_images):
            occluded = rng.random() < config.train_occluded
            yield TRAIN, cameras[i % len(cameras)], config.train_occlusion if occluded else None
        return
    # With two cameras or more in the gallery, every query has a match from another camera.
    for i in range(config.gallery_images):
        occluded = rng.random() < config.gallery_occluded
        yield GALLERY, cameras[i % len(cameras)], config.train_occlusion if occluded else None
    for _ in range(config.query_images):
        yield QUERY, int(rng.integers(config.cameras)), config.query_occlusion
    for _ in range(config.holistic_query_images):
        yield HOLISTIC, int(rng.integers(config.cameras)), None
