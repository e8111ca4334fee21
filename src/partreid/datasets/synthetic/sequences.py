"""Render videos of people who cross and hide each other, in MOTChallenge's layout, with exact truth; resumable."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid.datasets.synthetic.body import REGIONS
from partreid.datasets.synthetic.dataset import write_table
from partreid.datasets.synthetic.manifest import begin_set
from partreid.datasets.synthetic.sequence_config import SequenceConfig
from partreid.errors import DataError
from partreid.files import atomic_folder, hold_folder, mend_folder, write_text
from partreid.progress import Progress, no_progress

if TYPE_CHECKING:
    from partreid.datasets.synthetic.filming import Seen
    from partreid.datasets.synthetic.scenes import SceneWorld

SEQUENCES_VERSION = "sequences 2"
"""Changed whenever the same configuration gives other frames."""

CALIBRATION, PARTS = "calibration.json", "parts.csv"
_PARTS_COLUMNS = (
    "frame", "id", "seen", "visible_left", "visible_top", "visible_width", "visible_height", "x", "y",
    *(f"visible_{name}" for name in REGIONS),
)  # fmt: skip
_START = datetime(2026, 1, 1, 12)
"""When the first scene's clock begins."""
_APART = timedelta(hours=1)


def render_sequences(
    config: SequenceConfig, out: str | Path, *, workers: int = 1, progress: Progress = no_progress
) -> Path:
    """Render scenes of several people, each filmed by several cameras. A killed run resumes with the next sequence.

    The bytes do not depend on ``workers``. They are the same each time on one machine; another processor may round
    differently in the last bit.

    Args:
        config: what to render.
        out: the folder. ``SCENE/CAMERA`` is a sequence in MOTChallenge's layout: ``img1``, ``gt/gt.txt``,
            ``seqinfo.ini``. Beside them ``parts.csv`` tells what is seen of each person, and of each region of the
            body. ``SCENE/calibration.json`` has the cameras, and when each begins, by one clock for all. A person has
            one id in all cameras of a scene, from 1.
        workers: number of processes; 1 renders in the calling one.
        progress: shows how many frames are finished.

    Returns:
        ``out``.

    Raises:
        MissingDependencyError: anny or warp-lang is not installed.
        ConfigError: ``out`` holds a set of another configuration, of other assets or panoramas, or of another renderer.
        DataError: a panorama cannot be read, ``config.assets`` holds nothing that can be used, a file cannot be
            written, or another process is rendering into ``out``.
    """
    out = Path(out)
    begin_set(config, out, SEQUENCES_VERSION, workers)
    plan = [(scene, camera) for scene in range(config.scenes) for camera in range(config.cameras)]
    with hold_folder(out, error=DataError), progress("rendering", len(plan) * config.frames) as advance:
        for scene, camera in plan:
            mend_folder(sequence_folder(out, config, scene, camera))
        missing = [unit for unit in plan if not sequence_folder(out, config, *unit).is_dir()]
        there = (len(plan) - len(missing)) * config.frames
        for done in chain((there,), _render(config, out, missing, workers)):
            advance(done)
        for scene in range(config.scenes):
            _write_calibration(config, out, scene)
    return out


def sequence_folder(out: Path, config: SequenceConfig, scene: int, camera: int) -> Path:
    """Where a camera's sequence lies; scene and camera from 0, their names from 1."""
    return out / f"scene{scene + 1:0{len(str(config.scenes))}d}" / f"cam{camera + 1}"


def _render(config: SequenceConfig, out: Path, plan: list[tuple[int, int]], workers: int) -> Iterator[int]:
    """Render, and yield how many frames each step finished."""
    if workers == 1 or len(plan) < 2:
        for unit in plan:
            yield from _film(config, out, *unit)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_film_all, config, out, *unit) for unit in plan]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _film_all(config: SequenceConfig, out: Path, scene: int, camera: int) -> int:
    return sum(_film(config, out, scene, camera))


