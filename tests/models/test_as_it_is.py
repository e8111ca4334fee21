"""A ReID network of another origin, taken as it is by its name as a backbone: a baseline in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.errors import CheckpointError, ConfigError
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import find_checkpoint, load_checkpoint
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval.how_compared import HowCompared
from tests.models.tiny_networks import IMAGENET_BYTES, named, save_openvino

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3), dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_openvino(tmp_path / "net.xml", turned=True, normalise=IMAGENET_BYTES)


def test_its_embedding_is_openvinos_of_bgr_bytes(file: Path) -> None:
    import openvino

    extractor = PartExtractor.from_pretrained(named(file), device="cpu")
    found = extractor.embed(list(IMAGES))
    assert (found.slots, found.compare_normalized) == (("global",), True)
    assert extractor.preprocess.size == (64, 32)
    network = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for image, vector in zip(IMAGES, found.vectors[:, 0], strict=True):
        expected = network(image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32))[0]
        np.testing.assert_allclose(vector.numpy(), expected[0], rtol=1e-3, atol=1e-5)
    assert HowCompared.of(extractor).matching.normalize is True


def test_it_is_the_same_every_time_and_a_checkpoint_like_any(file: Path, tmp_path: Path) -> None:
    extractor = PartExtractor.from_pretrained(named(file), device="cpu")
    torch.manual_seed(7)
    assert PartExtractor.from_pretrained(named(file), device="cpu").fingerprint == extractor.fingerprint
    saved = extractor.save_pretrained(tmp_path / "saved")
    assert PartExtractor.from_pretrained(saved, device="cpu").fingerprint == extractor.fingerprint
    plain = PartExtractor.from_pretrained(named(file), overrides=["normalize_embeddings=false"], device="cpu")
    assert plain.embed([IMAGES[0]]).compare_normalized is False


def test_images_prepared_otherwise_are_refused(file: Path) -> None:
    network = PartExtractor.from_pretrained(named(file), device="cpu").model
    with pytest.raises(ConfigError, match=r"reads other images: mean=\(0.0, .*, order='bgr'. Prepare them with"):
        PartExtractor(network, PreprocessConfig(height=64, width=32))


def test_a_file_without_such_a_name_says_how(file: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"of another origin is taken as it is by the name openvino/{file}\."):
        PartExtractor.from_pretrained(file)
    with pytest.raises(CheckpointError, match=rf"of another origin is taken as it is by openvino/{file}\."):
        load_checkpoint(file)
    with pytest.raises(CheckpointError, match=r"a checkpoint folder is needed here.*save_pretrained\(FOLDER\)"):
        find_checkpoint(named(file))
    with pytest.raises(CheckpointError, match=r"There is no network file .*missing.xml"):
        PartExtractor.from_pretrained(named(file.with_name("missing.xml")))


def test_a_folder_called_openvino(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path may begin as the name of a network file does."""
    monkeypatch.chdir(tmp_path)
    extractor = PartExtractor.from_pretrained("openvino/net.xml", device="cpu")
    (tmp_path / "openvino").mkdir()
    extractor.save_pretrained("openvino/run")
    assert PartExtractor.from_pretrained("openvino/run", device="cpu").fingerprint == extractor.fingerprint
    save_openvino(tmp_path / "openvino" / "net.xml")
    with pytest.raises(CheckpointError, match=r"may be the network file net.xml, taken as it is, or the exported file"):
        PartExtractor.from_pretrained("openvino/net.xml")
    file.unlink()
    with pytest.raises(CheckpointError, match="was not written by partreid export"):
        PartExtractor.from_pretrained("openvino/net.xml")


def test_a_network_without_an_embedding_behind_the_map(file: Path) -> None:
    with pytest.raises(ConfigError, match="no feature map 'nothing'"):
        PartExtractor.from_pretrained(f"{named(file)}#nothing")
