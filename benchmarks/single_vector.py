"""``python -m benchmarks.single_vector MODEL DATA``: what one vector per image loses against Eq. 9.

Each query set of DATA by the slots' distance, with and without visibility, by the cosine of ``single_vector``, and by
that of the foreground alone. Queries that show no part have a zero vector: they rank as if all were equally far.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from partreid.datasets.readers import read_dataset
from partreid.evaluation.dataset import EmbeddedSplit, embed_split
from partreid.functional.ranking import evaluate_ranking
from partreid.inference.extractor import PartExtractor
from partreid.parts import HOLISTIC
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking.memory import single_vector
from partreid.types import EvaluationResult


def scores(query: EmbeddedSplit, gallery: EmbeddedSplit) -> dict[str, EvaluationResult]:
    """Each way of comparing, and what it finds."""
    first = next((slot for slot in HOLISTIC if slot in query.embeddings.slots), query.embeddings.slots[0])
    ways = {
        "Eq. 9": MatchingConfig(),
        "Eq. 9, without visibility": MatchingConfig(visibility="ignore"),
        f"{first} alone": MatchingConfig(slots=(first,)),
    }
    distances = {name: way.distances(query.embeddings, gallery.embeddings) for name, way in ways.items()}
    units = [single_vector(split.embeddings) for split in (query, gallery)]
    distances["single_vector, cosine"] = 1 - units[0] @ units[1].T
    return {
        name: evaluate_ranking(found, query.ids.pids, gallery.ids.pids, query.ids.camids, gallery.ids.camids)
        for name, found in distances.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.single_vector", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    options = parser.parse_args()
    extractor, data = PartExtractor.from_pretrained(options.model), read_dataset(options.data)
    gallery = embed_split(extractor, data.gallery)
    columns = {name: scores(embed_split(extractor, images), gallery) for name, images in data.queries.items()}
    table = Table("rank-1 / mAP, %", *columns)
    for way in next(iter(columns.values())):
        found = (column[way] for column in columns.values())
        table.add_row(way, *(f"{100 * one.rank1:.1f} / {100 * one.mAP:.1f}" for one in found))
    Console().print(table)


if __name__ == "__main__":
    main()
