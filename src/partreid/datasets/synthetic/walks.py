"""How people walk in a scene: they go from place to place, give way, stop, turn back, leave the pictures and return.

People avoid each other by the social force model (D. Helbing and P. Molnár, "Social force model for pedestrian
dynamics", Physical Review E 51, 1995). In addition they turn before they walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.poses import cycle_length
from partreid.datasets.synthetic.sites import HALF_STREET, Site

Vector = NDArray[np.float64]

_STEP = 0.05
"""Time step of the simulation in seconds."""
_ARRIVED = 0.5
_APART = 0.75
"""Distance in metres at which two people begin to avoid each other clearly."""
_PUSH, _FALLOFF = 2.2, 0.22
_TURN = 2.6
"""Greatest speed at which somebody turns, in radians per second."""
_EAGER = 0.45
"""Seconds that somebody needs to reach the wanted speed."""
_LEG = 0.53
"""Length of a leg as a fraction of the stature."""
_IN_PAIRS, _STAY, _PAUSE, _TURN_BACK = 0.35, 0.45, 0.15, 0.2


@dataclass(frozen=True)
class Walkers:
    """People at one moment, in the world.

    Attributes:
        place: [P, 2] metres. yaw: [P] radians, 0 faces -y. phase: [P] of the gait, not wrapped. stride: [P].
    """

    place: Vector
    yaw: Vector
    phase: Vector
    stride: Vector


@dataclass(frozen=True)
class Walks:
    """All people of a scene over time; arrays are [T, P, ...], one row every 0.05 seconds."""

    place: Vector
    yaw: Vector
    phase: Vector
    stride: Vector

    def at(self, seconds: float) -> Walkers:
        """The people at that time. Before the first moment and after the last one, that moment is used."""
        row = min(max(seconds / _STEP, 0.0), len(self.place) - 1.0)
        low = min(int(row), len(self.place) - 2)
        share = row - low
        return Walkers(
            *(a[low] * (1 - share) + a[low + 1] * share for a in (self.place, self.yaw, self.phase, self.stride))
        )


@dataclass(frozen=True)
class _Zone:
    """A stretch of the street, and whether a camera sees it."""

    low: float
    high: float
    seen: bool


def simulate(rng: np.random.Generator, sites: Sequence[Site], statures: Sequence[float], seconds: float) -> Walks:
    """Walks of as many people as there are ``statures`` (metres), for that many seconds."""
    zones = _zones(sites)
    count = len(statures)
    circles = np.array([[*s.world(np.array(o.circle[:2])), o.circle[2]] for s in sites for o in s.obstacles])
    place, routes = _start(rng, zones, count, circles, legs=8 + int(seconds / 2))
    speed = rng.uniform(1.0, 1.6, count)
    usual = rng.uniform(0.8, 1.05, count)
    partner = np.full(count, -1)
    for k in range(1, count):
        side = -0.7 if place[k - 1, 1] > 0 else 0.7
        beside = place[k - 1] + [0.0, side]
        if partner[k - 1] < 0 and rng.random() < _IN_PAIRS and _is_free(beside, np.delete(place, k, axis=0), circles):
            partner[k], partner[k - 1] = k - 1, k
            place[k], speed[k] = beside, speed[k - 1]
            routes[k] = [(x, y + side, pause) for x, y, pause in routes[k - 1]]
    crowd = _Crowd(place, routes, speed, partner, circles)
    legs = _LEG * np.asarray(statures)
    rows: list[tuple[Vector, ...]] = []
    phase = rng.random(count)
    for _ in range(int(np.ceil(seconds / _STEP)) + 2):
        fast = np.hypot(*crowd.velocity.T)
        stride = usual * np.clip(fast / speed, 0.03, 1.15)
        rows.append((crowd.place.copy(), crowd.yaw.copy(), phase.copy(), stride))
        crowd.step()
        phase = phase + np.hypot(*(crowd.place - rows[-1][0]).T) / cycle_length(legs, stride)
    return Walks(*(np.stack(column) for column in zip(*rows, strict=True)))


class _Crowd:
    """The simulation's state."""

    def __init__(
        self, place: Vector, routes: list[list[tuple[float, float, float]]], speed: Vector, partner: NDArray[np.int64],
        circles: Vector,
    ) -> None:  # fmt: skip
        self.place, self.speed = place.copy(), speed
        self._routes, self._circles = routes, circles
        self._leg = np.zeros(len(place), int)
        self._pause = np.zeros(len(place))
        self._apart = np.full((len(place), len(place)), _APART)
        pairs = np.flatnonzero(partner >= 0)
        self._apart[pairs, partner[pairs]] = 0.5
        towards = self._goals() - place
        self.yaw = np.arctan2(towards[:, 0], -towards[:, 1])
        self.velocity = self._facing() * speed[:, None]

    def _facing(self) -> Vector:
        return np.stack([np.sin(self.yaw), -np.cos(self.yaw)], axis=1)

    def _goals(self) -> Vector:
        return np.array([route[k % len(route)][:2] for route, k in zip(self._routes, self._leg, strict=True)])

    def step(self) -> None:
        """Advance by one step."""
        towards = self._goals() - self.place
        distance = np.hypot(*towards.T)
        for k in np.flatnonzero((distance < _ARRIVED) & (self._pause <= 0)):
            self._pause[k] = self._routes[k][self._leg[k] % len(self._routes[k])][2]
            self._leg[k] += 1
        goes = self._pause <= 0
        self._pause = np.maximum(self._pause - _STEP, 0.0)
        towards = self._goals() - self.place
        towards /= np.maximum(np.hypot(*towards.T), 1e-6)[:, None]
        ahead = np.clip((towards * self._facing()).sum(axis=1), 0, 1)
        wanted = towards * (self.speed * goes * (0.15 + 0.85 * ahead))[:, None]
        self.velocity += _STEP * ((wanted - self.velocity) / _EAGER + self._pushes())
        fast = np.hypot(*self.velocity.T)
        self.velocity *= np.minimum(1.0, 1.25 * self.speed / np.maximum(fast, 1e-6))[:, None]
        self.place = self.place + _STEP * self.velocity
        self._turn(towards, goes)

    def _turn(self, towards: Vector, goes: NDArray[np.bool_]) -> None:
        looks = self.velocity + 0.6 * towards * (self.speed * goes)[:, None]
        moving = np.hypot(*looks.T) > 0.25
        angle = np.arctan2(looks[:, 0], -looks[:, 1]) - self.yaw
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        self.yaw = self.yaw + np.where(moving, np.clip(angle * 4 * _STEP, -_TURN * _STEP, _TURN * _STEP), 0.0)

    def _pushes(self) -> Vector:
        """Accelerations [P, 2] away from others, from obstacles and from the street's edges."""
        away = self.place[:, None] - self.place[None]
        distance = np.linalg.norm(away, axis=-1)
        np.fill_diagonal(distance, np.inf)
        out = _give_way(away, distance, self._apart)
        if len(self._circles):
            away = self.place[:, None] - self._circles[None, :, :2]
            out += _give_way(away, np.linalg.norm(away, axis=-1), self._circles[None, :, 2] + 0.55)
        y = self.place[:, 1]
        out[:, 1] -= 6.0 * (np.maximum(y - HALF_STREET, 0) + np.minimum(y + HALF_STREET, 0))
        return out


