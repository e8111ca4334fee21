"""A contact sheet that shows what a configuration renders, before the whole set is rendered."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from partreid.datasets.synthetic.manifest import check_libraries
from partreid.datasets.synthetic.render_config import SyntheticConfig, plan_images
from partreid.errors import ConfigError, DataError
from partreid.files import atomic_file
from partreid.progress import Progress, no_progress

_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_GAP = 2


def render_preview(
    config: SyntheticConfig, path: str | Path, *, columns: int = 12, rows: int = 8, progress: Progress = no_progress
) -> Path:
    """Render some of a set's images, spread over its persons, cameras and splits, onto one sheet.

    The images are those that :func:`render_dataset` gives.

    Args:
        config: the set's configuration.
        path: the sheet, .png or .jpg.
        columns, rows: images across and down; fewer if the set has fewer.
        progress: shows how many images are finished.

    Returns:
        ``path``.

    Raises:
        MissingDependencyError: a library of the renderer is not installed.
        ConfigError: ``path`` has another suffix, or there is no image to show.
        DataError: a panorama cannot be read, or the sheet cannot be written.
    """
    path = Path(path)
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"A preview is one image: expected a file that ends in {', '.join(_SUFFIXES)}, got {path}.")
    if columns < 1 or rows < 1:
        raise ConfigError(f"columns and rows must be at least 1, got {columns} and {rows}.")
    check_libraries()
    from partreid.datasets.synthetic.render import World

    plan = plan_images(config)
    chosen = [plan[int(k)] for k in np.linspace(0, len(plan) - 1, min(columns * rows, len(plan)))]
    height, width = config.image_height + _GAP, config.image_width + _GAP
    sheet = Image.new("RGB", (columns * width - _GAP, -(-len(chosen) // columns) * height - _GAP), "white")
    world = World(config)
    with progress("rendering", len(chosen)) as advance:
        for number, planned in enumerate(chosen):
            with Image.open(io.BytesIO(world.render(planned).jpeg)) as image:
                sheet.paste(image, (number % columns * width, number // columns * height))
            advance(1)
    with atomic_file(path, error=DataError) as file:
        sheet.save(file, format=kind, quality=92)
    return path
