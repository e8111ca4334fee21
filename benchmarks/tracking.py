"""``python -m benchmarks.tracking TUNING REPORT``: one tracker by motion alone, by a vector per crop, by part memory.

Both folders hold sequences in MOTChallenge's layout, such as ``partreid synth --sequences`` makes. Thresholds are
chosen on the first and reported on the second. Detections are made from the truth: boxes of what is seen of a person,
jittered, some missed, some false, none of whom less than a quarter is seen. The tracker is norfair's, the same in all
rows, and scores are TrackEval's: ``pip install scipy`` and ``pip install --no-deps norfair==2.3.0 filterpy==1.4.5
trackeval==1.3.0``, because norfair asks for an older rich, and TrackEval for OpenCV, which is not used here.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from norfair import Detection, Tracker
from PIL import Image
from rich.console import Console
from rich.table import Table
from trackeval.metrics import CLEAR, HOTA, Identity

from partreid.evaluation.statistics import bootstrap_interval
from partreid.inference.embedding_file import save_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.models.shipped import SHIPPED
from partreid.parts import GLOBAL
from partreid.retrieval.calibration import MatchCalibration
from partreid.tracking.memory import AppearanceMemory, cost
from partreid.types import PartEmbeddings

LEAST_SEEN = 0.25
"""Who is seen less is not detected, not asked for, and not counted."""
MISSED, FALSE, JITTER = 0.04, 0.08, 0.03
"""A detection's probability to be missed, false ones a frame, and the standard deviation of an edge, of the box."""
SCORES = ("HOTA", "AssA", "IDF1", "IDSW")
_FAR = 1e6
_BATCH = 16

Boxes = np.ndarray
"""[n, 4] x1, y1, x2, y2 in pixels."""


@dataclass
class Film:
    """A sequence.

    Attributes:
        truth: for each frame the ids [n] and boxes of whom enough is seen. found: for each frame the detections.
        tables: by the model's name, a row for each detection, frame after frame. embed: seconds that each took.
    """

    folder: Path
    truth: list[tuple[np.ndarray, Boxes]]
    found: list[Boxes]
    tables: dict[str, PartEmbeddings] = field(default_factory=dict)
    embed: dict[str, float] = field(default_factory=dict)


class Appearance(Protocol):
    """What a tracker knows of people's looks; all of it lies in one object per track."""

    def costs(self, tracks: Sequence[Any], rows: Sequence[int], time: int) -> np.ndarray:
        """[T, N] of detections' rows, in [0, 1]; above 1 they cannot be one person, NaN is unknown."""

    def take(self, track: Any, row: int, time: int) -> Any:
        """The track's memory after a detection; ``track`` is None before the first."""


@dataclass
class OneVector:
    """A vector per crop, the running mean that trackers keep: nine tenths of what was, and one tenth of what is."""

    vectors: np.ndarray
    gate: float

    def costs(self, tracks: Sequence[Any], rows: Sequence[int], time: int) -> np.ndarray:
        """Cosine distances over the gate."""
        del time
        return (1 - np.stack(tracks) @ self.vectors[list(rows)].T) / self.gate

    def take(self, track: Any, row: int, time: int) -> Any:
        """A vector of length 1."""
        del time
        mixed = self.vectors[row] if track is None else 0.9 * track + 0.1 * self.vectors[row]
        return mixed / np.linalg.norm(mixed)


@dataclass
class PartMemory:
    """partreid's memory of parts."""

    table: PartEmbeddings
    calibration: MatchCalibration
    gate: float

    def costs(self, tracks: Sequence[Any], rows: Sequence[int], time: int) -> np.ndarray:
        """partreid's costs, infinite from the gate on."""
        return cost(tracks, self.table[list(rows)], self.calibration, time=time, gate=self.gate)

    def take(self, track: Any, row: int, time: int) -> Any:
        """An AppearanceMemory."""
        memory = AppearanceMemory() if track is None else track
        memory.update(self.table[row], time=time)
        return memory