def _give_way(away: Vector, distance: Vector, apart: Vector) -> Vector:
    """Push away from each one, and a little to the right, so that nobody stands face to face for long."""
    unit = away / np.maximum(distance, 1e-6)[..., None]
    sideways = np.stack([-unit[..., 1], unit[..., 0]], axis=-1)
    strength = _PUSH * np.exp(np.minimum((apart - distance) / _FALLOFF, 2.5))
    return np.asarray(((unit + 0.45 * sideways) * strength[..., None]).sum(axis=1))


def _zones(sites: Sequence[Site]) -> list[_Zone]:
    """The stretches of the street in order: end, place of the first camera, gap, place of the second, ..., end."""
    zones = [_Zone(-2.0, -0.8, False)]
    for site in sites:
        low, high = site.middle - site.half, site.middle + site.half
        if zones[-1].seen:
            between = (zones[-1].high + low) / 2
            zones.append(_Zone(between - 0.2, between + 0.2, False))
        zones.append(_Zone(low, high, True))
    return [*zones, _Zone(zones[-1].high + 0.8, zones[-1].high + 2.0, False)]


def _start(
    rng: np.random.Generator, zones: Sequence[_Zone], count: int, circles: Vector, legs: int
) -> tuple[Vector, list[list[tuple[float, float, float]]]]:
    """Where people begin [P, 2], and the route of each: places (x, y, seconds of rest there), visited in turn."""
    seen = [k for k, zone in enumerate(zones) if zone.seen]
    places: list[Vector] = []
    routes = []
    for _ in range(count):
        zone = int(rng.choice(seen)) if rng.random() < 0.7 else int(rng.integers(len(zones)))
        for _ in range(50):
            place = np.array([rng.uniform(zones[zone].low, zones[zone].high), _across(rng)])
            if _is_free(place, np.array(places).reshape(-1, 2), circles):
                break
        places.append(place)
        routes.append(_route(rng, zones, zone, legs))
    return np.array(places), routes


def _is_free(place: Vector, people: Vector, circles: Vector) -> bool:
    """Whether a place [2] is free: no person [P, 2] and no obstacle [O, 3] is close to it."""
    near = (np.hypot(*(people - place).T) < 0.6).any()
    return not near and not (np.hypot(*(circles[:, :2] - place).T) < circles[:, 2] + 0.4).any()


def _route(rng: np.random.Generator, zones: Sequence[_Zone], zone: int, legs: int) -> list[tuple[float, float, float]]:
    way = int(rng.choice([-1, 1]))
    out = []
    for _ in range(legs):
        if not (zones[zone].seen and rng.random() < _STAY):
            way = -way if rng.random() < _TURN_BACK else way
            way = way if 0 <= zone + way < len(zones) else -way
            zone += way
        here = zones[zone]
        pause = float(rng.uniform(1.5, 4.0)) if here.seen and rng.random() < _PAUSE else 0.0
        out.append((float(rng.uniform(here.low, here.high)), _across(rng), pause))
    return out


def _across(rng: np.random.Generator) -> float:
    return float(rng.uniform(-1, 1) * (HALF_STREET - 0.3))
