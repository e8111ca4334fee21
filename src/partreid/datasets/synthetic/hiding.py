"""Place the target among others: whole, or with a wanted share of it hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic import framing
from partreid.datasets.synthetic.crowd import Actor, Stage, gather
from partreid.datasets.synthetic.obstacles import make_obstacle
from partreid.datasets.synthetic.poses import choose_pose
from partreid.datasets.synthetic.raytrace import Scene, TracedMesh

_FAULTY_BOXES = 0.18
_TRIES = 6
_PLACES = 9
_WITHIN_REACH = 0.05
"""Distance of the wanted degree from the upper limit, because nothing identifies a person who is almost hidden."""
_CLOSE = 0.08
"""Largest accepted difference from the wanted degree of occlusion."""
_WHOLE = 0.12
"""Largest hidden fraction of an image that counts as whole; errors of the box are included."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shot:
    """An image before it is taken.

    Attributes:
        box: the rectangle that is cut out. others: the people beside the target. things: objects that belong to nobody.
    """

    target: Actor
    box: framing.Box
    others: tuple[Actor, ...]
    things: tuple[TracedMesh, ...]
    occlusion: framing.Occlusion

    def scene(self, stage: Stage) -> Scene:
        """All but the target, ready for rays: the others in their order, then the things."""
        return Scene(self.target.traced, [*(a.traced for a in self.others), *self.things], stage.surroundings)


def arrange(stage: Stage, target: Actor, wanted: tuple[float, float] | None, rng: np.random.Generator) -> Shot:
    """Choose the box, who else is there, and what is in front.

    ``wanted``: least and greatest hidden fraction, None for a whole person.
    """
    box = framing.detect(rng, target.body, faulty=_FAULTY_BOXES if wanted is None else 0.5 * _FAULTY_BOXES)
    company = gather(stage, target, rng, front=wanted is None)
    if wanted is not None:
        return _hide(stage, wanted, rng, target, box, company)
    shot = _whole(stage, target, box, company)
    if shot.occlusion.degree > _WHOLE:
        shot = _whole(stage, target, framing.detect(rng, target.body, faulty=0.0), company)
    return shot


def _things_of(actors: Sequence[Actor]) -> tuple[TracedMesh, ...]:
    return tuple(TracedMesh(thing) for actor in actors for thing in actor.things)


def _whole(stage: Stage, target: Actor, box: framing.Box, company: Sequence[Actor]) -> Shot:
    """The target with its company, without those who hide too much of the target."""
    camera = stage.camera
    shape = framing.silhouette(target.traced, camera, target.body, box)
    kept = list(company)
    covers = [shape.behind(camera, actor.traced) for actor in kept]
    things = _things_of([target])
    own = [shape.behind(camera, thing) for thing in things]
    while (occlusion := shape.hidden(_any(shape, [*covers, *own]))).degree > _WHOLE and kept:
        worst = max(range(len(kept)), key=lambda k: int(covers[k].sum()))
        del kept[worst], covers[worst]
    if occlusion.degree > _WHOLE and things:
        things, occlusion = (), shape.hidden(_any(shape, covers))
    return Shot(target, box, tuple(kept), things + _things_of(kept), occlusion)


def _hide(
    stage: Stage, wanted: tuple[float, float], rng: np.random.Generator, target: Actor, box: framing.Box,
    company: Sequence[Actor],
) -> Shot:  # fmt: skip
    """Put something in front so that the hidden fraction is in the wanted range; if none fits, the best try counts."""
    low, high = wanted
    high = max(high - _WITHIN_REACH, (low + high) / 2)
    degree = rng.uniform(low, high)
    camera = stage.camera
    shape = framing.silhouette(target.traced, camera, target.body, box)
    things = _things_of([target, *company])
    already = _any(shape, [shape.behind(camera, t) for t in (*(a.traced for a in company), *things)])
    best: tuple[float, framing.Occlusion, Actor | TracedMesh, NDArray[np.float64]] | None = None
    for _ in range(_TRIES):
        front = _front(stage, rng, target, [a.who for a in company])
        traced = front if isinstance(front, TracedMesh) else front.traced
        for side in rng.permutation(np.linspace(-0.7, 0.7, _PLACES)):
            shift = np.array([side, 0.0, 0.0])
            occlusion = shape.hidden(already | shape.behind(camera, traced, shift))
            miss = abs(occlusion.degree - degree) + (0.0 if low <= occlusion.degree <= high else 1.0)
            if isinstance(front, Actor) and _is_in_the_way(stage, target, box, front.keypoints[0] + shift):
                miss += 0.5
            if best is None or miss < best[0]:
                best = miss, occlusion, front, shift
            if miss < _CLOSE:
                break
        if best is not None and best[0] < 2 * _CLOSE:
            break
    assert best is not None
    _, occlusion, front, shift = best
    shot = Shot(target, box, tuple(company), things, occlusion)
    if isinstance(front, Actor):
        return replace(shot, others=(front.shifted(camera, shift), *company))
    return replace(shot, things=(TracedMesh(front.mesh.moved(shift)), *things))


def _any(shape: framing.Silhouette, covers: Sequence[Mask]) -> Mask:
    return np.asarray(np.logical_or.reduce([np.zeros(len(shape.rays), bool), *covers]), bool)


def _is_in_the_way(stage: Stage, target: Actor, box: framing.Box, nose: NDArray[np.floating]) -> bool:
    """Whether the nose [3] of another person is closer to the top centre of the box than the target's nose.

    People would take that person for the target.
    """
    places = stage.camera.project(np.stack([nose, target.keypoints[0]]))
    theirs, own = np.hypot(places[:, 0] - (box.left + box.right) / 2, places[:, 1] - box.top)
    return bool(theirs < own)


def _front(stage: Stage, rng: np.random.Generator, target: Actor, taken: Sequence[int]) -> Actor | TracedMesh:
    """Someone or something on the line from the target to the camera."""
    x, y = (float(v) for v in target.place)
    is_person = rng.random() < stage.config.people_in_front
    gap = rng.uniform(0.35, 1.3) if is_person else rng.uniform(0.4, 1.8)
    distance = y - min(gap, 0.4 * y)
    if is_person:
        pose = choose_pose(rng)
        return stage.someone(rng, (x * distance / y, distance), taken, pose="standing" if pose == "sitting" else pose)
    thing = make_obstacle(rng)
    # A long thing such as a car stands closer to the camera, clear of the person.
    distance -= max(0.0, float(thing.vertices[:, 1].max()) - 0.3)
    return TracedMesh(thing.moved(np.array([x * distance / y, distance, 0.0])))
