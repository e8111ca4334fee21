"""The configuration of rendered sequences: scenes, cameras, people, and duration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from partreid.base_config import ConfigModel

_MOST_PEOPLE = 8000


class SequenceConfig(ConfigModel):
    """Rendered videos of people who cross and hide each other. The same configuration always gives the same bytes."""

    scenes: int = Field(default=2, ge=1, le=999)
    """Scenes; no two have a person in common."""
    cameras: int = Field(default=2, ge=1, le=8)
    """Cameras of each scene. They see different places, between which people walk."""
    people: int = Field(default=12, ge=1, le=99)
    """People of each scene, in the pictures or between them."""
    seconds: float = Field(default=25.0, gt=0, le=600)
    """How long a scene lasts."""
    fps: float = Field(default=12.5, ge=1, le=60)
    """Frames a second."""
    image_height: int = Field(default=360, ge=64, le=2160)
    """Height of a frame in pixels."""
    image_width: int = Field(default=640, ge=64, le=3840)
    """Width of a frame in pixels."""
    field_of_view: float = Field(default=52.0, ge=20, le=100)
    """Degrees that a camera sees across."""
    gap: float = Field(default=8.0, ge=1, le=500)
    """Metres between the places that two cameras see, where nobody sees people."""
    obstacles: int = Field(default=6, ge=1, le=20)
    """Things at each camera's place that people walk behind: poles, signs, cars. Fewer where there is no room."""
    seed: int = Field(default=0, ge=0)
    """Everything random derives from it."""
    panoramas: Path | None = None
    """Folder of panoramas (.exr, .exr.js, .hdr) for light and background, dealt out to the cameras; None: made up."""
    samples: Literal[1, 2, 4] = 2
    """Rays a pixel."""
    assets: Path | None = None
    """Folder of MakeHuman clothes, shoes, hats and hair; people wear simple cloth without one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scenes * self.people > _MOST_PEOPLE:
            raise ValueError(
                f"scenes times people must be at most {_MOST_PEOPLE}, got {self.scenes} times {self.people}"
            )
        return self

    @property
    def frames(self) -> int:
        """Frames of each camera, at least 1."""
        return max(1, round(self.seconds * self.fps))
