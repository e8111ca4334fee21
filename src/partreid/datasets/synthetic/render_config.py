"""What a rendered set is made of."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from partreid.base_config import ConfigModel


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
    cameras: int = Field(default=6, ge=2, le=9)
    """Cameras, each with its own place, optics and faults."""
    train_occluded: float = Field(default=0.2, ge=0, le=1)
    """Fraction of training images with something in front of the person."""
    gallery_occluded: float = Field(default=0.1, ge=0, le=1)
    """Fraction of gallery images with something in front of the person."""
    query_occlusion: tuple[float, float] = (0.35, 0.75)
    """Least and greatest hidden fraction of the body in an occluded query."""
    train_occlusion: tuple[float, float] = (0.15, 0.6)
    """The same for occluded training and gallery images."""
    people_in_front: float = Field(default=0.45, ge=0, le=1)
    """Fraction of occlusions by another person; the rest are things."""
    detector_noise: float = Field(default=0.0, ge=0, le=1)
    """Errors of the pose fields, as a pose detector makes them: 0 = none, 1 = strong."""
    samples: Literal[1, 2, 4] = 2
    """Rays a pixel."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("query_occlusion", "train_occlusion"):
            low, high = getattr(self, name)
            if not 0 < low < high < 1:
                raise ValueError(f"{name} must be two numbers with 0 < least < greatest < 1, got {low}, {high}")
        return self
