"""What open-set rules state, against what is true: ``python -m benchmarks.open_set DATA...``.

A rule is fitted on the persons of one set and used on another: half of the persons there are the gallery's, and are
searched; the other half are strangers to it, and are searched too. Where both are one set, it is fitted on half of its
persons and used on the rest. Each search is one image.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import partreid
from partreid import Gallery, MatchCalibration, PartEmbeddings, PartExtractor
from partreid.evaluation import embed_split
from partreid.functional.tolerance import share_above
from partreid.retrieval import OpenSetRule, two_sightings

SHARES = (0.01, 0.05, 0.1)
PRIOR = 0.5


@dataclass(frozen=True)
class Persons:
    """A set's persons: embeddings of some images of each, and whose they are."""

    name: str
    embeddings: PartEmbeddings
    persons: list[int]
    cameras: list[object]

    def some(self, chosen: Sequence[int]) -> Persons:
        """Those of some persons."""
        wanted = set(chosen)
        at = [i for i, person in enumerate(self.persons) if person in wanted]
        return Persons(self.name, self.embeddings[at], [self.persons[i] for i in at], [self.cameras[i] for i in at])


def embedded(name: str, extractor: PartExtractor, images_each: int) -> Persons:
    """A query and a few gallery images of each query person."""
    data = partreid.read_dataset(name, labels=None)
    queries = data.queries["query"]
    by_person = defaultdict(list)
    for image in data.gallery:
        by_person[image.pid].append(image)
    draw, chosen, seen = random.Random(0), [], set[int]()
    for image in draw.sample(queries, len(queries)):
        others = [one for one in by_person[image.pid] if one.view != image.view]
        if image.pid >= 0 and image.pid not in seen and others:
            seen.add(image.pid)
            chosen += [image, *draw.sample(others, min(images_each, len(others)))]
    split = embed_split(extractor, chosen)
    return Persons(data.name, split.embeddings, [one.pid for one in chosen], [one.view for one in chosen])


def parted(fit: Persons, other: Persons, trial: int) -> tuple[Persons, Persons, Persons]:
    """Persons to fit on, persons of the gallery, and strangers to it."""
    everyone = sorted(set(other.persons))
    random.Random(trial).shuffle(everyone)
    rest = everyone[len(everyone) // 2 :] if fit is other else everyone
    return (
        fit.some(everyone[: len(everyone) // 2]) if fit is other else fit,
        other.some(rest[::2]),
        other.some(rest[1::2]),
    )


def measured(rule: OpenSetRule, there: Persons, strangers: Persons, *, images: int) -> list[str]:
    """A row: stated and true shares, with ``images`` of each of the gallery's persons in it."""
    firsts = {person: there.persons.index(person) for person in dict.fromkeys(there.persons)}
    items = [
        place + i for person, place in firsts.items() for i in range(1, min(images + 1, there.persons.count(person)))
    ]
    gallery = Gallery()
    gallery.add(there.embeddings[items], [f"{there.persons[i]}/{i}" for i in items])
    asked = gallery.search(there.embeddings[list(firsts.values())], rule=rule)
    others = gallery.search(strangers.embeddings, rule=rule)
    assert asked.decision is not None
    assert others.decision is not None
    names = [None if hit is None else int(hit.id.partition("/")[0]) for hit in asked.named]
    right = sum(name == person for name, person in zip(names, firsts, strict=True)) / len(firsts)
    wrong = sum(name not in (None, person) for name, person in zip(names, firsts, strict=True)) / len(firsts)
    # A person is one draw: the mean over each one's images.
    by_person = defaultdict(list)
    for person, hit in zip(strangers.persons, others.named, strict=True):
        by_person[person].append(hit is not None)
    false = sum(sum(one) / len(one) for one in by_person.values()) / len(by_person)
    mistakes = PRIOR * wrong + (1 - PRIOR) * false
    share = mistakes / (mistakes + PRIOR * right) if mistakes else 0.0
    stated = others.decision
    figures = (rule.max_false, false, stated.found, right, stated.max_wrong or 0, share)
    unlike = [f"{what} {p:.3f}" for what, p in stated.unlike.items() if p is not None]
    said = "yes" if stated.fits else "no"
    return [str(len(items)), *(f"{100 * one:.1f}" for one in figures), f"{said} ({', '.join(unlike)})"]


def main() -> None:
    """Read the command line, and print a row for each set fitted on, set searched in, gallery size and share."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_set", description=__doc__)
    parser.add_argument("data", nargs="+", help="data sets")
    parser.add_argument("--images", type=int, default=3, help="of each person in the gallery, at most")
    parser.add_argument("--trials", type=int, default=3, help="ways to part the persons; rows are means")
    given = parser.parse_args()
    torch.set_num_threads(1)
    extractor = PartExtractor.from_pretrained(device="cpu", precision="float32")
    calibration = MatchCalibration.load("shipped", extractor=extractor)
    sets = [embedded(name, extractor, given.images) for name in given.data]
    print("| fitted on | persons | searched in | items | max_false | true | found ≥ | true | wrong ≤ | true | alike |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---|")
    for fit in sets:
        for other in sets:
            for images in (1, given.images):
                for share in SHARES:
                    rows = []
                    for trial in range(given.trials):
                        part, there, strangers = parted(fit, other, trial)
                        first, second = two_sightings(part.persons, part.cameras)
                        pair = part.embeddings[first], part.embeddings[second]
                        if len(first) < 50 or share_above(len(first), 1, confidence=0.95) > share:
                            continue
                        rule = OpenSetRule(*pair, calibration, fit.name, max_false=share, prior=PRIOR)
                        rows.append([str(len(first)), *measured(rule, there, strangers, images=images)])
                    if rows:
                        figures = [sum(float(row[i]) for row in rows) / len(rows) for i in range(2, 8)]
                        alike = sum(row[8].startswith("yes") for row in rows)
                        print(
                            f"| {fit.name} | {rows[0][0]} | {other.name} | {rows[0][1]} | "
                            + " | ".join(f"{one:.1f}" for one in figures)
                            + f" | {alike} of {len(rows)} |",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
