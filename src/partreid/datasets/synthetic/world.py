"""All that the images of a set share: the body model, cameras, people. Each process makes its own, all the same."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from partreid.datasets.synthetic.body import load_body_model
from partreid.datasets.synthetic.cameras import make_cameras
from partreid.datasets.synthetic.garments import dress
from partreid.datasets.synthetic.plan import PlannedImage
from partreid.datasets.synthetic.raytrace import TracedMesh, start_warp
from partreid.datasets.synthetic.render import RenderedImage, Stage, render_image
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.datasets.synthetic.wardrobe import Person, make_people, make_wardrobe

_PASSERS_BY = 24
_CAMERA_STREAM, _PEOPLE_STREAM, _PASSER_BY_STREAM = 101, 102, 103


class World:
    """Renders planned images of one configuration."""

    def __init__(self, config: SyntheticConfig) -> None:
        start_warp()
        self.config = config
        self.model = load_body_model()
        cameras = make_cameras(np.random.default_rng([config.seed, _CAMERA_STREAM]), config.cameras)
        self.people = people_of(config)
        rng = np.random.default_rng([config.seed, _PASSER_BY_STREAM])
        wardrobe = make_wardrobe(np.random.default_rng([config.seed, _PEOPLE_STREAM]), len(self.people))
        passers_by = tuple(dress(self.model, p) for p in make_people(rng, wardrobe, _PASSERS_BY))
        self.stages = [Stage(config, self.model, c, TracedMesh(c.surroundings), passers_by) for c in cameras]
        self._dress = lru_cache(maxsize=4)(lambda pid: dress(self.model, self.people[pid - 1]))

    def render(self, planned: PlannedImage) -> RenderedImage:
        """One image; the same whatever was rendered before."""
        rng = np.random.default_rng(planned.seed(self.config.seed))
        return render_image(self._dress(planned.pid), self.stages[planned.camid], planned.occlusion, rng)


def people_of(config: SyntheticConfig) -> list[Person]:
    """The set's identities; number i has pid i + 1. No two wear the same outfit."""
    count = config.train_identities + config.test_identities
    rng = np.random.default_rng([config.seed, _PEOPLE_STREAM])
    return make_people(rng, make_wardrobe(rng, count), count)
