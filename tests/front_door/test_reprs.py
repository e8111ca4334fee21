"""A look at an object takes a few lines, however much it holds; in a notebook it may be a table."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.datasets import checks
from partreid.evaluation import dataset, separation
from partreid.functional.ranking import evaluate_ranking
from partreid.inference import streaming
from partreid.models import checkpoint, official
from partreid.objects import brief
from partreid.retrieval import Filter, Gallery, MatchingConfig, calibration, compare, filling, how_compared
from partreid.tracking import boxes, frame_folder
from partreid.tracking.tracklets import Tracklet
from partreid.types import EvaluationResult, PartEmbeddings, ReIDDataset, ReIDImage, SearchResult
from tests.api.public_api import DOORS

LONGEST, LINES = 600, 8


ALSO = [boxes.TrackBoxes, dataset.QuerySetScores, dataset.EmbeddedSplit, streaming.EmbeddedBatch, checkpoint.Checkpoint,
        official.OfficialImport, calibration.LabelledPairs, compare.ImageComparison, separation.DistanceDistribution,
        checks.DatasetReport, frame_folder.FrameFolder, how_compared.HowCompared, filling.Filled]  # fmt: skip
"""What calls of these doors return."""


def met_by_users() -> dict[str, type]:
    """The dataclasses that the packages hand on, and those that their functions return."""
    found = {kind.__qualname__: kind for kind in ALSO}
    for door in map(importlib.import_module, DOORS):
        things = [getattr(door, name) for name in getattr(door, "__all__", ())]
        found |= {one.__qualname__: one for one in things if inspect.isclass(one) and dataclasses.is_dataclass(one)}
    return found


def large(annotation: str) -> Any:
    """Very much of what a field holds, by its annotation."""
    if "Tensor" in annotation:
        return torch.rand(100, 60, 30)
    if "ndarray" in annotation or "NDArray" in annotation:
        return np.random.default_rng(0).random((100, 60, 30))
    if "Mapping" in annotation or "dict" in annotation:
        return {f"key {number}": number for number in range(10_000)}
    if "slots" in annotation or any(word in annotation for word in ("tuple", "Sequence", "list")):
        return tuple(map(str, range(10_000)))
    return 7


def bounded(shown: str) -> bool:
    """Whether a repr is at most a few lines."""
    return len(shown) < LONGEST and shown.count("\n") < LINES


OWN_REPR = {
    "Evaluation",
    "EvaluationResult",
    "PartEmbeddings",
    "ReIDDataset",
    "SearchResult",
    "Hit",
    "ReIDImage",
    "PartSchema",
}
"""Those that want fields which fit together; see below."""


@pytest.mark.parametrize("name", sorted(met_by_users().keys() - OWN_REPR))
def test_a_repr_is_bounded(name: str) -> None:
    kind = met_by_users()[name]
    thing = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(thing, field.name, large(str(field.type)))
    assert bounded(repr(thing)), repr(thing)[:300]


def many() -> PartEmbeddings:
    """Embeddings of many images."""
    slots = tuple(f"part number {number}" for number in range(40))
    return PartEmbeddings(torch.rand(5000, 40, 4), torch.ones(5000, 40), slots)


def result() -> SearchResult:
    """What 300 queries found."""
    gallery = Gallery()
    gallery.add(many()[:200], [f"<b>{'x' * 100}{number}" for number in range(200)], cameras=3)
    return gallery.search(many()[:300], k=100)


def scores() -> EvaluationResult:
    """Of 2000 queries."""
    return evaluate_ranking(torch.rand(2000, 50), np.arange(2000) % 50, np.arange(50))


def images() -> ReIDDataset:
    """A set of many images."""
    split = tuple(ReIDImage(Path(f"{number}.jpg"), number, 0) for number in range(5000))
    return ReIDDataset("<set>", Path("root"), split, (), {"query": ()})


@pytest.mark.parametrize("make", [many, result, scores, images, Gallery, Tracklet, Filter, MatchingConfig])
def test_a_repr_of_much_is_short(make: Callable[[], Any]) -> None:
    made = make()
    assert bounded(repr(made)), repr(made)[:300]
    assert type(made).__name__ in repr(made)


@pytest.mark.parametrize("make", [result, scores, images])
def test_a_notebook_shows_a_table(make: Callable[[], Any]) -> None:
    page = make()._repr_html_()
    assert page.startswith("<table><caption>")
    assert page.endswith("</table>")
    assert len(page) < 40_000
    assert "<b>" not in page
    assert "<set>" not in page


def test_tables_say_the_numbers() -> None:
    assert "<td>train</td><td>5000</td><td>5000</td><td>1</td>" in images()._repr_html_()
    assert f"<td>{100 * scores().mAP:.1f} %</td>" in scores()._repr_html_() or scores().mAP != scores().mAP
    assert result()._repr_html_().count("<tr>") == 101


def test_brief_values() -> None:
    assert brief(torch.zeros(2, 3)) == "float32 [2, 3]"
    assert brief(np.zeros(4)) == "float64 [4]"
    assert brief(("a", 1)) == "('a', 1)"
    assert brief({"a": [1, 2]}) == "{'a': [1, 2]}"
    assert brief(["x" * 50, "y" * 50]) == "[2 items]"
