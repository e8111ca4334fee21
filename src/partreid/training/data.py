"""A digest of a few bytes per training image, so that a resumed training notices changed images or labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from partreid.datasets.readers import DataLike, read_datasets
from partreid.errors import CheckpointError, warn
from partreid.models.backbones.network_files import NetworkName
from partreid.models.carried import carried_network, same_network
from partreid.models.checkpoint import CONFIG_FILE, find_checkpoint
from partreid.objects import Guided
from partreid.training.state import load_run_config
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDImage

_HEAD = 1 << 16
"""The digest covers a file's size and so many bytes at its beginning. Most images are not larger."""

_MAY_CHANGE = ("optimizer.epochs", "labels", "pretrained")
"""Fields that may differ in the same training: its length, and the names of labels and starting weights."""

_WAY_OUT = (
    "Or start a new run in another folder (--set pretrained=RUN starts from the backbone of this one), or resume it "
    "in spite of this: partreid train --resume --allow-changes, in Python resume(allow_changes=True)."
)


def training_images(data: DataLike | Sequence[DataLike] | Sequence[ReIDImage], *, labels: str) -> list[ReIDImage]:
    """The images to train on: of one data set, or of several joined.

    Args:
        data: data sets or their names or folders, or the images themselves. labels: label folder of sets that are read.

    Raises:
        DataError, LabelError: as :func:`~partreid.datasets.readers.read_datasets`.
    """
    if isinstance(data, Sequence) and data and all(isinstance(one, ReIDImage) for one in data):
        return list(cast("Sequence[ReIDImage]", data))
    sets = read_datasets(cast("DataLike | Sequence[DataLike]", data), labels=labels, unmatched="drop")
    return [image for dataset in sets for image in dataset.train]


@dataclass(frozen=True, eq=False, repr=False)
class TrainingData(Guided):
    """The training images in the order of drawing: by class, then in the given order.

    Folders do not count, because a set may be moved. Neither does the order of several sets.

    Attributes:
        names: of the images' files.
        digests: "pictures" (the name in states on disk), [N] int64, of class, name and content of the images;
            "labels", [N] int64, of the content, 0 = none.
    """

    names: Sequence[str]
    digests: Mapping[str, Tensor]

    @classmethod
    def of(cls, images: Sequence[ReIDImage], pid_index: Sequence[int], *, labels: bool) -> TrainingData:
        """The present digests of images with their training classes. ``labels``: whether labels are learned."""
        order = np.argsort(np.asarray(pid_index), kind="stable").tolist()
        names = [images[i].path.name for i in order]
        found_images = [file_digest(images[i].path, f"{pid_index[i]} {images[i].path.name}") for i in order]
        files = [images[i].label if labels else None for i in order]
        found = [0 if file is None else file_digest(file, "") for file in files]
        return cls(names, {"images": torch.tensor(found_images), "labels": torch.tensor(found)})

    def changes(self, before: Mapping[str, Tensor]) -> str:
        """A description of all changes since then; "" = none."""
        now = self.digests
        if "pictures" in before:  # the form of former versions
            before = {"images": before["pictures"], "labels": before["labels"]}
        if len(before["images"]) != len(now["images"]):
            return f"it had {len(before['images'])} training images, and there are {len(now['images'])} now"
        for what in ("images", "labels"):
            differ = before[what] != now[what]
            if not differ.any():
                continue
            if what == "images" and torch.equal(before[what].sort().values, now[what].sort().values):
                return "the images of a person come in another order now"
            first = self.names[int(differ.nonzero()[0])]
            return f"{int(differ.sum())} of {len(self.names)} {what} differ now, the first of them at {first}"
        return ""


def check_same_config(run: Path, config: TrainConfig) -> None:
    """Check that a run is resumed with its own configuration; only the number of epochs may differ.

    A network file is compared by its content, because it may have been moved.
    """
    began = load_run_config(run)  # or there is nothing to resume
    same_file = _check_same_network(run, config)
    may_change = (*_MAY_CHANGE, *(["model.backbone"] if same_file else []))
    differences = [(key, *one) for key, one in began.diff(config).items() if key not in may_change]
    if differences:
        key, there, here = differences[0]
        more = f" ({len(differences)} fields differ)" if len(differences) > 1 else ""
        raise CheckpointError(
            f"{run} was started with {key} = {there!r}, and now it is {here!r}{more}. A resumed run keeps its "
            f"configuration: leave --preset, --config and --set out. {_WAY_OUT}"
        )


def _check_same_network(run: Path, config: TrainConfig) -> bool:
    """Whether a training has the network file that the run was started with. False if neither has one."""
    named = NetworkName.of(config.model.backbone)
    carried = carried_network(find_checkpoint(run) / CONFIG_FILE)
    if named is None or carried is None:
        return False
    theirs = NetworkName.of(carried[0])
    if not same_network(config.model.backbone, carried[1]):
        raise CheckpointError(
            f"{named.path} is not the file that {run} was started with: it was changed or replaced. Put it "
            f"back, or resume with the copy in the checkpoint: --set model.backbone={carried[0]}"
        )
    return theirs is not None and theirs.map_name == named.map_name


def check_same_data(run: Path, before: Mapping[str, Tensor], data: TrainingData) -> None:
    """Check that a run is resumed with the images and labels of its start; ``before`` are the digests of that time."""
    if not before:
        warn(
            f"{run} was started with an earlier version, which kept no digest of its images: whether images and "
            "labels are still the same is not known."
        )
    elif change := data.changes(before):
        raise CheckpointError(f"{run} was trained on other data: {change}. Restore the former data. {_WAY_OUT}")


def file_digest(path: Path, about: str) -> int:
    """Digest of a file's size and beginning, and of a text about it; a file that cannot be read is reported where it is
    needed."""
    digest = blake2b(about.encode("utf-8", "surrogateescape"), digest_size=8)
    try:
        digest.update(str(path.stat().st_size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_HEAD))
    except OSError:
        digest.update(b"unreadable")
    return int.from_bytes(digest.digest(), "little", signed=True)
