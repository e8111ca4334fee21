"""What a network gives is a number and of the weights that its fingerprint names, or it is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partreid.errors import DataError, ExportError
from partreid.export.parity import check_agreement
from partreid.inference._shards import ShardSettings, embed_shards, open_job
from partreid.inference.extractor import PartExtractor
from partreid.models.build import build_network
from partreid.models.model_config import ModelConfig
from partreid.models.network import ReIDNetwork
from partreid.preprocessing import PreprocessConfig
from partreid.runners.runner import TorchRunner
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput
from tests.inference.plain_network import PlainRunner, write_images

CPU = RuntimeConfig(device="cpu", batch_size=4)
SIZE = PreprocessConfig(height=64, width=32)


class Overflowing(PlainRunner):
    """Gives a number that is none for images that are black."""

    def __init__(self, wrong: float, where: str = "vectors") -> None:
        super().__init__()
        self.wrong, self.where = wrong, where

    def run(self, pixels: np.ndarray, part_maps: Tensor | None) -> ModelOutput:
        output = super().run(pixels, part_maps)
        black = torch.from_numpy(pixels.reshape(len(pixels), -1).max(axis=1) == 0)
        e = output.embeddings
        if self.where == "visibility":
            e = replace(e, visibility=e.visibility.index_fill(1, torch.tensor([1]), self.wrong))
        else:
            vectors = e.vectors.clone()
            vectors[black, 1, 2] = self.wrong
            e = replace(e, vectors=vectors)
        return replace(output, embeddings=e)


def overflowing(wrong: float, where: str = "vectors") -> PartExtractor:
    return PartExtractor.from_runner(Overflowing(wrong, where), runtime=CPU)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_an_embedding_that_is_no_number_is_refused_on_every_way(wrong: float, tmp_path: Path) -> None:
    files = write_images(tmp_path / "p", 6)
    from PIL import Image

    Image.new("RGB", (10, 20)).save(files[4])
    extractor, frame = overflowing(wrong), np.zeros((20, 20, 3), np.uint8)
    message = r"no embedding of .*004\.png: slot 'head': .* NaN or infinity.*float16.*bfloat16"

    def shards() -> object:
        with open_job(tmp_path / "out", tmp_path / "p", extractor, ShardSettings(shard_size=3, batch_size=4)) as job:
            return list(embed_shards(extractor, job, job.faults(), skip=True))

    ways: list[Callable[[], object]] = [
        lambda: extractor.embed(files),
        lambda: list(extractor.outputs(files)),
        lambda: list(extractor.stream(files)),
        lambda: list(extractor.stream(files, on_error="skip")),  # the image is not at fault
        shards,
    ]
    for way in ways:
        with pytest.raises(DataError, match=message):
            way()
    assert [file.name for file in (tmp_path / "out").glob("shard-*")] == ["shard-000000.safetensors"]
    with pytest.raises(DataError, match=r"no embedding of #\d: slot 'head'"):
        extractor.embed_boxes(frame, [[0, 0, 10, 20]])
    assert len(extractor.embed(files[:4])) == 4


@pytest.mark.parametrize("wrong", [float("nan"), 1.01, -0.1])
def test_a_visibility_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(DataError, match=r"no embedding of #0: slot 'head': .* a visibility in \[0, 1\]"):
        overflowing(wrong, "visibility").embed(np.ones((20, 20, 3), np.uint8))


def network(**fields: Any) -> ReIDNetwork:
    torch.manual_seed(0)
    return build_network(ModelConfig(**{"backbone": "resnet18", "parts": "two_v", "embedding_dim": 8} | fields), 3)


def runner() -> TorchRunner:
    return TorchRunner(network(), SIZE, CPU)


def test_weights_that_overflow_are_told(tmp_path: Path) -> None:
    model = network(embedding_dim=None)
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if name.endswith("bn1.weight"):
                parameter.mul_(1e30)
    extractor = PartExtractor(model, SIZE, runtime=CPU)
    with pytest.raises(DataError, match=r"no embedding of #0: slot 'foreground': .*the weights are at fault"):
        extractor.embed(np.full((64, 32, 3), 90, np.uint8))
    with pytest.raises(ExportError, match="computes other"):
        check_agreement(extractor.runner, extractor.runner, np.full((2, 64, 32, 3), 90, np.uint8))


def _step(model: ReIDNetwork) -> None:
    images = torch.randn(4, 3, 64, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(images).embeddings.vectors.square().mean().backward()
    optimizer.step()


def _data(model: ReIDNetwork) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(1.01)


def _first(model: ReIDNetwork) -> torch.nn.Parameter:
    return next(iter(model.parameters()))


def _assigned(model: ReIDNetwork) -> None:
    model.load_state_dict(
        {k: v + 1 if v.is_floating_point() else v for k, v in model.state_dict().items()}, assign=True
    )


CHANGES: dict[str, Callable[[ReIDNetwork], object]] = {
    "a training step": _step,
    "written into .data": _data,
    "another .data": lambda model: setattr(_first(model), "data", _first(model).data + 1),
    "one number": lambda model: _first(model).detach().view(-1)[7].add_(1),
    "statistics": lambda model: model.train()(torch.randn(4, 3, 64, 32)),
    "loaded": lambda model: model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()}),
    "loaded in their place": _assigned,
    "halved": lambda model: model.bfloat16(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_follows_the_weights(change: str) -> None:
    made = runner()
    before = made.fingerprint
    assert made.fingerprint == before == runner().fingerprint
    CHANGES[change](made.model)
    assert made.fingerprint != before
    assert made.fingerprint == TorchRunner(copy.deepcopy(made.model), SIZE, CPU).fingerprint


def test_embeddings_before_and_after_a_training_are_not_compared() -> None:
    extractor = PartExtractor(network(), SIZE, runtime=CPU)
    image = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    before = extractor.embed(image)
    _step(extractor.model)
    after = extractor.embed(image)
    assert before.model != after.model == extractor.fingerprint
    assert not torch.allclose(before.vectors, after.vectors, atol=1e-4)


def test_a_model_that_is_being_trained_embeds_in_evaluation_mode() -> None:
    """Else an image's embedding would depend on what is in its batch, and embedding would move the statistics."""
    extractor = PartExtractor(network(), SIZE, runtime=CPU)
    images = list(np.random.default_rng(0).integers(0, 255, (3, 64, 32, 3), np.uint8))
    expected, fingerprint = extractor.embed(images), extractor.fingerprint
    extractor.model.train()
    extractor.model.backbone.eval()  # frozen by whoever trains
    modes = [module.training for module in extractor.model.modules()]
    assert torch.equal(extractor.embed(images).vectors, expected.vectors)
    assert extractor.fingerprint == fingerprint
    assert [module.training for module in extractor.model.modules()] == modes