class Distance:
    """norfair's distance: how little boxes overlap, and looks, in shares."""

    def __init__(self, looks: Appearance | None, share: float) -> None:
        self.looks, self.share, self.now = looks, share, 0

    def get_distances(self, objects: Sequence[Any], candidates: Sequence[Detection]) -> np.ndarray:
        """[detections, tracks], of which 1 and more never match."""
        if not objects or not candidates:
            return np.zeros((len(candidates), len(objects)))
        boxes = np.stack([track.estimate.reshape(4) for track in objects])
        motion = 1 - overlaps(np.stack([found.points.reshape(4) for found in candidates]), boxes)
        if self.looks is None:
            return motion
        rows = [found.data for found in candidates]
        looks = self.looks.costs([track.memory for track in objects], rows, self.now).T
        mixed = (1 - self.share) * motion + self.share * np.where(np.isnan(looks), motion, looks)
        return np.where(looks > 1, _FAR, mixed)


def overlaps(boxes: Boxes, others: Boxes) -> np.ndarray:
    """Intersection over union [n, m]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=-1) for b in (boxes, others)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)


def track(film: Film, looks: Appearance | None, *, share: float, limit: float, patience: int) -> list[np.ndarray]:
    """For each frame the track of each detection, -1 for none yet.

    Args:
        share: of looks in the distance. limit: from which on nothing matches. patience: frames that a lost track lives.
    """
    distance = Distance(looks, share)
    tracker = Tracker("euclidean", limit, hit_counter_max=patience, initialization_delay=1)
    tracker.distance_function = distance
    out, start = [], 0
    for now, boxes in enumerate(film.found):
        distance.now = now
        found = [Detection(box.reshape(2, 2), data=start + k) for k, box in enumerate(boxes)]
        tracker.update(found)
        ids = np.full(len(boxes), -1)
        for one in tracker.tracked_objects:
            row = one.last_detection.data
            if row < start:
                continue
            if looks is not None:
                one.memory = looks.take(getattr(one, "memory", None), row, now)
            if one.id is not None:
                ids[row - start] = one.id
        out.append(ids)
        start += len(boxes)
    return out


def score(film: Film, tracks: Sequence[np.ndarray]) -> dict[str, float]:
    """HOTA, AssA and IDF1 in percent, and identity switches, of one sequence."""
    data: dict[str, Any] = {"num_timesteps": len(film.truth), "gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    number: dict[str, dict[int, int]] = {"gt": {}, "tracker": {}}
    for (people, truth), ids, boxes in zip(film.truth, tracks, film.found, strict=True):
        kept = ids >= 0
        for kind, names in (("gt", people), ("tracker", ids[kept])):
            known = number[kind]
            data[f"{kind}_ids"].append(np.array([known.setdefault(int(n), len(known)) for n in names], int))
        data["similarity_scores"].append(overlaps(truth, boxes[kept]))
    for kind in number:
        data[f"num_{kind}_ids"] = len(number[kind])
        data[f"num_{kind}_dets"] = sum(map(len, data[f"{kind}_ids"]))
    quiet = {"PRINT_CONFIG": False}
    hota, identity, clear = (
        HOTA().eval_sequence(data),
        Identity(quiet).eval_sequence(data),
        CLEAR(quiet).eval_sequence(data),
    )
    return {
        "HOTA": 100 * float(np.mean(hota["HOTA"])), "AssA": 100 * float(np.mean(hota["AssA"])),
        "IDF1": 100 * float(identity["IDF1"]), "IDSW": float(clear["IDSW"]),
    }  # fmt: skip


def read_films(folder: Path, seed: int) -> list[Film]:
    """All sequences under a folder, with detections made from their truth."""
    films = []
    for path in sorted(folder.rglob("gt/gt.txt")):
        rows = _truth(path.parent.parent)
        info = (path.parent.parent / "seqinfo.ini").read_text()
        size = [int(next(line.split("=")[1] for line in info.splitlines() if line.startswith(key))) for key in
                ("imWidth", "imHeight", "seqLength")]  # fmt: skip
        rng = np.random.default_rng([seed, len(films)])
        truth, found = [], []
        for frame in range(1, size[2] + 1):
            here = rows[(rows[:, 0] == frame) & (rows[:, 6] >= LEAST_SEEN)]
            truth.append((here[:, 1].astype(int), here[:, 2:6]))
            found.append(_detected(rng, here[:, 2:6], size[0], size[1]))
        films.append(Film(path.parent.parent, truth, found))
    if not films:
        raise SystemExit(f"{folder} holds no sequence: SEQUENCE/gt/gt.txt.")
    return films


def _truth(folder: Path) -> np.ndarray:
    """[N, 7] frame, id, box, share seen; the box of what is seen, where parts.csv tells it."""
    if (folder / "parts.csv").exists():
        with (folder / "parts.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["visible_left"]]
        keys = ("frame", "id", "visible_left", "visible_top", "visible_width", "visible_height", "seen")
        values = np.array([[float(row[key]) for key in keys] for row in rows])
    else:
        values = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",", ndmin=2)
        values = values[(values[:, 6] > 0) & (values[:, 7] == 1)][:, [0, 1, 2, 3, 4, 5, 8]]
    values[:, 2:4] -= 1
    values[:, 4:6] += values[:, 2:4]
    return values


def _detected(rng: np.random.Generator, boxes: Boxes, width: int, height: int) -> Boxes:
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    noisy = (boxes + rng.normal(0, JITTER, boxes.shape) * sides)[rng.random(len(boxes)) >= MISSED]
    for _ in range(rng.poisson(FALSE)):
        tall = rng.uniform(0.15, 0.4) * height
        x, y = rng.uniform(0, width - 0.4 * tall), rng.uniform(0.2 * height, height - tall)
        noisy = np.concatenate([noisy, [[x, y, x + 0.4 * tall, y + tall]]])
    return np.clip(noisy, 0, [width, height, width, height])


def embed(film: Film, name: str, model: Callable[[np.ndarray, Boxes], PartEmbeddings], cache: Path) -> None:
    """Put a model's table into a film, from the cache if it is there."""
    stem = f"{film.folder.resolve().parent.parent.name}-{film.folder.parent.name}-{film.folder.name}-{name}"
    path, note = cache / f"{stem}.safetensors", cache / f"{stem}.json"
    whose = {"boxes": [boxes.round(2).tolist() for boxes in film.found]}
    if not note.exists() or json.loads(note.read_text())["boxes"] != whose["boxes"]:
        cache.mkdir(parents=True, exist_ok=True)
        batches, start = [], time.process_time()
        for number, boxes in enumerate(film.found, 1):
            if len(boxes):
                frame = np.asarray(Image.open(film.folder / "img1" / f"{number:06d}.jpg").convert("RGB"))
                batches.append(model(frame, boxes))
        seconds = time.process_time() - start
        save_embeddings(path, PartEmbeddings.cat(batches))
        note.write_text(json.dumps(whose | {"seconds": seconds}))
    film.tables[name] = load_embeddings(path)[0]
    film.embed[name] = json.loads(note.read_text())["seconds"]


