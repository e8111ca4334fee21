"""``python -m benchmarks.linking DATA``: how right links are, and whether the stated share of wrong ones is.

DATA is a set with several images of a person by one camera; a track is ``--frames`` of them, merged. With ``--time N``
N made-up tracks are linked instead, to see how long that takes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from itertools import pairwise

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from partreid.datasets.readers import read_dataset
from partreid.inference.extractor import PartExtractor
from partreid.linking import LinkTrack, LinkTracks, link
from partreid.linking.clocks import Clocks
from partreid.linking.distances import logistic
from partreid.linking.evidence import gather_evidence
from partreid.models.shipped import SHIPPED
from partreid.retrieval.calibration import MatchCalibration
from partreid.tracking.tracklets import merge_tracklet
from partreid.types import PartEmbeddings


def tracks_of(data: str, model: str, *, split: str, frames: int, most: int) -> tuple[LinkTracks, np.ndarray]:
    """Tracks of so many images each, and the person of each."""
    images = getattr(read_dataset(data, labels=None), split)
    groups: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    for row, image in enumerate(images[:most]):
        groups[image.pid, image.camid].append(row)
    embeddings = PartExtractor.from_pretrained(model).embed([image.path for image in images[:most]])
    tracks, persons, merged = [], [], []
    for (person, camera), rows in sorted(groups.items()):
        for start in range(0, len(rows) - frames + 1, frames):
            tracks.append(LinkTrack(f"{person:05d}/{camera}/{start}", str(camera)))
            persons.append(person)
            merged.append(merge_tracklet(embeddings[rows[start : start + frames]]))
    return LinkTracks(tuple(tracks), PartEmbeddings.cat(merged)), _in_order(tracks, persons)


def _in_order(tracks: list[LinkTrack], persons: list[int]) -> np.ndarray:
    return np.array([persons[i] for i in sorted(range(len(tracks)), key=lambda i: tracks[i].id)])


def measured(labels: np.ndarray, person: np.ndarray) -> tuple[int, float, float]:
    """Links, the share of them that is wrong, and the share of all right ones that was found."""
    later = np.triu(np.ones((len(person), len(person)), bool), 1)
    linked, same = (labels[:, None] == labels[None]) & later, (person[:, None] == person[None]) & later
    return (
        int(linked.sum()),
        float((linked & ~same).sum() / max(1, linked.sum())),
        float((linked & same).sum() / same.sum()),
    )


def chained(chance: np.ndarray, threshold: float) -> np.ndarray:
    """Persons by a plain threshold: whatever a chain of likely pairs connects."""
    label = np.arange(len(chance))
    for a in range(len(chance)):
        for b in np.flatnonzero(chance[a] >= threshold):
            label[label == label[b]] = label[a]
    return label


def table(title: str, columns: tuple[str, ...], rows: list[list[str]]) -> Table:
    """A table of texts."""
    result = Table(*columns, title=title, title_justify="left")
    for row in rows:
        result.add_row(*row)
    return result


def compare(tracks: LinkTracks, person: np.ndarray, calibration: MatchCalibration, console: Console) -> None:
    """Linking at several shares of wrong links, beside plain thresholds."""
    later = np.triu_indices(len(person), 1)
    true_prior = float((person[:, None] == person[None])[later].mean())
    rows = []
    for most in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3):
        found = link(tracks, calibration, max_wrong=most)
        links, wrong, recall = measured(np.array(found.persons), person)
        shares = (f"{100 * share:.1f}" for share in (found.expected_wrong, wrong, recall))
        rows.append([f"{most:g}", str(links), *shares, str(len(found.sizes))])
    title = (
        f"{len(tracks)} tracks of {len(set(person))} people; prior {found.prior:.4f} estimated, {true_prior:.4f} true"
    )
    columns = ("--max-wrong", "links", "expected wrong, %", "wrong, %", "found, %", "persons")
    console.print(table(title, columns, rows))
    evidence = gather_evidence(tracks.embeddings, Clocks(tracks.tracks), calibration)
    chance = logistic(evidence.ratio + np.log(evidence.prior / (1 - evidence.prior)))
    plain = calibration.probabilities(tracks.embeddings, tracks.embeddings).numpy()
    np.fill_diagonal(plain, 0)
    same = (person[:, None] == person[None])[later]
    for name, one in (("calibration as it is", plain), ("strangers brought to the calibration's", chance)):
        rows = []
        for threshold in (0.5, 0.8, 0.9, 0.95, 0.99):
            links, wrong, recall = measured(chained(one, threshold), person)
            rows.append([f"{threshold:g}", str(links), f"{100 * wrong:.1f}", f"{100 * recall:.1f}"])
        console.print(table(f"Chains of pairs, {name}", ("at least", "links", "wrong, %", "found, %"), rows))
        rows = []
        for low, high in pairwise((0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 1.01)):
            some = (one[later] >= low) & (one[later] < high)
            shares = (f"{values[some].mean():.3f}" for values in (one[later], same)) if some.any() else ("", "")
            rows.append([f"{low:g}..{min(high, 1):g}", str(some.sum()), *shares])
        console.print(table(f"Single pairs, {name}", ("probability", "pairs", "mean", "of one person"), rows))


def made_up(count: int, *, each: int = 10, seed: int = 0) -> tuple[LinkTracks, np.ndarray]:
    """Tracks of people whose looks differ as rendered people's do, ten of each."""
    random = torch.Generator().manual_seed(seed)
    person = torch.arange(count) // each
    centres = torch.randn(count // each + 1, 6, 256, generator=random) * 0.16
    vectors = centres[person] + 0.05 * torch.randn(count, 6, 256, generator=random)
    visibility = (torch.rand(count, 6, generator=random) < 0.8).float()
    visibility[:, 0] = 1
    slots = ("foreground", "head", "arms", "torso", "legs", "feet")
    tracks = tuple(LinkTrack(f"{i:06d}", str(i % 8)) for i in range(count))
    return LinkTracks(tracks, PartEmbeddings(vectors, visibility, slots)), person.numpy()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="pedestrians")
    parser.add_argument("--model", default=SHIPPED)
    parser.add_argument("--split", default="gallery", choices=("gallery", "train"))
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--most", type=int, default=100_000, help="images")
    parser.add_argument("--time", type=int, default=0, metavar="N")
    arguments, console = parser.parse_args(), Console(width=150)
    calibration = MatchCalibration.load(arguments.model)
    if arguments.time:
        tracks, person = made_up(arguments.time)
        began, worked = time.perf_counter(), time.process_time()
        found = link(tracks, calibration.model_copy(update={"model": ""}))
        took, worked = time.perf_counter() - began, time.process_time() - worked
        links, wrong, recall = measured(np.array(found.persons), person)
        console.print(
            f"{len(tracks)} tracks: {took:.1f} s, {worked:.1f} s of CPU; "
            f"{len(found.sizes)} persons, {links} links, {100 * wrong:.2f} % wrong "
            f"({100 * found.expected_wrong:.2f} expected), {100 * recall:.1f} % found"
        )
        return
    tracks, person = tracks_of(
        arguments.data, arguments.model, split=arguments.split, frames=arguments.frames, most=arguments.most
    )
    compare(tracks, person, calibration, console)


if __name__ == "__main__":
    main()
