"""A scene: cameras, people, and how the people walk. It is the same in every process."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from partreid.datasets.synthetic.body import load_body_model
from partreid.datasets.synthetic.catalogue import load_catalogue
from partreid.datasets.synthetic.filming import Film
from partreid.datasets.synthetic.garments import DressedBody, dress
from partreid.datasets.synthetic.outfits import make_people, make_wardrobe
from partreid.datasets.synthetic.panoramas import find_panoramas, read_panorama
from partreid.datasets.synthetic.raytrace import start_warp
from partreid.datasets.synthetic.sequence_config import SequenceConfig
from partreid.datasets.synthetic.sites import Site, make_sites
from partreid.datasets.synthetic.walks import Walks, simulate

_CAMERA_STREAM, _PEOPLE_STREAM, _WALK_STREAM, _CLOCK_STREAM, _FILM_STREAM = 201, 202, 203, 204, 205


class SceneWorld:
    """All that a scene's films have in common."""

    def __init__(self, config: SequenceConfig, scene: int) -> None:
        start_warp()
        self._config, self._number = config, scene
        self._sites = sites_of(config, scene)
        self.begins = begins_of(config, scene)
        catalogue = load_catalogue(config.assets) if config.assets else None
        rng = np.random.default_rng([config.seed, _PEOPLE_STREAM])
        count = config.scenes * config.people
        people = make_people(rng, make_wardrobe(rng, count, catalogue.stock if catalogue else None), count)
        self._people = people[scene * config.people : (scene + 1) * config.people]
        self._catalogue = catalogue
        walk = np.random.default_rng([config.seed, _WALK_STREAM, scene])
        statures = [person.stature for person in self._people]
        self.walks: Walks = simulate(walk, self._sites, statures, config.seconds + 2 / config.fps)

    @cached_property
    def _bodies(self) -> list[DressedBody]:
        model = load_body_model()
        return [dress(model, person, self._catalogue) for person in self._people]

    def film(self, camera: int) -> Film:
        """The scene's film by that camera (from 0)."""
        seed = (self._config.seed, _FILM_STREAM, self._number)
        return Film(self._config, load_body_model(), self._sites[camera], self._bodies, seed, camera)


def sites_of(config: SequenceConfig, scene: int) -> list[Site]:
    """A scene's cameras and their places."""
    files = find_panoramas(config.panoramas) if config.panoramas else []
    first = scene * config.cameras
    panoramas = [read_panorama(files[(first + k) % len(files)].path) if files else None for k in range(config.cameras)]
    return make_sites(config, (config.seed, _CAMERA_STREAM, scene), panoramas)


def begins_of(config: SequenceConfig, scene: int) -> list[float]:
    """When each camera takes its first frame, in seconds of the scene's clock; less than the time of one frame."""
    rng = np.random.default_rng([config.seed, _CLOCK_STREAM, scene])
    return [round(float(v) / config.fps, 6) for v in rng.random(config.cameras)]
