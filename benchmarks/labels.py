"""How good and how fast labels are: ``python -m benchmarks.labels MARKET --points FILE.mat --model NETWORK.xml``.

Compares the OpenVINO provider with the 14 body points of github.com/layumi/market1501_body_point on training crops of
Market-1501. That set was made by a machine too: where both differ, either may be wrong. Reading it needs h5py
(``pip install h5py``); the package itself does not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from partreid.datasets.images import read_image
from partreid.datasets.readers.common import list_images
from partreid.labels.fields import read_pose_fields
from partreid.labels.generate import LabelJob, make_labels
from partreid.labels.grouping import group_fields, label_map
from partreid.labels.providers.openvino import OpenVinoPose
from partreid.labels.target import choose_target
from partreid.parts import KEYPOINTS, PART_SCHEMAS, mirrored

NEAR = 12 / 128
"""A joint agrees if it lies within this share of the crop's height."""

_SIDES = [f"{side}_{joint}" for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
          for side in ("right", "left") for joint in joints]  # fmt: skip
POINTS = ("head_top", "neck", *_SIDES)
"""The order of the 14 points, found by comparing them with two pose networks' keypoints."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("market", type=Path, help="Market-1501-v15.09.15")
    parser.add_argument("--points", type=Path, required=True, help="market1501_14point_train.mat")
    parser.add_argument("--model", type=Path, required=True, help="human-pose-estimation-0001.xml")
    parser.add_argument("--count", type=int, default=2400, help="crops, evenly chosen")
    options = parser.parse_args()
    files = list_images(options.market / "bounding_box_train")
    chosen = np.linspace(0, len(files) - 1, min(options.count, len(files))).astype(int)
    crops = [files[i] for i in chosen]
    points = read_points(options.points)[chosen]
    provider = OpenVinoPose(options.model)
    console = Console()
    images = [read_image(path) for path in crops]
    list(provider.keypoints(images[:50]))  # the first calls are slower
    start = time.perf_counter()
    persons = list(provider.keypoints(images))
    keypoints_rate = len(crops) / (time.perf_counter() - start)
    console.print(agreement_table(persons, points, images))
    with tempfile.TemporaryDirectory() as folder:
        jobs = [LabelJob(path, Path(folder) / f"{path.stem}.npy", path.name) for path in crops]
        start = time.perf_counter()
        make_labels(provider, jobs, Path(folder), read=read_image)
        rate = len(crops) / (time.perf_counter() - start)
        console.print(parts_table([job.label for job in jobs]))
    console.print(f"keypoints alone {keypoints_rate:.0f} crops/s; labels, from file to file, {rate:.0f} crops/s")


def read_points(path: Path) -> np.ndarray:
    """The points as [N, 14, 2] pixels, x and y from 0, in the order of the sorted file names."""
    try:
        import h5py
    except ImportError:
        raise SystemExit("Reading the points needs h5py: pip install h5py") from None
    with h5py.File(path) as file:
        return np.array(file["pp"]).reshape(-1, 2, len(POINTS)).transpose(0, 2, 1) - 1


def agreement_table(persons: Sequence[np.ndarray], points: np.ndarray, images: Sequence[np.ndarray]) -> Table:
    """Share of the target's joints that lie near the independent ones, above growing confidence."""
    targets = np.zeros((len(persons), len(KEYPOINTS), 3))
    for row, found, image in zip(targets, persons, images, strict=True):
        if len(found):
            row[:] = found[choose_target(found, image.shape[:2])]
    near = NEAR * np.array([image.shape[0] for image in images])[:, None]
    ours = targets[:, [KEYPOINTS.index(name) for name in _SIDES]]
    same = _distance(ours, points[:, [POINTS.index(name) for name in _SIDES]]) <= near
    other = _distance(ours, points[:, [POINTS.index(mirrored(name)) for name in _SIDES]]) <= near
    table = Table(title="Agreement with the 14-point set: joints within 12 of 128 pixels", title_justify="left")
    for column in ("confidence from", "joints, % of all", "agree, %", "agree if sides are ignored, %"):
        table.add_column(column, justify="right")
    for least in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5):
        sure = ours[..., 2] >= least
        figures = (sure.mean(), same[sure].mean(), (same | other)[sure].mean())
        table.add_row(f"{least:g}", *(f"{100 * figure:.1f}" for figure in figures))
    return table


def parts_table(labels: Sequence[Path]) -> Table:
    """Share of label maps that hold each part, head and torso both, and nothing."""
    schema = PART_SCHEMAS["five"]
    maps = [label_map(group_fields(read_pose_fields(path), schema)) for path in labels]
    has = {part: np.array([(m == i).any() for m in maps]) for i, part in enumerate(schema.parts, start=1)}
    has["head and torso"] = has["head"] & has["torso"]
    has["nothing"] = np.array([not m.any() for m in maps])
    table = Table(title=f"Label maps of {len(maps)} crops, schema five, threshold 0.5", title_justify="left")
    table.add_column("part")
    table.add_column("crops with it, %", justify="right")
    for part, found in has.items():
        table.add_row(part, f"{100 * found.mean():.1f}")
    return table


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.hypot(a[..., 0] - b[..., 0], a[..., 1] - b[..., 1])


if __name__ == "__main__":
    main()
