"""What is exported computes what the network computes, before any library translates it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from partreid.errors import ConfigError
from partreid.export.network import ExportedNetwork
from partreid.preprocessing import normalize
from partreid.runners.runner import TorchRunner
from partreid.runtime import RuntimeConfig
from tests.export.tiny import PREPROCESS, random_pixels, tiny_checkpoint

NETWORKS: list[dict[str, Any]] = [
    {},
    {"embedding_dim": 7, "foreground_embedding": "bn"},
    {"visibility": "argmax", "foreground_pooling": "mean", "part_classifier_batchnorm": True},
    {"visibility": "continuous", "parts": "eight"},
    {"attention": "stripes", "stripes": 3},
    {"attention": "none", "foreground_embedding": "bn"},
]


@pytest.mark.parametrize("map_stride", [None, 4, 8])
@pytest.mark.parametrize("fields", NETWORKS, ids=str)
def test_pixels_in_and_three_outputs_out(fields: dict[str, Any], map_stride: int | None) -> None:
    checkpoint = tiny_checkpoint(map_stride=map_stride, **fields)
    pixels = torch.from_numpy(random_pixels(3))
    with torch.inference_mode():
        expected = checkpoint.model(normalize(pixels.permute(0, 3, 1, 2), PREPROCESS), classify=False)
        vectors, visibility, attention = ExportedNetwork(checkpoint.model, PREPROCESS)(pixels)
    torch.testing.assert_close(vectors, expected.embeddings.vectors, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(visibility, expected.embeddings.visibility, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(attention, expected.attention, rtol=1e-4, atol=1e-6)
    if fields.get("attention") is None:
        assert 0 < float(visibility[:, 1:].mean()) < 1  # the images show some parts and not others


@pytest.mark.parametrize("mirror", [False, True])
def test_a_network_that_reads_bgr(mirror: bool) -> None:
    checkpoint = tiny_checkpoint()
    preprocess = PREPROCESS.model_copy(update={"order": "bgr"})
    runner = TorchRunner(checkpoint.model, preprocess, RuntimeConfig(device="cpu"), mirror=mirror)
    expected = runner.run(random_pixels(3), None).embeddings.vectors
    pixels = torch.from_numpy(random_pixels(3))
    with torch.inference_mode():
        vectors, _, _ = ExportedNetwork(checkpoint.model, preprocess, mirror=mirror)(pixels)
        other, _, _ = ExportedNetwork(checkpoint.model, PREPROCESS, mirror=mirror)(pixels)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(vectors, other, atol=1e-3)


def test_a_fine_map_is_never_built() -> None:
    network = ExportedNetwork(tiny_checkpoint(map_stride=4).model, PREPROCESS)
    program = torch.export.export(network, (torch.from_numpy(random_pixels(2)),))
    shapes = [tuple(node.meta["val"].shape) for node in program.graph.nodes if hasattr(node.meta.get("val"), "shape")]
    assert (2, 6, 16, 8) in shapes  # the attention, upsampled
    assert (2, 36, 16, 8) not in shapes  # 8 + 12 + 16 channels


@pytest.mark.parametrize("fields", [{}, {"map_stride": 8, "parts": "eight"}, {"attention": "none"}], ids=str)
def test_the_mirror_image_as_the_extractor_has_it(fields: dict[str, Any]) -> None:
    checkpoint = tiny_checkpoint(**fields)
    runner = TorchRunner(checkpoint.model, PREPROCESS, RuntimeConfig(device="cpu"), mirror=True)
    expected = runner.run(random_pixels(3), None)
    with torch.inference_mode():
        pixels = torch.from_numpy(random_pixels(3))
        vectors, visibility, attention = ExportedNetwork(checkpoint.model, PREPROCESS, mirror=True)(pixels)
        plain, _, _ = ExportedNetwork(checkpoint.model, PREPROCESS)(pixels)
    torch.testing.assert_close(vectors, expected.embeddings.vectors, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(visibility, expected.embeddings.visibility)
    torch.testing.assert_close(attention, expected.attention, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(vectors, plain, atol=1e-3)


@pytest.mark.parametrize("attention", ["fixed", "fields"])
def test_networks_that_need_pose_fields_are_refused(attention: str) -> None:
    with pytest.raises(ConfigError, match=f"pose fields say .attention = {attention}.*cannot be exported"):
        ExportedNetwork(tiny_model(attention), PREPROCESS)


def tiny_model(attention: str) -> Any:
    from partreid.models.build import build_network
    from partreid.models.model_config import ModelConfig
    from tests.export.tiny import TinyBackbone

    return build_network(ModelConfig(backbone="resnet18", attention=attention), 3, backbone=TinyBackbone())  # type: ignore[arg-type]
