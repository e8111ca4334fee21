"""Whose part does a model see? ``python -m benchmarks.whose_part RUN... --data RENDERED``.

Of every part that is hidden in an occluded query of a rendered set: how often does the model call it visible? Asked at
the threshold at which it calls 95 % of the shown ones visible, so that models whose values lie elsewhere can be
compared. The set knows every pixel: a part is shown if at least half of it can be seen, and hidden if at most a tenth.
What lies between counts for neither. Causes are told apart: nobody in the image shows such a part; somebody else does,
beside the person; or somebody else does, who fills the image as the person would.

Then what better visibility could bring: mAP with the model's, with none, and with the set's own.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from partreid import PartExtractor
from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic.body import REGIONS
from partreid.evaluation.dataset import embed_split
from partreid.evaluation.evaluator import evaluate_embeddings
from partreid.types import PartEmbeddings, ReIDDataset, ReIDImage

_SHOWN, _HIDDEN = 0.5, 0.1
_RECALL = 0.95
_FILLS = 0.5
"""Intersection over union with the image from which another person's box fills it."""
_REGIONS_OF = {
    "arms": ("left_arm", "right_arm"),
    "legs": ("left_leg", "right_leg"),
    "feet": ("left_foot", "right_foot"),
} | {region: (region,) for region in REGIONS}
"""Body regions of the renderer that a part of the schemas ``five``, ``six_new`` and ``eight`` is made of."""


@dataclass(frozen=True)
class Truth:
    """What N images show of K parts.

    Attributes:
        shown: [N, K] share of the part that can be seen, NaN where the image holds nothing of it.
        others: [N, K] whether another person in the image shows such a part.
        filled: [N] greatest intersection over union of another person's box with the image.
    """

    shown: NDArray[np.float64]
    others: NDArray[np.bool_]
    filled: NDArray[np.float64]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="models")
    parser.add_argument("--data", type=Path, required=True, help="a rendered set with occluded queries")
    options = parser.parse_args()
    dataset, console = read_dataset(options.data), Console(width=120)
    for run in options.runs:
        parts = PartExtractor.from_pretrained(run).model.config.part_names
        truth = read_truth(options.data, dataset.query, parts)
        console.print(f"{run}, {len(dataset.query)} queries", _rates(run, dataset, truth))
        console.print(_worth(run, dataset, truth, read_truth(options.data, dataset.gallery, parts)))


def _rates(run: str, dataset: ReIDDataset, truth: Truth) -> Table:
    extractor = PartExtractor.from_pretrained(run, overrides={"visibility": "continuous"})
    seen = np.concatenate([output.visibility.numpy() for output in extractor.outputs(dataset.query)])
    fills = truth.filled >= _FILLS
    table = Table(
        "part", "shown / hidden", "λ at 95 %", "false visible", "nobody's there", "another beside", "... fills"
    )
    for k, part in enumerate(extractor.model.config.part_names):
        there, hidden = truth.shown[:, k] >= _SHOWN, truth.shown[:, k] <= _HIDDEN
        limit = float(np.quantile(seen[there, k], 1 - _RECALL))
        other = truth.others[:, k]
        causes = (hidden, hidden & ~other, hidden & other & ~fills, hidden & other & fills)
        rates = [_share(seen[cause, k] > limit) for cause in causes]
        table.add_row(part, f"{there.sum()} / {hidden.sum()}", f"{limit:.2f}", *rates)
    return table


def _share(values: NDArray[np.bool_]) -> str:
    return f"{values.mean():.0%} of {len(values)}" if len(values) else "–"


def _worth(run: str, dataset: ReIDDataset, query: Truth, gallery: Truth) -> Table:
    extractor = PartExtractor.from_pretrained(run)
    sides = [embed_split(extractor, images) for images in (dataset.query, dataset.gallery)]
    known = [side.embeddings for side in sides]
    table = Table("visibility", "rank-1", "mAP")

    def add(name: str, embeddings: list[PartEmbeddings]) -> None:
        found = evaluate_embeddings(*embeddings, *(side.ids for side in sides))
        table.add_row(name, f"{(found.first_match == 1).mean():.1%}", f"{np.nanmean(found.average_precision):.1%}")

    add("the model's", known)
    add("none", [replace(one, visibility=torch.ones_like(one.visibility)) for one in known])
    for limit in (0.02, 0.1, 0.25):
        true = [_with(one, truth.shown > limit) for one, truth in zip(known, (query, gallery), strict=True)]
        add(f"true: more than {limit:.0%} of the part", true)
    true = [_with(one, np.nan_to_num(truth.shown)) for one, truth in zip(known, (query, gallery), strict=True)]
    add("true: the share seen", true)
    return table


def _with(embeddings: PartEmbeddings, parts: NDArray[np.generic]) -> PartEmbeddings:
    """The same vectors with other visibilities of the parts [N, K]; what stands for the whole person stays visible."""
    visibility = embeddings.visibility.clone()
    visibility[:, -parts.shape[1] :] = torch.as_tensor(parts, dtype=visibility.dtype)
    return replace(embeddings, visibility=visibility)


def read_truth(root: Path, images: Sequence[ReIDImage], parts: Sequence[str]) -> Truth:
    """The truth of a rendered set's images."""
    rows = {row["path"]: row for row in _rows(root / "pictures.csv")}
    boxes = defaultdict(list)
    for row in _rows(root / "others.csv"):
        boxes[row["path"]].append([float(row[name]) for name in ("left", "top", "width", "height")])
    names = [image.path.relative_to(root).as_posix() for image in images]
    shown = np.empty((len(images), len(parts)))
    others, filled = np.zeros(shown.shape, bool), np.zeros(len(images))
    for n, name in enumerate(names):
        file = (root / "others" / name).with_suffix(".png")
        there: set[int] = set()
        if file.is_file():
            regions_seen = np.asarray(Image.open(file))
            there = set(np.unique(regions_seen % 16).tolist())
            filled[n] = max(_overlap(box, regions_seen.shape) for box in boxes[name])
        for k, part in enumerate(parts):
            regions = _REGIONS_OF[part]
            shares = [float(rows[name][f"visible_{region}"] or "nan") for region in regions]
            shown[n, k] = np.nan if np.isnan(shares).all() else np.nanmean(shares)
            others[n, k] = any(REGIONS.index(region) + 1 in there for region in regions)
    return Truth(shown, others, filled)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _overlap(box: Sequence[float], size: tuple[int, ...]) -> float:
    """Intersection over union of a box (left, top, width, height) with the whole image (H, W)."""
    (left, top, width, height), (rows, columns) = box, size
    across = min(left + width, columns) - max(left, 0)
    down = min(top + height, rows) - max(top, 0)
    common = max(across, 0) * max(down, 0)
    return common / (width * height + rows * columns - common)


if __name__ == "__main__":
    main()
