"""``python -m benchmarks.tracklets RUN DATA``: what merging a track's frames is worth, against single frames.

DATA needs several queries of one person by one camera; docs/tracklets.md says how such a set is rendered. A track is
the first ``--frames`` of them. Every row of the table searches the same gallery with the same tracks.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from partreid.datasets.readers import read_dataset
from partreid.evaluation.dataset import EmbeddedSplit, embed_split
from partreid.evaluation.evaluator import evaluate_embeddings
from partreid.evaluation.statistics import bootstrap_interval
from partreid.functional.ranking import evaluate_ranking
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking.tracklets import merge_tracklets
from partreid.types import EvaluationResult, PartEmbeddings, ReIDImage

Scores = dict[str, np.ndarray]
"""Average precision ("mAP") and whether the first is right ("rank1"), one per track."""


@dataclass(frozen=True)
class Tracks:
    """T tracks of n frames, and the gallery they are searched in.

    Attributes:
        frames: [T, n] rows of ``query``. query, gallery: embedded. matching: how to compare.
    """

    frames: np.ndarray
    query: EmbeddedSplit
    gallery: EmbeddedSplit
    matching: MatchingConfig

    def search(self, queries: PartEmbeddings, matching: MatchingConfig | None = None) -> Scores:
        """Scores of one embedding per track."""
        ids = self._ids()
        result = evaluate_embeddings(
            queries, self.gallery.embeddings, ids, self.gallery.ids, matching=matching or self.matching
        )
        return per_track(result)

    def nearest(self) -> Scores:
        """Scores where the distance to a track is that to its nearest frame: n searches instead of one."""
        flat = self.query.embeddings[self.frames.reshape(-1)]
        distances = self.matching.distances(flat, self.gallery.embeddings).reshape(*self.frames.shape, -1).amin(1)
        (pids, camids), gallery = self._ids(), self.gallery.ids
        return per_track(evaluate_ranking(distances, pids, gallery.pids, camids, gallery.camids))

    def _ids(self) -> tuple[list[int], list[int | None]]:
        firsts = [self.query.images[i] for i in self.frames[:, 0]]
        return [image.pid for image in firsts], [image.camid for image in firsts]


def per_track(result: EvaluationResult) -> Scores:
    """The figures of a result that are means over tracks."""
    assert not result.num_skipped
    return {"rank1": (result.first_match == 1).astype(float), "mAP": result.average_precision}


def group(images: tuple[ReIDImage, ...], *, frames: int, at_least: int) -> np.ndarray:
    """[T, frames] rows: the first frames of each (person, camera) that has ``at_least`` so many."""
    rows: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        rows[image.pid, image.camid].append(row)
    return np.array([some[:frames] for some in rows.values() if len(some) >= at_least])


def compare(tracks: Tracks) -> dict[str, Scores]:
    """Every way to search with a track, by name."""
    count, n = tracks.frames.shape
    flat = tracks.query.embeddings[tracks.frames.reshape(-1)]
    alone = [tracks.search(flat[j::n]) for j in range(n)]
    single = {name: np.stack([scores[name] for scores in alone], 1) for name in ("rank1", "mAP")}  # [T, n]
    number = np.arange(count)

    def picked(best: np.ndarray) -> Scores:
        return {name: values[number, best] for name, values in single.items()}

    seen = flat.visibility.sum(1).reshape(count, n)
    merged, _ = merge_tracklets(flat, np.repeat(number, n).tolist())
    v = flat.visibility.reshape(count, n, -1)
    plain = replace(merged, vectors=flat.vectors.reshape(count, n, *flat.vectors.shape[1:]).mean(1))
    ignore = tracks.matching.model_copy(update={"visibility": "ignore"})
    return {
        "a frame alone (mean over frames)": {name: values.mean(1) for name, values in single.items()},
        "the frame with most visible slots": picked(seen.argmax(1).numpy()),
        "the best frame, knowing the answer": {name: values.max(1) for name, values in single.items()},
        "nearest frame (n searches)": tracks.nearest(),
        "plain mean, visibility ignored in matching": tracks.search(plain, ignore),
        "plain mean, largest visibility": tracks.search(plain),
        "weighted mean, mean visibility": tracks.search(replace(merged, visibility=v.mean(1))),
        "weighted mean, noisy-or": tracks.search(replace(merged, visibility=1 - (1 - v).prod(1))),
        "weighted mean, largest visibility": tracks.search(merged),
    }


def table(title: str, rows: dict[str, Scores]) -> Table:
    """Rank-1 and mAP with 95 % intervals over tracks, in percent, and the difference to the last row."""
    result = Table(title=title, title_justify="left")
    for column in ("query", "rank-1", "mAP", "mAP of the last row is better by"):
        result.add_column(column, justify="left" if column == "query" else "right")
    ours = list(rows.values())[-1]
    for name, scores in rows.items():
        cells = [show(scores[metric], "{:.1f}") for metric in ("rank1", "mAP")]
        result.add_row(name, *cells, "" if scores is ours else show(ours["mAP"] - scores["mAP"], "{:+.1f}"))
    return result


def show(values: np.ndarray, form: str) -> str:
    """A mean with its interval, in percent."""
    low, high = bootstrap_interval(values)
    text: Callable[[float], str] = form.format
    return f"{text(100 * values.mean())} [{text(100 * low)}, {text(100 * high)}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracklets", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--frames", type=int, nargs="+", default=[2, 4, 8], help="frames of a track")
    parser.add_argument("--set", action="append", default=[], help="field of the model, e.g. visibility=continuous")
    options = parser.parse_args()
    torch.manual_seed(0)
    extractor = PartExtractor.from_pretrained(options.run, overrides=options.set)
    dataset = read_dataset(options.data)
    query, gallery = embed_split(extractor, dataset.query), embed_split(extractor, dataset.gallery)
    for n in options.frames:
        frames = group(query.images, frames=n, at_least=max(options.frames))
        tracks = Tracks(frames, query, gallery, HowCompared.of(extractor).matching)
        Console(width=140).print(table(f"{len(frames)} tracks of {n} frames, % [95 %]", compare(tracks)))


if __name__ == "__main__":
    main()
