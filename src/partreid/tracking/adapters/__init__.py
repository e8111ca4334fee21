"""What other people's trackers ask for: a matrix of costs where they take one, a vector per detection where not.

No tracker is imported here. What a tracker asks for has the names that it expects.
"""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.tracking.adapters.boxmot import BoxMOTEncoder
    from partreid.tracking.adapters.deep_sort_realtime import DeepSortAppearance
    from partreid.tracking.adapters.norfair import NorfairAppearance
    from partreid.tracking.adapters.roboflow import RoboflowFeatures
    from partreid.tracking.adapters.tracklab import TrackLabDistance, tracklab_columns
    from partreid.tracking.adapters.vectors import UnitVectors

__all__ = [
    "BoxMOTEncoder", "DeepSortAppearance", "NorfairAppearance", "RoboflowFeatures", "TrackLabDistance", "UnitVectors",
    "tracklab_columns",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
