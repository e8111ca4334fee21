"""Render a whole set to a folder in Market-1501 layout, with several processes, resumable."""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from partreid.datasets.synthetic.body import REGIONS
from partreid.datasets.synthetic.facts import FACTS, INDEX
from partreid.datasets.synthetic.manifest import begin_set
from partreid.datasets.synthetic.render_config import PlannedImage, SyntheticConfig, plan_images
from partreid.errors import DataError, warn
from partreid.files import atomic_file
from partreid.progress import Progress, no_progress

if TYPE_CHECKING:
    from partreid.datasets.synthetic.render import RenderedImage, World

RENDERER_VERSION = 3
"""Increased whenever the same configuration gives other images."""

OTHERS = "others.csv"
LABELS = "rendered"
"""Label folder within ``masks``."""

_ROW = "partreid"
_COLUMNS = ("path", "split", "pid", "camid", "occlusion", *(f"visible_{name}" for name in REGIONS), *FACTS)
_SAME = 0.005
"""Most by which the occlusion of one image differs between processors: a few of the rays that measure it."""
_OTHERS_COLUMNS = ("path", "number", "passer_by", "left", "top", "width", "height", "seen")
_PALETTE = [
    0, 0, 0, 230, 60, 60, 60, 160, 60, 240, 200, 40, 240, 140, 40, 60, 90, 220, 90, 200, 230, 170, 60, 200,
    230, 150, 220, 140, 140, 140,
]  # fmt: skip
"""Colours by which people tell regions apart in an image viewer."""
_SPLITS = {"bounding_box_train": "train", "bounding_box_test": "gallery"}


def render_dataset(
    config: SyntheticConfig, out: str | Path, *, workers: int = 1, progress: Progress = no_progress
) -> Path:
    """Render a set of pedestrians. A killed run resumes; the bytes do not depend on ``workers``.

    They are the same each time on one machine; another processor may round differently in the last bit.

    Args:
        config: what to render.
        out: the folder, in Market-1501 layout. ``masks/rendered`` has the labels (uint8 pose fields). ``parts`` has
            the body regions: 0 = not the person, then :data:`~partreid.datasets.synthetic.body.REGIONS`, then
            belongings (bags, a bicycle ridden, a pram pushed, an umbrella held). ``pictures.csv`` has occlusion and
            :data:`~partreid.datasets.synthetic.facts.FACTS`, and gets the facts of older images too. ``others`` has
            the map of the other people's regions where there are any (16 n + region for person n), and
            ``others.csv`` their boxes.
        workers: number of processes; 1 renders in the calling one.
        progress: shows how many images are finished.

    Returns:
        ``out``.

    Raises:
        MissingDependencyError: anny or warp-lang is not installed.
        ConfigError: ``out`` holds a set of another configuration, of other assets or panoramas, or of another renderer.
        DataError: a panorama cannot be read, ``config.assets`` holds nothing that can be used, or a file cannot be
            written.
    """
    out = Path(out)
    begin_set(config, out, RENDERER_VERSION, workers)
    plan = plan_images(config)
    missing = [p for p in plan if not all(file.is_file() for file in files_of(out, p))]
    with progress("rendering", len(plan)) as advance:
        for done in chain((len(plan) - len(missing),), _each(_render_group, config, out, missing, workers)):
            advance(done)
    if unknown := [planned for planned in plan if "facts" not in _row(out, planned)]:
        with progress("describing", len(unknown)) as advance:
            for done in _each(_describe_group, config, out, unknown, workers):
                advance(done)
        if differing := sum(not _row(out, planned)["facts"] for planned in unknown):
            warn(
                f"{differing} of {len(unknown)} images that were rendered before come out differently here, so their "
                f"{', '.join(FACTS)} stay unknown. Another processor or another version of a library rendered them."
            )
    _write_index(out, plan)
    return out


def files_of(out: Path, planned: PlannedImage) -> tuple[Path, Path, Path]:
    """The files of an image: pose fields, body regions, and the image itself."""
    place = Path(planned.folder, planned.stem)
    return (
        out / "masks" / LABELS / place.with_suffix(".npy"),
        out / "parts" / place.with_suffix(".png"),
        out / place.with_suffix(".jpg"),
    )


