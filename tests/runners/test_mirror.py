"""Embedding with the mirror image: left and right stay what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.errors import ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.build import build_network
from partreid.models.model_config import ModelConfig
from partreid.parts import pose_field_flip
from partreid.preprocessing import PreprocessConfig
from partreid.runners.runner import merge_mirrored, swap_sides
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors, ReIDImage

SLOTS = ("foreground", "left_arm", "head", "right_arm")


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    return build(mirror=True)


def build(*, mirror: bool = False, **model: Any) -> PartExtractor:
    torch.manual_seed(1)
    config = ModelConfig(**{"backbone": "resnet18", "parts": "eight", "visibility": "continuous"} | model)
    network = build_network(config, 3)
    if isinstance(network, BPBReID) and network.config.attention == "learned":
        torch.nn.init.normal_(network.part_classifier.classifier.weight, std=0.05)
    runtime = RuntimeConfig(device="cpu", batch_size=4)
    return PartExtractor(network, PreprocessConfig(height=64, width=32), runtime=runtime, mirror=mirror)


def images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize(
    "model", [{}, {"visibility": "argmax"}, {"attention": "stripes", "stripes": 4}, {"attention": "none"}], ids=str
)
def test_a_image_and_its_mirror_image_differ_in_nothing_but_their_sides(model: dict[str, str]) -> None:
    shown = images((64, 32), (80, 41), (64, 32))
    mirrored = [p[:, ::-1] for p in shown]
    extractor, plain = build(mirror=True, **model), build(**model)
    there, back = extractor.embed(shown), swap_sides(extractor.embed(mirrored))
    torch.testing.assert_close(back.vectors, there.vectors, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(back.visibility, there.visibility, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(swap_sides(plain.embed(mirrored)).vectors, plain.embed(shown).vectors, atol=1e-3)


@pytest.mark.parametrize("attention", ["fixed", "fields"])
def test_pose_fields_are_mirrored_with_their_image(attention: str, tmp_path: Path) -> None:
    fields = np.random.default_rng(1).random((36, 9, 5), dtype=np.float32)
    fields[21] = 0  # between the hips: the published grouping counts it to the left leg alone
    (image,) = images((64, 32))
    entries = []
    for name, pixels, label in (("a", image, fields), ("b", image[:, ::-1], fields[list(pose_field_flip()), :, ::-1])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        np.save(tmp_path / f"{name}.npy", label)
        entries.append(ReIDImage(tmp_path / f"{name}.png", 1, 0, label=tmp_path / f"{name}.npy"))
    extractor, plain = build(mirror=True, attention=attention), build(attention=attention)
    there, back = extractor.embed(entries[0]), swap_sides(extractor.embed(entries[1]))
    torch.testing.assert_close(back.vectors, there.vectors, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(back.visibility, there.visibility)
    assert not torch.allclose(swap_sides(plain.embed(entries[1])).vectors, plain.embed(entries[0]).vectors, atol=1e-3)


def test_sides_of_a_image_differ(extractor: PartExtractor) -> None:
    """Without this, the test above would hold for an extractor that swaps nothing."""
    e = extractor.embed(images((64, 32)))
    assert not torch.allclose(swap_sides(e).vectors, e.vectors, atol=1e-3)
    assert not torch.allclose(swap_sides(e).visibility, e.visibility, atol=1e-3)


def test_holistic_vectors_do_not_see_the_mirror(extractor: PartExtractor) -> None:
    shown = images((64, 32), (64, 32))
    there, back = (next(extractor.outputs([p[:, ::step] for p in shown])) for step in (1, -1))
    order = list(extractor.model.config.part_schema.flip)
    for name in ("features", "bn_features"):
        a, b = getattr(there, name), getattr(back, name)
        for one, other in (
            (a.global_, b.global_),
            (a.foreground, b.foreground),
            (a.parts, b.parts[:, order]),
            (a.concat, b.concat.unflatten(1, (8, -1))[:, order].flatten(1)),
        ):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there.visibility, back.visibility[:, order], rtol=1e-4, atol=1e-6)
    assert torch.equal(there.embeddings.visibility[:, 1:], there.visibility)
    plain = next(build().outputs(shown))
    assert torch.equal(there.attention, plain.attention)  # maps are the image's own


def output(vectors: list[float], visibility: list[float]) -> ModelOutput:
    """One image whose slots hold a single number each."""
    e = PartEmbeddings(torch.tensor(vectors, dtype=torch.float32).view(1, 4, 1), torch.tensor([visibility]), SLOTS)
    parts = e.vectors[:, 1:]
    regions = RegionVectors(e.vectors[:, 0], e.vectors[:, 0], parts.flatten(1), parts)
    maps = torch.zeros(1, 4, 2, 2)
    return ModelOutput(maps, maps, regions, regions, None, e.visibility[:, 1:], e)


def test_known_values() -> None:
    image = output([1, 10, 20, 30], [1, 1.0, 0.0, 0.25])
    mirror = output([3, 50, 60, 70], [1, 0.75, 0.0, 0.0])  # its left arm is the image's right one
    merged = merge_mirrored(image, mirror)
    # left arm: seen in the image only; head: in neither, so the plain mean; right arm: 0.25 against 0.75
    assert merged.embeddings.vectors.flatten().tolist() == [2, 10, 40, 45]
    assert merged.embeddings.visibility.tolist() == [[1, 1, 0, 0.75]]
    assert merged.visibility.tolist() == [[1, 0, 0.75]]
    assert merged.features.concat.tolist() == [[40, 40, 40]]
    assert merged.features.global_.tolist() == [[2]]


def test_twice_the_same_changes_nothing() -> None:
    same = output([1, 10, 20, 10], [1, 0.5, 0.0, 0.5])
    merged = merge_mirrored(same, replace(same))
    assert torch.equal(merged.embeddings.vectors, same.embeddings.vectors)
    assert torch.equal(merged.embeddings.visibility, same.embeddings.visibility)


def test_off_by_default_and_refused_for_parts_without_names() -> None:
    assert not build().mirror
    model = BPBReID(ModelConfig(backbone="resnet18", parts="unnamed_2"), 3)
    with pytest.raises(ConfigError, match="parts of this model have no names .*part_1, part_2"):
        PartExtractor(model, PreprocessConfig(height=64, width=32), mirror=True)
