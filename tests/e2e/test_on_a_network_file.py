"""A network file of another origin, all the way: parts are trained on it, people found with it, and it is exported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.app.messages import Question, Sighting
from partreid.app.service import PageService
from partreid.datasets.readers import read_dataset
from partreid.export.model import export_model
from partreid.inference.extractor import PartExtractor
from partreid.models.backbones import preprocess_for
from partreid.retrieval.gallery import Gallery
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from tests.conftest import tiny_config
from tests.models.tiny_networks import IMAGENET_BYTES, named, save_onnx, save_openvino

CPU = RuntimeConfig(device="cpu", precision="float32")


@pytest.fixture(scope="module", params=[".xml", ".onnx"])
def run(request: pytest.FixtureRequest, blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network file is gone."""
    folder = tmp_path_factory.mktemp("network")
    file = folder / f"net{request.param}"
    if request.param == ".xml":
        save_openvino(file, turned=True, normalise=IMAGENET_BYTES)
    else:
        save_onnx(file)
    own = {"backbone": named(file), "own_embedding": True, "embedding_dim": None, "normalize_embeddings": True}
    changes = {"model": own, "pretrained": "imagenet", "objective.distillation.global_": 1.0}
    config = tiny_config("optimizer.epochs=1").override(changes, preprocess=preprocess_for(named(file)))
    run = tmp_path_factory.mktemp("runs") / "run"
    Trainer(config, read_dataset(blocks).train, run, runtime=CPU).fit()
    shutil.rmtree(folder)
    return run


def test_train_search_and_show(run: Path, blocks: Path, tmp_path: Path) -> None:
    extractor = PartExtractor.from_pretrained(run, runtime=CPU)
    assert extractor.slots == ("global", "foreground", "head", "arms", "torso", "legs", "feet")
    dataset = read_dataset(blocks, labels=None)
    with Gallery.open(tmp_path / "gallery", extractor=extractor, create=True) as gallery:
        files = [str(image.path) for image in dataset.gallery]
        gallery.add(extractor.embed(files), files)
    with Gallery.open(tmp_path / "gallery", extractor=extractor) as gallery:
        query = dataset.query[0]
        found = gallery.search(extractor.embed([str(query.path)]), 3)
        service = PageService(gallery, extractor)
        sent = service.keep(query.path.read_bytes()).image
        ranking = service.search(Question(query=(Sighting(image=sent),), k=3))
        assert [one.id for one in ranking.results] == list(found.ids[0])


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_export_holds_the_parts_too(suffix: str, run: Path, blocks: Path, tmp_path: Path) -> None:
    pytest.importorskip({".onnx": "onnxruntime", ".xml": "openvino"}[suffix])
    exported = export_model(run, tmp_path / f"model{suffix}", suffix=suffix, data=blocks)
    assert exported.agreement.vectors < 1e-4
    images = list(np.random.default_rng(1).integers(0, 256, (3, 64, 32, 3), dtype=np.uint8))
    network = PartExtractor.from_pretrained(run, runtime=CPU)
    file = PartExtractor.from_pretrained(exported.path, device="cpu")
    assert (file.slots, file.fingerprint, file.preprocess) == (network.slots, network.fingerprint, network.preprocess)
    torch.testing.assert_close(file.embed(images).vectors, network.embed(images).vectors, rtol=1e-3, atol=1e-4)
