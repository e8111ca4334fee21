"""Making label files for many pictures: batches, resumable, each file whole or absent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError, PartReIDError
from partreid.labels.fields import read_pose_fields, write_pose_fields
from partreid.labels.providers import Crop, PoseProvider


@dataclass
class LabelSummary:
    """What became of the pictures.

    Attributes:
        made: labels written now. kept: valid ones that were there already.
        without_person: made or kept labels that are empty.
        several_persons: labels made now from a picture with more than one person.
        failed: one message per picture that could not be read.
    """

    made: int = 0
    kept: int = 0
    without_person: int = 0
    several_persons: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """All pictures that were looked at."""
        return self.made + self.kept + len(self.failed)


def make_labels(
    provider: PoseProvider,
    files: Iterable[tuple[Path, Path]],
    *,
    read: Callable[[Path], NDArray[np.uint8]],
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> LabelSummary:
    """Write one file of pose fields per picture.

    A valid file that is there already is kept, so an interrupted run goes on where it stopped; a damaged one is
    made anew. A picture that cannot be read is named in the summary and does not stop the others.

    Args:
        provider: what finds the persons.
        files: (picture, label file) pairs.
        read: reads a picture as uint8 [H, W, 3] RGB.
        overwrite: make valid files anew too.
        progress: called with the number of pictures that became done.

    Raises:
        LabelError: a label file cannot be written.
    """
    summary = LabelSummary()
    pending: deque[Path] = deque()

    def crops() -> Iterator[Crop]:
        for image_path, path in files:
            kept = None if overwrite else _valid(path)
            if kept is not None:
                summary.kept += 1
                summary.without_person += not kept.any()
                progress(1)
                continue
            try:
                pixels = read(image_path)
            except PartReIDError as error:
                summary.failed.append(str(error))
                progress(1)
                continue
            pending.append(path)
            yield Crop(image_path, pixels)

    for label in provider.detect(crops()):
        write_pose_fields(pending.popleft(), label.fields)
        summary.made += 1
        summary.without_person += not label.fields.any()
        summary.several_persons += label.persons > 1
        progress(1)
    return summary


def _valid(path: Path) -> NDArray[np.float32] | None:
    """The fields that are there already, None where there are none or they are damaged."""
    if not path.is_file():
        return None
    try:
        return read_pose_fields(path)
    except LabelError:
        return None
