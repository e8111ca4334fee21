"""Thresholds of visibility against labels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError, LabelError, ShapeError
from partreid.evaluation.visibility import choose_threshold, part_visibility
from partreid.inference.extractor import PartExtractor
from partreid.models.build import build_network
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval import MatchingConfig
from partreid.runtime import RuntimeConfig


@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_is_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    present = random.random(60) < 0.7
    values = np.clip(0.4 * present + 0.6 * random.random(60), 0, 1).round(2)  # with ties
    got = choose_threshold("legs", values.astype(np.float32), present)
    assert got.threshold is not None

    def balanced(limit: float) -> float:
        seen = values > limit
        return (seen[present].mean() + (~seen[~present]).mean()) / 2

    assert got.balanced_accuracy == pytest.approx(balanced(got.threshold))
    assert got.balanced_accuracy == pytest.approx(max(balanced(limit) for limit in np.linspace(0, 1, 501)))
    seen = values > got.threshold
    assert got.precision == pytest.approx(present[seen].mean())
    assert got.recall == pytest.approx(seen[present].mean())
    assert got.present == pytest.approx(present.mean())
    MatchingConfig(visibility_threshold={"legs": got.threshold})


def test_a_part_that_is_always_there_has_no_threshold() -> None:
    for share in (0.0, 1.0):
        got = choose_threshold("torso", np.array([0.2, 0.9]), np.full(2, bool(share)))
        assert (got.threshold, got.present) == (None, share)
        assert math.isnan(got.balanced_accuracy)
    with pytest.raises(ShapeError, match=r"visibilities and labels, got \(2,\) and \(3,\)"):
        choose_threshold("torso", np.zeros(2), np.zeros(3, bool))
    assert choose_threshold("head", [0.9, 0.1], [True, False]).threshold == 0.5  # type: ignore[arg-type]
    for wrong in ([90.0, 10.0], [0.9, np.nan]):
        with pytest.raises(ShapeError, match=r"visibilities in \[0, 1\]"):
            choose_threshold("head", np.array(wrong), np.array([True, False]))


def test_values_at_the_end_of_the_range() -> None:
    got = choose_threshold("head", np.array([1.0, 1.0, 0.0]), np.array([True, True, False]))
    assert got.threshold == 0.5
    worthless = choose_threshold("head", np.array([1.0, 1.0]), np.array([True, False]))
    assert worthless.threshold is not None
    assert worthless.threshold < 1
    assert worthless.balanced_accuracy == 0.5


def extractor(**model: str) -> PartExtractor:
    config = ModelConfig(backbone="resnet18", output_stride=8, parts="two_v", **model)  # type: ignore[arg-type]
    runtime = RuntimeConfig(device="cpu", batch_size=5)
    return PartExtractor(build_network(config, 2), PreprocessConfig(height=64, width=32), runtime=runtime)


def test_labels_say_which_parts_are_there(blocks: Path, tmp_path: Path) -> None:
    images = read_dataset(blocks, labels="blocks").train
    hidden = np.zeros((36, 9, 5), np.uint8)
    hidden[22:25, :5] = 255
    np.save(tmp_path / "upper.npy", hidden)  # no legs
    changed = [replace(image, label=tmp_path / "upper.npy") if i % 4 == 0 else image for i, image in enumerate(images)]
    done: list[int] = []
    upper, lower = part_visibility(extractor(visibility="continuous"), changed, advance=done.append)
    assert (upper.part, upper.present, upper.threshold) == ("upper_body", 1.0, None)
    assert lower.present == pytest.approx(0.75)
    assert lower.threshold is not None
    assert sum(done) == len(images)
    alone = extractor(visibility="continuous")
    labels = np.array([i % 4 != 0 for i in range(len(images))])
    values = np.concatenate([output.visibility[:, 1].numpy() for output in alone.outputs(images)])
    again = part_visibility(alone, changed)[1]
    assert again == choose_threshold("lower_body", values, labels)
    with pytest.raises(LabelError, match="None of the 24 training images has a label"):
        part_visibility(alone, [replace(image, label=None) for image in images])


@pytest.mark.parametrize("model", [{"visibility": "threshold"}, {"visibility": "continuous", "attention": "none"}])
def test_models_without_continuous_visibility(model: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="override visibility=continuous"):
        part_visibility(extractor(**model), [])


def test_masked_visibilities_are_no_values() -> None:
    seen, present = np.array([0.9, 0.5]), np.array([True, False])
    for values in (
        (np.ma.masked_array(seen, mask=present), present),
        (seen, np.ma.masked_array(present, mask=present)),
    ):
        with pytest.raises(ShapeError, match="masked"):
            choose_threshold("a", *values)
