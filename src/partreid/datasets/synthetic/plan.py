"""The list of images of a set: whose, by which camera, how occluded. Pure; the same configuration, the same list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from partreid.datasets.synthetic.render_config import SyntheticConfig

TRAIN, QUERY, HOLISTIC, GALLERY = "bounding_box_train", "query", "query_holistic", "bounding_box_test"
FOLDERS = (TRAIN, QUERY, HOLISTIC, GALLERY)


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
        """What this image's random numbers derive from; no other image's are needed."""
        return [seed, 1 + FOLDERS.index(self.folder), self.pid, self.index]


def plan_images(config: SyntheticConfig) -> list[PlannedImage]:
    """All images, an identity's next to each other."""
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
    # At least two cameras in the gallery: every query then has a match under another camera.
    for i in range(config.gallery_images):
        occluded = rng.random() < config.gallery_occluded
        yield GALLERY, cameras[i % len(cameras)], config.train_occlusion if occluded else None
    for _ in range(config.query_images):
        yield QUERY, int(rng.integers(config.cameras)), config.query_occlusion
    for _ in range(config.holistic_query_images):
        yield HOLISTIC, int(rng.integers(config.cameras)), None