def onnx_model(path: Path) -> Callable[[np.ndarray, Boxes], PartEmbeddings]:
    """A network of one vector per crop: input RGB 256×128, ImageNet's mean and deviation, batches of 16."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) else 0
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])

    def run(frame: np.ndarray, boxes: Boxes) -> PartEmbeddings:
        image = Image.fromarray(frame)
        crops = [np.asarray(image.resize((128, 256), Image.Resampling.BILINEAR, box=tuple(box))) for box in boxes]
        pixels = ((np.float32(crops) / 255 - mean) / deviation).transpose(0, 3, 1, 2)
        size = fixed or _BATCH
        out = []
        for k in range(0, len(pixels), size):
            batch = pixels[k : k + size]
            padded = (
                np.concatenate([batch, np.zeros((fixed - len(batch), *batch.shape[1:]), np.float32)])
                if fixed
                else batch
            )
            out.append(session.run(None, {entry.name: padded})[0][: len(batch)])
        return PartEmbeddings(torch.from_numpy(np.concatenate(out))[:, None], slots=(GLOBAL,))

    return run


@dataclass(frozen=True)
class Method:
    """A row of the table: how looks are compared in a film for a gate, the gates to try, and whose time it takes."""

    name: str
    looks: Callable[[Film, float], Appearance] | None
    gates: tuple[float, ...]
    model: str = ""

    def settings(self) -> list[dict[str, float]]:
        """What is tried while tuning: gate, share of looks, limit, patience in frames."""
        shares = (0.4, 0.55, 0.7) if self.looks else (0.0,)
        limits = (0.8,) if self.looks else (0.6, 0.8, 0.95)
        names = ("gate", "share", "limit", "patience")
        return [dict(zip(names, v, strict=True)) for v in itertools.product(self.gates, shares, limits, (10, 30))]

    def run(self, film: Film, setting: dict[str, float]) -> tuple[dict[str, float], float]:
        """Scores, and CPU milliseconds of the tracker a frame."""
        looks = self.looks(film, setting["gate"]) if self.looks else None
        start = time.process_time()
        ids = track(film, looks, share=setting["share"], limit=setting["limit"], patience=int(setting["patience"]))
        spent = 1000 * (time.process_time() - start) / len(film.found)
        return score(film, ids), spent

    def best(self, films: Sequence[Film]) -> dict[str, float]:
        """The setting of the highest mean of IDF1 and HOTA."""

        def worth(setting: dict[str, float]) -> float:
            scores = [self.run(film, setting)[0] for film in films]
            return float(np.mean([s["IDF1"] + s["HOTA"] for s in scores]))

        return max(self.settings(), key=worth)


def vectors(film: Film, model: str, slot: str | None) -> np.ndarray:
    """[N, D] of length 1: a slot's, or all slots' as they are."""
    table = film.tables[model]
    chosen = table.vectors[:, 0 if slot is None else table.slots.index(slot)].float().numpy()
    return chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-9)


def main() -> None:
    """Tune, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=__doc__)
    parser.add_argument("tuning", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--run", default=SHIPPED, help="the model with parts; default: the one in the package")
    parser.add_argument("--onnx", type=Path, help="a network of one vector per crop, for a row more")
    parser.add_argument("--cache", type=Path, default=Path("tracking-cache"), help="folder of embeddings")
    parser.add_argument("--seed", type=int, default=0, help="of the detections")
    options = parser.parse_args()
    torch.manual_seed(0)
    extractor = PartExtractor.from_pretrained(options.run)
    calibration = MatchCalibration.load(options.run, extractor=extractor)
    cosines = (0.2, 0.35, 0.5, 0.7)
    methods = [
        Method("motion alone", None, (0.0,)),
        Method("one vector, own", lambda f, g: OneVector(vectors(f, "own", None), g), cosines, "own"),
        Method("part memory", lambda f, g: PartMemory(f.tables["own"], calibration, g), (0.5, 0.7, 0.85, 1.0), "own"),
    ]
    models: dict[str, Callable[[np.ndarray, Boxes], PartEmbeddings]] = {"own": extractor.embed_boxes}
    if options.onnx:
        models["onnx"] = onnx_model(options.onnx)
        onnx = Method("one vector, ONNX", lambda f, g: OneVector(vectors(f, "onnx", None), g), cosines, "onnx")
        methods.insert(2, onnx)
    tuning, report = read_films(options.tuning, options.seed), read_films(options.report, options.seed + 1)
    for film in (*tuning, *report):
        for name, model in models.items():
            embed(film, name, model, options.cache)
    table = Table(title=f"{len(report)} sequences, [95 % over sequences]; IDSW: a sequence", title_justify="left")
    for column in ("tracker", *SCORES, "chosen", "tracker ms", "embedding ms"):
        table.add_column(column)
    every: dict[str, list[dict[str, float]]] = {}
    for method in methods:
        chosen = method.best(tuning)
        runs = [method.run(film, chosen) for film in report]
        every[method.name] = [scores for scores, _ in runs]
        cells = [_interval([s[key] for s in every[method.name]]) for key in SCORES]
        spent = float(np.mean([ms for _, ms in runs]))
        frames = sum(len(film.found) for film in report)
        embedding = 1000 * sum(film.embed.get(method.model, 0.0) for film in report) / frames
        said = ", ".join(f"{key} {value:g}" for key, value in chosen.items() if value)
        table.add_row(method.name, *cells, said, f"{spent:.1f}", f"{embedding:.1f}")
    last = every[methods[-1].name]
    for method in methods[:-1]:
        pairs = zip(last, every[method.name], strict=True)
        gain = [{key: ours[key] - theirs[key] for key in SCORES} for ours, theirs in pairs]
        cells = [_interval([g[key] for g in gain], "{:+.1f}") for key in SCORES]
        table.add_row(f"{methods[-1].name} - {method.name}", *cells)
    Console(width=170).print(table)


def _interval(values: Sequence[float], form: str = "{:.1f}") -> str:
    low, high = bootstrap_interval(np.array(values))
    return f"{form.format(np.mean(values))} [{form.format(low)}, {form.format(high)}]"


if __name__ == "__main__":
    main()
