"""Adapting a model to cameras without labels: batch-norm statistics of each camera, from crops that it took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing

import torch

from partreid.errors import ConfigError, DataError, warn
from partreid.inference.cameras import Cameras, with_cameras
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImageLike, ImagesLike, walk
from partreid.inference.streaming import in_batches, run_batches
from partreid.objects import guided
from partreid.progress import Progress, no_progress
from partreid.runners._batch_norms import Statistics
from partreid.runners.adaptation import Adaptation
from partreid.runners.adapted import GatheringRunner
from partreid.types.numbers import require_whole

LEAST = 100
"""Images of a camera without which its statistics are not estimated."""
MOST = 300
"""Images of a camera that are looked at."""
WEIGHT = 0.7
"""Of what was estimated, against what the model was trained with."""


@guided
def adapt(
    extractor: PartExtractor,
    images: ImagesLike,
    cameras: Cameras | None = None,
    *,
    weight: float = WEIGHT,
    most: int = MOST,
    progress: Progress = no_progress,
) -> Adaptation:
    by_camera: dict[str, list[ImageLike]] = defaultdict(list)
    for image, camera in with_cameras(walk(images), cameras):
        if camera is not None:
            by_camera[camera].append(image)
    few = {camera: len(some) for camera, some in by_camera.items() if len(some) < LEAST}
    runners: dict[str, GatheringRunner] = {}
    chosen = {camera: spread(by_camera[camera], most) for camera in sorted(by_camera) if camera not in few}
    with progress("adapting", sum(map(len, chosen.values()))) as advance:
        for camera, some in chosen.items():
            runner = GatheringRunner(extractor.model, extractor.preprocess, extractor.runtime, weight=weight)
            batches = in_batches(iter(some), extractor.runtime.batch_size)
            with closing(run_batches(runner, batches, skip=False, readers=None)) as results:
                for batch, _ in results:
                    advance(len(batch.names))
            runners[camera] = runner
    each = [runner.statistics() for runner in runners.values()]
    statistics = {name: Statistics(*map(torch.stack, zip(*(one[name] for one in each), strict=True))) for name in each[0]}
    light = torch.stack([runner.light() for runner in runners.values()])
    counts = tuple(map(len, chosen.values()))
    return Adaptation(runner.network_fingerprint, tuple(chosen), counts, float(weight), statistics, light)


def spread(images: Sequence[ImageLike], most: int) -> list[ImageLike]:
    """At most so many images, evenly over all: neighbours are often of one track."""
    count = min(most, len(images))
    return [images[i * len(images) // count] for i in range(count)]
