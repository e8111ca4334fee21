"""Adapting a model to cameras without labels: batch-norm statistics of each camera, from crops that it took.

Li et al. 2016 (AdaBN) replace the batch-norm statistics of a domain. Here each camera is a domain, and the statistics
from the training keep a weight. Nothing is trained, and the model does not change.
"""

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
"""Images of a camera below which its statistics are not estimated."""
MOST = 300
"""Images of a camera that are looked at."""
WEIGHT = 0.5
"""Of what was estimated, against what the model was trained with (chosen in docs/adapt.md)."""
DISTINCT = 50
"""Different images of a camera below which a warning tells that they are hardly different: frames of few tracks."""


@guided
def adapt(
    extractor: PartExtractor,
    images: ImagesLike,
    cameras: Cameras = None,
    *,
    weight: float = WEIGHT,
    most: int = MOST,
    skip_damaged: bool = False,
    progress: Progress = no_progress,
) -> Adaptation:
    """Estimate the batch-norm statistics of each camera from unlabelled crops of persons.

    Args:
        extractor: the model, which is not changed. An adaptation that it already has is ignored.
        images: crops of any persons, at least 100 of each camera; cameras with fewer are left out, with a warning.
        cameras: as in :meth:`PartExtractor.embed`; images whose camera is unknown are left out, with a warning.
        weight: weight of the estimated statistics, in (0, 1]; those from the training have the rest.
        most: how many images of a camera are used, chosen evenly; at least 100.
        skip_damaged: leave out images that cannot be read.
        progress: shows how far it is.

    Returns:
        The adaptation, which can be saved and passed to :meth:`PartExtractor.from_pretrained`. A warning names cameras
            whose images hardly differ from each other, and tells of a network with instance norms, which adaptation
            made worse.

    Raises:
        ConfigError: the network has no batch norms, it is an exported file, or the weight is not in (0, 1].
        DataError: no camera has enough images, or an image cannot be read.
        ShapeError: ``most`` is not a whole number of at least 100, or the numbers of cameras and images differ.
    """
    most = require_whole("most", most, least=LEAST)
    network = extractor.model
    if any(isinstance(layer, torch.nn.InstanceNorm2d) for layer in network.modules()):
        warn(
            "This network has instance norms, which normalise each image by itself. Adaptation made such models worse: "
            "the model in the package lost 3 mAP on Market-1501 (docs/adapt.md). Compare results with and without it."
        )
    runners: dict[str, GatheringRunner] = {}
    chosen = _chosen(images, cameras, most)
    with progress("adapting", sum(map(len, chosen.values()))) as advance:
        for camera, some in chosen.items():
            runner = GatheringRunner(network, extractor.preprocess, extractor.runtime, weight=weight)
            batches = in_batches(iter(some), extractor.runtime.batch_size)
            with closing(run_batches(runner, batches, skip=skip_damaged, readers=None)) as results:
                for batch, _ in results:
                    advance(batch.end - batch.first)
            if _enough(camera, runner.count) and (distinct := runner.distinct()) < DISTINCT:
                warn(
                    f"The {runner.count} images of camera {camera!r:.80} are hardly different, as of few tracks: they "
                    f"count as about {distinct:.0f}. Give images of more persons, not each frame of a track."
                )
            runners[camera] = runner
    runners = {camera: runner for camera, runner in runners.items() if runner.count >= LEAST}
    if not runners:
        raise DataError(f"No camera has {LEAST} images that can be read, so there is nothing to adapt to.")
    each = [runner.statistics() for runner in runners.values()]
    return Adaptation(
        network=next(iter(runners.values())).network_fingerprint,
        cameras=tuple(runners),
        images=tuple(runner.count for runner in runners.values()),
        weight=float(weight),
        statistics={
            name: Statistics(
                torch.stack([one[name].mean for one in each]), torch.stack([one[name].variance for one in each])
            )
            for name in each[0]
        },
        light=torch.stack([runner.light() for runner in runners.values()]),
    )


def _chosen(images: ImagesLike, cameras: Cameras, most: int) -> dict[str, list[ImageLike]]:
    """The images to look at by camera, in the order of the cameras' names."""
    found: dict[str | None, list[ImageLike]] = defaultdict(list)
    for image, camera in with_cameras(walk(images), cameras):
        found[camera].append(image)
    if unknown := found.pop(None, []):
        if not found:
            raise ConfigError(
                f"The cameras of the {len(unknown)} images are unknown. Give them by cameras=[...], or "
                "cameras_from('name') (--camera-from name, folder, FILE.csv or a regular expression)."
            )
        warn(f"{len(unknown)} images have no known camera, and were left out.")
    return {
        camera: _spread(found[camera], most)
        for camera in sorted(name for name in found if name is not None)
        if _enough(camera, len(found[camera]))
    }


def _enough(camera: str, count: int) -> bool:
    """Whether so many images of a camera do; a warning where they do not."""
    if count < LEAST:
        warn(
            f"Camera {camera!r:.80} has {count} images of at least {LEAST}: it is left out, and its images will be "
            "embedded with the mean of the other cameras' statistics."
        )
    return count >= LEAST


def _spread(images: Sequence[ImageLike], most: int) -> list[ImageLike]:
    """At most so many images, evenly over all: neighbours are often of one track."""
    count = min(most, len(images))
    return [images[i * len(images) // count] for i in range(count)]
