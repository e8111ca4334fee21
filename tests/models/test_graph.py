"""A network of a file as a backbone: its map, its stages, its embedding; copies, threads, compilation."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, ShapeError
from partreid.models.backbones import build_backbone, map_geometry
from partreid.models.backbones.graph import FileBackbone
from tests.models.network_files import OnnxNet, random, run_onnx, tiny_onnx, tiny_openvino


@pytest.fixture(params=["onnx", "openvino"], scope="module")
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("networks")
    if request.param == "onnx":
        return f"onnx/{tiny_onnx(folder / 'a.onnx')}"
    return f"openvino/{tiny_openvino(folder / 'a.xml')}"


def built(name: str) -> FileBackbone:
    backbone = build_backbone(name)
    assert isinstance(backbone, FileBackbone)
    return backbone.eval()


def embed(backbone: Any, images: torch.Tensor) -> torch.Tensor:
    vector = backbone.vector(backbone.stages(images))
    assert isinstance(vector, torch.Tensor)
    return vector


def test_the_map_is_the_last_value_through_which_every_way_leads(name: str) -> None:
    backbone = built(name)
    assert map_geometry(name) == (4, 4)
    images = torch.randn(2, 3, 64, 32)
    gated = built(f"{name}#gated")(images)
    assert backbone(images).shape == gated.shape == (2, 8, 16, 8)
    assert not torch.equal(backbone(images), gated)
    assert torch.equal(backbone(images), built(f"{name}#stage2")(images))


def test_a_map_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=r"has no feature map 'nothing'\. It has: .*gated"):
        build_backbone(f"{name}#nothing")
    with pytest.raises(ConfigError, match="has no feature map"):
        build_backbone(f"{name}#embedding")


def test_a_map_in_front_of_which_the_ways_part_has_no_embedding(tmp_path: Path) -> None:
    net = OnnxNet()
    x = net("Conv", "images", random(4, 3, 2, 2), strides=[2, 2])
    branch = net("Relu", x, name="branch")
    x = net("GlobalAveragePool", net("Add", x, branch))
    path = net.save(tmp_path / "a.onnx", net("Flatten", x), (1, 3, 8, 8))
    assert built(f"onnx/{path}").vector_dim == 4
    parted = built(f"onnx/{path}#branch")
    assert parted.vector_dim is None
    with pytest.raises(ConfigError, match="no embedding of its own"):
        embed(parted, torch.randn(1, 3, 8, 8))


def test_a_network_without_a_map(tmp_path: Path) -> None:
    net = OnnxNet()
    path = net.save(tmp_path / "a.onnx", net("Flatten", net("GlobalAveragePool", "images")))
    with pytest.raises(ConfigError, match="has no feature map: no value with height and width"):
        build_backbone(f"onnx/{path}")


@pytest.mark.parametrize("size", [(64, 32), (128, 64), (96, 32), (8, 4)])
def test_images_of_any_size_that_the_graph_allows(name: str, size: tuple[int, int]) -> None:
    backbone = built(name)
    images = torch.randn(3, 3, *size)
    with torch.inference_mode():
        together = embed(backbone, images)
        alone = torch.cat([embed(backbone, image[None]) for image in images])
    assert together.shape == (3, 6)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_sizes_that_the_graph_does_not_allow(name: str, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"expected images 64×32, or others .* multiples of 4, got 63×32"):
        built(name)(torch.randn(1, 3, 63, 32))
    net = OnnxNet()
    x = net(
        "AveragePool", net("Conv", "images", random(4, 3, 2, 2), strides=[2, 2]), kernel_shape=[6, 4], strides=[6, 4]
    )
    path = net.save(tmp_path / "a.onnx", net("Reshape", x, np.array([-1, 4])), ("n", 3, 12, 8))
    backbone = built(f"onnx/{path}#v0")
    assert embed(backbone, torch.randn(2, 3, 12, 8)).shape == (2, 4)
    stages = backbone.stages(torch.randn(2, 3, 24, 8))
    with pytest.raises(ShapeError, match=r"for images 12×8\. Its answer would be \(4, 4\), expected \(2, 4\)"):
        backbone.vector(stages)


def test_sizes_that_the_embedding_asks_of_the_images(tmp_path: Path) -> None:
    net = OnnxNet()
    x = net("GlobalAveragePool", net("Conv", "images", random(4, 3, 2, 2), strides=[2, 2], name="map"))
    batch = net("Slice", net("Shape", "images"), np.array([0]), np.array([1]))
    path = net.save(tmp_path / "a.onnx", net("Reshape", x, net("Concat", batch, np.array([-1]), axis=0)))
    backbone = built(f"onnx/{path}")
    assert (backbone._map, backbone.vector_dim) == ("map", 4)
    images = random(3, 3, 12, 8)
    with torch.inference_mode():
        np.testing.assert_allclose(embed(backbone, torch.tensor(images)), run_onnx(path, images), rtol=1e-5, atol=1e-5)


def test_statistics_stay_and_weights_learn(tmp_path: Path) -> None:
    backbone = built(f"onnx/{tiny_onnx(tmp_path / 'a.onnx')}").train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD(backbone.parameters(), 0.1)
    embed(backbone, torch.randn(4, 3, 64, 32)).square().sum().backward()
    optimizer.step()
    same = {key for key, value in backbone.state_dict().items() if torch.equal(value, before[key])}
    assert same == {"weights.w4", "weights.w5"}, "mean and variance of the batch normalisation"
    assert torch.equal(backbone(images := torch.randn(2, 3, 64, 32)), backbone.eval()(images))


def test_copies_and_pickles(name: str) -> None:
    backbone = built(name)
    images = torch.randn(2, 3, 64, 32)
    expected = embed(backbone, images)
    copied = copy.deepcopy(backbone)
    file = io.BytesIO(pickle.dumps(backbone))
    assert torch.equal(embed(copied, images), expected)
    assert torch.equal(embed(pickle.load(file), images), expected)
    with torch.no_grad():
        next(copied.parameters()).zero_()
    assert torch.equal(embed(backbone, images), expected), "a copy has weights of its own"


def test_threads(name: str) -> None:
    backbone = built(name)
    images = torch.randn(8, 3, 64, 32)
    expected = [embed(backbone, image[None]).detach() for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: embed(backbone, image[None]).detach(), list(images) * 4))
    assert all(torch.equal(one, expected[i % 8]) for i, one in enumerate(found))


def test_a_model_that_was_loaded_within_inference_mode_can_be_trained(name: str) -> None:
    with torch.inference_mode():
        backbone = built(name)
    backbone.train()(torch.randn(2, 3, 64, 32)).sum().backward()


def test_half_precision(name: str) -> None:
    backbone = built(name)
    images = torch.randn(2, 3, 64, 32)
    expected = embed(backbone, images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(embed(backbone, images).float(), expected, rtol=0.1, atol=0.1)
    assert embed(backbone.double(), images.double()).dtype == torch.float64


class Embedder(torch.nn.Module):
    def __init__(self, backbone: FileBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stages = self.backbone.stages(images)
        return stages[self.backbone.output_stride], self.backbone.vector(stages)


def test_export_for_any_number_of_images(name: str) -> None:
    module = Embedder(built(name))
    exported = torch.export.export(module, (torch.randn(2, 3, 64, 32),), dynamic_shapes=({0: torch.export.Dim("n")},))
    for batch in (1, 2, 7):
        images = torch.randn(batch, 3, 64, 32)
        for found, expected in zip(exported.module()(images), module(images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_compilation(name: str) -> None:
    module = Embedder(built(name))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    images = torch.randn(2, 3, 64, 32)
    for found, expected in zip(compiled(images), module(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_names_in_a_file_are_only_names(tmp_path: Path) -> None:
    net = OnnxNet()
    names = [
        "__class__",
        "a.b",
        "a\nb",
        'a"b',
        "forward",
        "weights",
        "ä" * 300,
        "parameters",
        "a b",
        "_parameters",
        "/",
    ]
    x = "images"
    for i, name in enumerate(names):
        weight = net.weight(random(3, 3, 1, 1, seed=i), name)
        x = net("Conv", x, weight, name="") if i else net("Conv", x, weight, strides=[2, 2])
    path = net.save(tmp_path / "a.onnx", x, (1, 3, 8, 8))
    backbone = built(f"onnx/{path}")
    keys = list(backbone.state_dict())
    assert len(keys) == len(names)
    assert all(key.isascii() and key.removeprefix("weights.").isidentifier() and len(key) < 230 for key in keys)
    images = random(2, 3, 8, 8)
    expected = np.concatenate([run_onnx(path, image[None]) for image in images])
    np.testing.assert_allclose(backbone(torch.tensor(images)).detach(), expected, rtol=1e-4, atol=1e-4)


def test_file_names_with_a_hash(tmp_path: Path) -> None:
    (tmp_path / "a#b").mkdir()
    path = tiny_onnx(tmp_path / "a#b" / "c#d.onnx")
    assert built(f"onnx/{path}")._map == "stage2"
    assert built(f"onnx/{path}#gated")._map == "gated"
