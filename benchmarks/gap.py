"""How a rendered set differs from a real one: ``python -m benchmarks.gap RENDERED REAL``.

Colours are those of the training images as they are decoded, at one size. The silhouette is the mean over images of the
strongest of the five parts at each place of the label, so both sets need labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from partreid.datasets.images import read_image, resize
from partreid.datasets.readers import read_dataset
from partreid.labels.fields import read_part_maps
from partreid.parts import get_part_schema

_SIZE = (128, 64)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path, help="folders; the last is what the others are compared with")
    parser.add_argument("--count", type=int, default=300, help="training images of each, evenly chosen")
    options = parser.parse_args()
    measured = [measure(path, options.count) for path in options.sets]
    table = Table("of the training images", *(path.name for path in options.sets))
    for name in measured[0][0]:
        table.add_row(name, *(f"{figures[name]:.3g}" for figures, _ in measured))
    real = measured[-1][1]
    table.add_row("silhouette: mean difference to the last", *(f"{abs(s - real).mean():.3f}" for _, s in measured))
    Console().print(table)


def measure(root: Path, count: int) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Figures by name, and the mean silhouette [h, w]."""
    images = read_dataset(root).train
    chosen = [images[int(k)] for k in np.linspace(0, len(images) - 1, min(count, len(images)))]
    pixels = np.stack([resize(read_image(image.path), _SIZE) for image in chosen]).astype(float)
    maps = [read_part_maps(image.label, get_part_schema("five")) for image in chosen if image.label is not None]
    parts = np.stack([m for m in maps if m.shape == maps[0].shape])
    return {**colours(pixels), "foreground, share of the image": float(parts.max(axis=1).mean())}, parts.max(
        axis=1
    ).mean(axis=0)


def colours(pixels: NDArray[np.float64]) -> dict[str, float]:
    """Figures of images [N, H, W, 3] with values to 255."""
    figures: dict[str, float] = {}
    for k, name in enumerate(("red", "green", "blue")):
        figures[f"{name}: mean"] = pixels[..., k].mean()
        figures[f"{name}: deviation within an image"] = pixels[..., k].std(axis=(1, 2)).mean()
    grey = pixels.mean(axis=-1)
    figures["brightness: deviation between images"] = grey.mean(axis=(1, 2)).std()
    top, low = pixels.max(axis=-1), pixels.min(axis=-1)
    figures["saturation (HSV): mean"] = ((top - low) / np.maximum(top, 1)).mean()
    figures["chroma (greatest - least channel): mean"] = (top - low).mean()
    figures["gradient: mean difference of neighbours down"] = np.abs(np.diff(grey, axis=1)).mean()
    figures["gradient: mean difference of neighbours across"] = np.abs(np.diff(grey, axis=2)).mean()
    figures["fine gradient: of what a 3×3 mean takes away"] = _fine(grey)
    figures["darkest 5 % of places"] = np.percentile(grey, 5)
    figures["brightest 5 % of places"] = np.percentile(grey, 95)
    return {name: float(value) for name, value in figures.items()}


def _fine(grey: NDArray[np.float64]) -> float:
    shifted: Sequence[NDArray[np.float64]] = [
        grey[:, 1 + dy : grey.shape[1] - 1 + dy, 1 + dx : grey.shape[2] - 1 + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    return float(np.abs(grey[:, 1:-1, 1:-1] - np.mean(shifted, axis=0)).mean())


if __name__ == "__main__":
    main()
