"""Render a whole set to a folder in Market-1501 layout, with several processes, resumable."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from partreid.datasets.synthetic.body import REGIONS
from partreid.datasets.synthetic.plan import PlannedImage, plan_images
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.errors import ConfigError, DataError, MissingDependencyError
from partreid.files import atomic_file
from partreid.json_files import read_json

if TYPE_CHECKING:
    from partreid.datasets.synthetic.render import RenderedImage
    from partreid.datasets.synthetic.world import World

RENDERER_VERSION = 1
"""Increased whenever the same configuration gives other images."""

MANIFEST, INDEX = "synthetic.json", "pictures.csv"
LABELS = "rendered"
"""Label folder within ``masks``."""

_ROW = "partreid"
_COLUMNS = ("path", "split", "pid", "camid", "occlusion", *(f"visible_{name}" for name in REGIONS))
_SPLITS = {"bounding_box_train": "train", "bounding_box_test": "gallery"}
_world: World | None = None


def render_dataset(
    config: SyntheticConfig, out: str | Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Render a set of pedestrians. A killed run goes on where it stopped; the bytes do not depend on ``workers``.

    They are the same each time on one machine; another processor may round differently in the last bit.

    Args:
        config: what to render.
        out: the folder; in Market-1501 layout, labels in ``masks/rendered`` (uint8 pose fields), body regions in
            ``parts`` (0 = not the person, then :data:`~partreid.datasets.synthetic.body.REGIONS`, then bags),
            occlusion in ``pictures.csv``.
        workers: processes; 1 renders in this one.
        progress: told how many images are there, of how many, now and then.

    Returns:
        ``out``.

    Raises:
        MissingDependencyError: anny or warp-lang is not installed.
        ConfigError: ``out`` holds a set of another configuration, or of another renderer.
        DataError: a file cannot be written.
    """
    for library, name in (("anny", "anny"), ("warp", "warp-lang")):
        if importlib.util.find_spec(library) is None:
            raise MissingDependencyError(name, extra="synth", purpose="Rendering pedestrians")
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}.")
    out = Path(out)
    _claim(out, config)
    plan = plan_images(config)
    missing = [p for p in plan if not _is_complete(out, p)]
    there = len(plan) - len(missing)
    for done in chain((0,), _render(config, out, missing, workers)):
        there += done
        if progress:
            progress(there, len(plan))
    _write_index(out, plan)
    return out


def image_path(out: Path, planned: PlannedImage) -> Path:
    """The image's file."""
    return out / planned.folder / f"{planned.stem}.jpg"


def label_path(out: Path, planned: PlannedImage) -> Path:
    """Its pose fields."""
    return out / "masks" / LABELS / planned.folder / f"{planned.stem}.npy"


def parts_path(out: Path, planned: PlannedImage) -> Path:
    """Its body regions."""
    return out / "parts" / planned.folder / f"{planned.stem}.png"


def _claim(out: Path, config: SyntheticConfig) -> None:
    """Write the manifest, or check the one that is there."""
    manifest = {"renderer": RENDERER_VERSION, "config": config.model_dump(mode="json")}
    path = out / MANIFEST
    if not path.exists():
        if out.is_dir() and any(p for p in out.iterdir() if not p.name.startswith(".")):
            raise ConfigError(f"{out} is not empty and holds no {MANIFEST}. Choose a new folder for the rendered set.")
        with atomic_file(path, error=DataError) as file:
            file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = read_json(path, error=DataError)
        # Former versions wrote train_pictures where train_images stands now.
        config_there = {name.replace("pictures", "images"): value for name, value in found["config"].items()}
        theirs = {"renderer": found["renderer"], **config_there}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). Remove the folder and render anew.") from None
    mine = {"renderer": RENDERER_VERSION, **json.loads(json.dumps(manifest["config"]))}
    differing = [f"{k} = {theirs.get(k)} there, {mine.get(k)} here" for k in mine if mine.get(k) != theirs.get(k)]
    if differing:
        raise ConfigError(
            f"{out} holds a set made with other options: {'; '.join(differing)}. Choose another folder, or remove it."
        )


def _render(config: SyntheticConfig, out: Path, plan: list[PlannedImage], workers: int) -> Iterator[int]:
    """Render and yield how many images each step finished."""
    if not plan:
        return
    from partreid.datasets.synthetic.world import World

    if workers == 1:
        for planned, image in World(config).render_all(plan):
            _write(out, planned, image)
            yield 1
        return
    # Whole identities go to one process: dressing a body costs as much as an image.
    groups = [list(g) for _, g in groupby(plan, key=lambda p: p.pid)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(config,)) as pool:
        futures = [pool.submit(_render_group, out, group) for group in groups]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(config: SyntheticConfig) -> None:
    global _world
    from partreid.datasets.synthetic.world import World

    _world = World(config)


def _render_group(out: Path, plan: list[PlannedImage]) -> int:
    assert _world is not None
    for planned, image in _world.render_all(plan):
        _write(out, planned, image)
    return len(plan)


def _write(out: Path, planned: PlannedImage, rendered: RenderedImage) -> None:
    """Labels first, the image last: where the image is, all is."""
    with atomic_file(label_path(out, planned), error=DataError) as file:
        np.save(file, rendered.fields, allow_pickle=False)
    info = PngImagePlugin.PngInfo()
    occlusion = rendered.occlusion
    row = {"occlusion": occlusion.degree, **dict(zip(REGIONS, occlusion.visible, strict=True))}
    info.add_text(_ROW, json.dumps({k: None if math.isnan(v) else round(v, 4) for k, v in row.items()}))
    image = Image.fromarray(rendered.parts).convert("P")
    image.putpalette(_palette())
    with atomic_file(parts_path(out, planned), error=DataError) as file:
        image.save(file, format="PNG", pnginfo=info, bits=4, optimize=True)
    with atomic_file(image_path(out, planned), error=DataError) as file:
        file.write_bytes(rendered.jpeg)


def _is_complete(out: Path, planned: PlannedImage) -> bool:
    return all(path(out, planned).is_file() for path in (image_path, label_path, parts_path))


def _write_index(out: Path, plan: list[PlannedImage]) -> None:
    with atomic_file(out / INDEX, error=DataError) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for planned in plan:
            with Image.open(parts_path(out, planned)) as image:
                row = json.loads(str(image.info[_ROW]))
            writer.writerow(
                {
                    "path": f"{planned.folder}/{planned.stem}.jpg",
                    "split": _SPLITS.get(planned.folder, planned.folder),
                    "pid": planned.pid,
                    "camid": planned.camid,
                    "occlusion": row["occlusion"],
                    **{f"visible_{name}": "" if row[name] is None else row[name] for name in REGIONS},
                }
            )


def _palette() -> list[int]:
    """Colours by which people tell regions apart in an image viewer."""
    return [
        0, 0, 0, 230, 60, 60, 60, 160, 60, 240, 200, 40, 240, 140, 40, 60, 90, 220, 90, 200, 230, 170, 60, 200,
        230, 150, 220, 140, 140, 140,
    ]  # fmt: skip