def _film(config: SequenceConfig, out: Path, scene: int, camera: int) -> Iterator[int]:
    """Render a sequence, and yield 1 for each frame. Its folder appears when the whole sequence is finished."""
    world = _scene(config, scene)
    film = world.film(camera)
    truth: list[tuple[int, Seen]] = []
    with atomic_folder(sequence_folder(out, config, scene, camera), error=DataError) as folder:
        (folder / "img1").mkdir()
        for number in range(config.frames):
            jpeg, seen = film.frame(number, world.walks.at(world.begins[camera] + number / config.fps))
            (folder / "img1" / f"{number + 1:06d}.jpg").write_bytes(jpeg)
            truth += [(number + 1, person) for person in seen]
            yield 1
        _write_truth(folder, truth)
        _write_seqinfo(folder, config, f"{folder.parent.name}-cam{camera + 1}")


@lru_cache(maxsize=1)
def _scene(config: SequenceConfig, scene: int) -> SceneWorld:
    from partreid.datasets.synthetic.scenes import SceneWorld

    return SceneWorld(config, scene)


def _write_truth(folder: Path, truth: list[tuple[int, Seen]]) -> None:
    """Write gt.txt in MOTChallenge's format, and parts.csv. In both the first pixel is number 1."""
    boxes, parts = [], []
    for frame, person in sorted(truth, key=lambda row: (row[1].who, row[0])):
        left, top, right, bottom = person.box
        box = ",".join(f"{v:.2f}" for v in (left + 1, top + 1, right - left, bottom - top))
        boxes.append(f"{frame},{person.who + 1},{box},1,1,{person.seen:.4f}\n")
        visible: list[object] = [""] * 4
        if person.visible is not None:
            left, top, right, bottom = person.visible
            visible = [f"{v:g}" for v in (left + 1, top + 1, right - left, bottom - top)]
        shares = ["" if math.isnan(v) else f"{v:.4f}" for v in person.parts]
        place = [f"{v:.3f}" for v in person.place]
        parts.append([frame, person.who + 1, f"{person.seen:.4f}", *visible, *place, *shares])
    write_text(folder / "gt" / "gt.txt", "".join(boxes), error=DataError)
    write_table(folder / PARTS, _PARTS_COLUMNS, parts)


def _write_seqinfo(folder: Path, config: SequenceConfig, name: str) -> None:
    rows = {
        "name": name, "imDir": "img1", "frameRate": f"{config.fps:g}", "seqLength": config.frames,
        "imWidth": config.image_width, "imHeight": config.image_height, "imExt": ".jpg",
    }  # fmt: skip
    text = "[Sequence]\n" + "".join(f"{key}={value}\n" for key, value in rows.items())
    write_text(folder / "seqinfo.ini", text, error=DataError)


def _write_calibration(config: SequenceConfig, out: Path, scene: int) -> None:
    path = sequence_folder(out, config, scene, 0).parent / CALIBRATION
    if path.exists():
        return
    from partreid.datasets.synthetic.lenses import Lens
    from partreid.datasets.synthetic.scenes import begins_of, sites_of

    lens, begins = Lens.of(config), begins_of(config, scene)
    cameras: dict[str, Any] = {}
    for number, site in enumerate(sites_of(config, scene)):
        rotation, shift = site.extrinsics()
        start = _START + scene * _APART + timedelta(seconds=begins[number])
        cameras[f"cam{number + 1}"] = {
            "start": start.isoformat(timespec="microseconds"),
            "start_seconds": begins[number],
            "intrinsics": [
                [lens.focal, 0.0, float(lens.middle[0])],
                [0.0, lens.focal, float(lens.middle[1])],
                [0.0, 0.0, 1.0],
            ],
            "rotation": rotation.tolist(),
            "translation": shift.tolist(),
        }
    what = "pixel ~ intrinsics (rotation X + translation), the frame's upper left corner is (0, 0); X in metres, z up"
    text = json.dumps({"fps": config.fps, "units": what, "cameras": cameras}, indent=2) + "\n"
    write_text(path, text, error=DataError)
