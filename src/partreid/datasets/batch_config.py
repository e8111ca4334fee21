"""How training batches are drawn and varied: configurations alone, which a command prints without PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from partreid.base_config import ConfigModel
from partreid.labels.grouping import LABEL_THRESHOLD

Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=1, le=10)]
LabelSampling = Literal["centre", "quarters"]


class BatchConfig(ConfigModel):
    """How training batches are drawn."""

    identities_per_batch: Annotated[int, Field(ge=2)] = 16
    """P: identities in a batch (paper §4.2: 16)."""
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    """K: images of each (paper §4.2: 4)."""
    look_alikes: bool = False
    """Whether a batch consists of identities that look alike to the model at the beginning of the epoch, so that they
    are hard to distinguish; otherwise of any identities (paper).
    """
    views: Literal[1, 2] = 1
    """How often each of these images is in the batch, with a new augmentation each time (paper: 1)."""


class PasteConfig(ConfigModel):
    """What is pasted over an image in training."""

    people: Share = 1.0
    """Fraction of the pastes that are people, cut out of another image along its pose fields; the rest are boxes."""
    box_min: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Shortest side of a pasted box, as a fraction of the image's side."""
    box_max: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Longest side of a pasted box, as a fraction of the image's side."""
    aside: tuple[float, float] = (0.2, 0.7)
    """How far to the left or right a person is moved, least and most, in image widths."""
    down: tuple[float, float] = (-0.1, 0.4)
    """How far down a person is moved, in image heights; below 0 is up."""
    scale: tuple[float, float] = (0.9, 1.4)
    """Enlargement of a pasted person, because a person in front is nearer to the camera."""
    max_hidden: Share = 0.75
    """A paste that hides more than this fraction of the person below it is left out."""

    @model_validator(mode="after")
    def _ranges(self) -> PasteConfig:
        ranges = {"aside": self.aside, "down": self.down, "scale": self.scale}
        for name, (low, high) in {"box_min, box_max": (self.box_min, self.box_max), **ranges}.items():
            if low > high or (name == "scale" and low <= 0):
                raise ValueError(f"{name}: expected a range from low to high (scale above 0), got {low} to {high}")
        return self


class PhotometricConfig(ConfigModel):
    """How far images are changed. A factor x stands for 1/x to x: halved as often as doubled."""

    brightness: Factor = 2.0
    """Largest factor of all values."""
    contrast: Factor = 2.0
    """Largest factor of the distance from the image's mean grey."""
    saturation: Factor = 2.0
    """Largest factor of a pixel's distance from its own grey."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Furthest turn of the hue to either side, as a fraction of the circle of colours."""
    resolution_min: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Smallest size to which an image is reduced before it is enlarged again, as a fraction of its sides."""


class AugmentConfig(ConfigModel):
    """The paper's augmentation: padding with random crop, then random erasing. Everything else is off by default."""

    padding: Annotated[int, Field(ge=0)] = 10
    """Pixels of black padding on every side before a random crop of the input size (paper §4.2: 10)."""
    erase_probability: Share = 0.5
    """How often a box is erased (paper §4.2: 0.5). Erased pixels' labels become background."""
    erase_min: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Shortest side of the erased box, as a fraction of the image's side."""
    erase_max: Annotated[float, Field(gt=0, le=1)] = 0.65
    """Longest side of the erased box, as a fraction of the image's side."""
    flip_probability: Share = 0.0
    """How often an image is mirrored, with its left and right parts exchanged (not in the paper)."""
    paste_probability: Share = 0.0
    """How often something is pasted over an image (not in the paper). Hidden parts' labels become background."""
    pasting: PasteConfig = PasteConfig()
    """What is pasted, and where."""
    jitter_probability: Share = 0.0
    """How often brightness, contrast, saturation and hue of an image change (not in the paper)."""
    grayscale_probability: Share = 0.0
    """How often an image loses its colour (not in the paper)."""
    resolution_probability: Share = 0.0
    """How often an image is reduced and enlarged again, which removes details (not in the paper)."""
    photometric: PhotometricConfig = PhotometricConfig()
    """How far light, colour and resolution change."""
    label_threshold: Share = LABEL_THRESHOLD
    """λ_r of Eq. 10: a pixel whose largest part map is below it is background."""
    label_sampling: LabelSampling = "centre"
    """Where labels are read: at the "centre" of a map's cell (paper), or at the centres of its four "quarters", of
    which the strongest counts. If labels are as fine as the map, a part of one node, such as a foot, can lie halfway
    between centres.
    """

    @model_validator(mode="after")
    def _box_is_a_range(self) -> AugmentConfig:
        if self.erase_min > self.erase_max:
            raise ValueError(f"erase_min = {self.erase_min} must not exceed erase_max = {self.erase_max}")
        return self