def _each(
    work: Callable[[SyntheticConfig, Path, list[PlannedImage]], int], config: SyntheticConfig, out: Path,
    plan: list[PlannedImage], workers: int,
) -> Iterator[int]:  # fmt: skip
    """Render or describe images, and yield how many each step finished."""
    if workers == 1:
        yield from (work(config, out, [planned]) for planned in plan)
        return
    # One process renders all images of an identity, because dressing a body costs as much as an image.
    groups = [list(g) for _, g in groupby(plan, key=lambda p: p.pid)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, config, out, group) for group in groups]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@lru_cache(maxsize=1)
def _world(config: SyntheticConfig) -> World:
    from partreid.datasets.synthetic.render import World

    return World(config)


def _render_group(config: SyntheticConfig, out: Path, plan: list[PlannedImage]) -> int:
    for planned in plan:
        _write(out, planned, _world(config).render(planned))
    return len(plan)


def _describe_group(config: SyntheticConfig, out: Path, plan: list[PlannedImage]) -> int:
    """Add the facts of images that exist, if this machine renders the same images from the configuration."""
    for planned in plan:
        row, (degree, facts) = _row(out, planned), _world(config).describe(planned)
        row["facts"] = facts if abs(degree - row["occlusion"]) <= _SAME else {}
        path = files_of(out, planned)[1]
        with Image.open(path) as image:
            values = np.asarray(image)
        _write_map(path, values, _PALETTE, bits=4, text=json.dumps(row))
    return len(plan)


def _row(out: Path, planned: PlannedImage) -> dict[str, Any]:
    """What the file of an image's regions keeps about the image."""
    with Image.open(files_of(out, planned)[1]) as image:
        row = json.loads(str(image.info[_ROW]))
    return dict(row)


def _write(out: Path, planned: PlannedImage, rendered: RenderedImage) -> None:
    """Write the labels first and the image last: if the image exists, so do all its files."""
    label, parts, jpeg = files_of(out, planned)
    with atomic_file(label, error=DataError) as file:
        np.save(file, rendered.fields, allow_pickle=False)
    if rendered.others:
        _write_map(_others_file(out, planned), rendered.others_parts, [0, 0, 0, *_PALETTE[3:18] * 16], bits=8)
    occlusion = rendered.occlusion
    shares = {"occlusion": occlusion.degree, **dict(zip(REGIONS, occlusion.visible, strict=True))}
    row: dict[str, object] = {k: None if math.isnan(v) else round(v, 4) for k, v in shares.items()}
    row["others"] = [(o.number, o.passer_by, *(round(v, 1) for v in o.box), round(o.seen, 4)) for o in rendered.others]
    row["facts"] = rendered.facts
    _write_map(parts, rendered.parts, _PALETTE, bits=4, text=json.dumps(row))
    with atomic_file(jpeg, error=DataError) as file:
        file.write_bytes(rendered.jpeg)


def _write_map(path: Path, values: NDArray[np.uint8], palette: list[int], *, bits: int, text: str = "") -> None:
    image = Image.fromarray(values).convert("P")
    image.putpalette(palette)
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_text(_ROW, text)
    with atomic_file(path, error=DataError) as file:
        image.save(file, format="PNG", pnginfo=info, bits=bits, optimize=True)


def _others_file(out: Path, planned: PlannedImage) -> Path:
    """The file of the other people in an image; it is written before the image, as all its files are."""
    return out / "others" / planned.folder / f"{planned.stem}.png"


def _write_index(out: Path, plan: list[PlannedImage]) -> None:
    rows: list[list[object]] = []
    others: list[list[object]] = []
    for planned in plan:
        row = _row(out, planned)
        split, name = _SPLITS.get(planned.folder, planned.folder), f"{planned.folder}/{planned.stem}.jpg"
        visible = ["" if row[region] is None else row[region] for region in REGIONS]
        facts = [row["facts"].get(fact, "") for fact in FACTS]
        rows.append([name, split, planned.pid, planned.camid, row["occlusion"], *visible, *facts])
        others += [[name, *other] for other in row["others"]]
    write_table(out / OTHERS, _OTHERS_COLUMNS, others)
    write_table(out / INDEX, _COLUMNS, rows)


def write_table(path: Path, columns: Sequence[str], rows: list[list[object]]) -> None:
    """Write a CSV file atomically."""
    with atomic_file(path, error=DataError) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
