"""Distances of tracks against where a calibration has its strangers."""

import numpy as np

from partreid.linking.distances import DistanceFit
from partreid.retrieval import MatchCalibration


def test_crooked_strangers_are_not_taken_for_one_person() -> None:
    """Distances of vectors of length 1 have a wide nearer half. Taken for symmetric, it was 29 % of all pairs."""
    random = np.random.default_rng(0)
    calibration = MatchCalibration(prior=0.003, offsets=(22.4,), slopes=(28.6,), strangers=((0.885, 0.062),))
    z = np.abs(random.standard_normal(200_000)) * np.where(random.random(200_000) < 0.5, 1.0, -1.37)
    z[:3_000] = random.normal(-4.2, 0.6, 3_000)  # 1.5 % of one person
    fit = DistanceFit(calibration)
    fit.add((0.72 + 0.05 * z).astype(np.float32), np.ones(len(z), np.int64))  # merged tracks: all nearer, narrower
    fit.fit(None)
    assert 0.008 < fit.prior < 0.03
