"""A checkpoint carries the file that its backbone was read from: it is whole by itself, and nothing else is taken."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import CheckpointError, PartReIDError
from partreid.inference.extractor import PartExtractor
from partreid.models.backbones import build_backbone, preprocess_for
from partreid.models.backbones.graph import FileBackbone
from partreid.models.backbones.openvino_file import read_openvino
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, load_backbone, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.runtime import RuntimeConfig
from tests.models.tiny_networks import IMAGENET_BYTES, model_of, named, save_onnx, save_openvino

CPU = RuntimeConfig(device="cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), dtype=np.uint8)


def fingerprint(checkpoint: Checkpoint) -> str:
    return PartExtractor.from_pretrained(checkpoint, runtime=CPU).fingerprint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "user").mkdir()
    return save_openvino(tmp_path / "user" / "a net.xml", turned=True, normalise=IMAGENET_BYTES)


@pytest.fixture
def folder(file: Path, tmp_path: Path) -> Path:
    return save_checkpoint(model_of(named(file)), tmp_path / "model")


@pytest.mark.parametrize("fields", [{}, {"map_stride": 4}, {"attention": "none"}])
def test_a_checkpoint_is_whole_by_itself(fields: dict[str, object], file: Path, tmp_path: Path) -> None:
    checkpoint = model_of(named(file), **fields)
    expected = PartExtractor.from_pretrained(checkpoint, runtime=CPU).embed(list(IMAGES))
    folder = save_checkpoint(checkpoint, tmp_path / "model")
    assert sorted(path.name for path in (folder / "backbone").iterdir()) == ["a_net.bin", "a_net.xml"]
    text = (folder / "config.json").read_text()
    assert json.loads(text)["model"]["backbone"] == "openvino/backbone/a_net.xml"
    assert str(tmp_path) not in text
    shutil.rmtree(file.parent)
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    loaded = PartExtractor.from_pretrained(moved, runtime=CPU)
    assert torch.equal(loaded.embed(list(IMAGES)).vectors, expected.vectors)
    assert loaded.fingerprint == expected.model
    # Once more, from a copy, over itself, and when its folder is gone.
    loaded.save_pretrained(moved)
    again = load_checkpoint(moved)
    shutil.rmtree(moved)
    last = save_checkpoint(Checkpoint(copy.deepcopy(again.model), again.preprocess), tmp_path / "last")
    assert fingerprint(load_checkpoint(last)) == expected.model


def test_numbers_beside_an_onnx_file_go_along(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    file = save_onnx(tmp_path / "user" / "net.onnx", beside="numbers.data")
    checkpoint = model_of(named(file))
    folder = save_checkpoint(checkpoint, tmp_path / "model")
    shutil.rmtree(file.parent)
    assert sorted(path.name for path in (folder / "backbone").iterdir()) == ["net.onnx", "numbers.data"]
    assert fingerprint(load_checkpoint(folder)) == fingerprint(checkpoint)
    (folder / "backbone/numbers.data").write_bytes(bytes((folder / "backbone/numbers.data").stat().st_size))
    with pytest.raises(CheckpointError, match=r"numbers.data is not the file that this model was saved with"):
        load_checkpoint(folder)
    odd = save_onnx(tmp_path / "net.onnx", beside="a b.bin")
    with pytest.raises(CheckpointError, match=r"net.onnx has numbers in the file .*a b.bin. Expected one beside it"):
        build_backbone(named(odd))


def test_a_named_map_goes_along(file: Path, tmp_path: Path) -> None:
    folder = save_checkpoint(model_of(f"{named(file)}#first_map", own_embedding=False), tmp_path / "model")
    assert load_checkpoint(folder).model.backbone.output_stride == 4


def test_the_place_does_not_count_and_the_content_does(file: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(file.parent, tmp_path / "b")) / file.name
    other = save_openvino(tmp_path / "other.xml", turned=True, normalise=IMAGENET_BYTES, activation="sigmoid")
    one, two, third = (model_of(named(path)) for path in (file, elsewhere, other))
    third.model.load_state_dict(one.model.state_dict())
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one) != fingerprint(third), "the same weights in another graph"


def entry(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def listed(file: str) -> Callable[[Path], object]:
    """A file that ``backbone_files`` names, with a digest that is none."""
    return entry(lambda config: config["backbone_files"].update({file: "0"}))


def unlisted(file: str) -> Callable[[Path], object]:
    return entry(lambda config: config["backbone_files"].pop(file))


def name(backbone: str) -> Callable[[Path], object]:
    return entry(lambda config: config["model"].update(backbone=backbone))


def linked(path: str, target: str) -> Callable[[Path], object]:
    """What lies in the checkpoint moved out of it, and a link in its place."""

    def apply(folder: Path) -> None:
        if folder / path == folder.parent / target:
            (folder / path).unlink()
        else:
            shutil.move(folder / path, folder.parent / target)
        (folder / path).symlink_to(folder.parent / target)

    return apply


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absolute": (name("openvino//etc/a_net.xml"), r"names the network file '/etc/a_net.xml', and a checkpoint"),
    "above": (name("openvino/backbone/../../user/a_net.xml"), r"may name one in its folder 'backbone' only"),
    "beside": (name("openvino/../user/a_net.xml"), "may name one in its folder"),
    "another folder": (name("openvino/other/a_net.xml"), "may name one in its folder"),
    "no digest": (name("openvino/backbone/b.xml"), r"'backbone/b.xml', and a checkpoint may name .* with its SHA-256"),
    "no digests": (entry(lambda c: c.pop("backbone_files")), "with its SHA-256 in backbone_files"),
    "a list": (entry(lambda c: c.update(backbone_files=[1])), "expected backbone_files as names with SHA-256"),
    "numbers": (entry(lambda c: c.update(backbone_files={"a": 1})), "expected backbone_files as names"),
    "no plain name": (listed("../a"), r"'../a' is no plain name"),
    "the folder itself": (listed(".."), r"'\.\.' is no plain name"),
    "only the graph": (unlisted("a_net.bin"), "files of the network differ: a_net.bin"),
    "more": (listed("b.bin"), r"There is no .*b.bin: .* incomplete"),
    "another graph": (lambda f: save_openvino(f / "backbone/a_net.xml", activation="sigmoid"), "is not the file that"),
    "changed bytes": (lambda f: (f / "backbone/a_net.bin").write_bytes(b"\0"), "a_net.bin is not the file that this"),
    "no numbers": (lambda f: (f / "backbone/a_net.bin").unlink(), "There is no .*a_net.bin: the checkpoint is"),
    "no folder": (lambda f: shutil.rmtree(f / "backbone"), r"There is no .*a_net.xml: the checkpoint is incomplete"),
    "a link": (linked("backbone/a_net.bin", "numbers"), r"a_net.bin is a link that leads out of the checkpoint"),
    "a linked folder": (linked("backbone", "files"), "is a link that leads out of the checkpoint"),
    "a link to itself": (linked("backbone/a_net.bin", "model/backbone/a_net.bin"), "There is no .*a_net.bin"),
    "another kind": (name("hrnet_w32"), "the backbone hrnet_w32 has no embedding of its own"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_refused(harm: str, folder: Path) -> None:
    apply, message = HARMS[harm]
    apply(folder)
    with pytest.raises(PartReIDError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("kind", [".xml", ".onnx"])
def test_links_of_the_hubs_cache_are_its_own(kind: str, tmp_path: Path) -> None:
    """The Hub's library keeps files in ``blobs``, and a snapshot is a folder of links to them."""
    file = tmp_path / f"net{kind}"
    save_openvino(file) if kind == ".xml" else save_onnx(file, beside="numbers.data")
    folder = save_checkpoint(model_of(named(file)), tmp_path / "model")
    snapshot = tmp_path / "cache/models--org--name/snapshots/0123"
    (snapshot.parent.parent / "blobs").mkdir(parents=True)
    for number, path in enumerate(path for path in folder.rglob("*") if path.is_file()):
        blob = Path(shutil.copy(path, snapshot.parent.parent / "blobs" / str(number)))
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    assert fingerprint(load_checkpoint(snapshot)) == fingerprint(load_checkpoint(folder))


def test_a_backbone_takes_the_weights_of_the_same_file_only(folder: Path, file: Path, tmp_path: Path) -> None:
    trained = load_checkpoint(folder)
    with torch.no_grad():
        for weight in trained.model.backbone.parameters():
            weight += 1
    save_checkpoint(trained, folder)
    backbone = build_backbone(named(file), map_stride=4)
    load_backbone(backbone, folder)
    ours, theirs = next(backbone.parameters()), next(trained.model.backbone.parameters())
    assert torch.equal(ours, theirs)
    other = build_backbone(named(save_openvino(tmp_path / "b.xml", turned=True, normalise=IMAGENET_BYTES, seed=1)))
    with pytest.raises(
        CheckpointError, match=r"read from another file than .*b.xml. Take the one that lies there: model"
    ):
        load_backbone(other, folder)


def test_a_model_whose_file_is_not_known_cannot_be_saved(file: Path, tmp_path: Path) -> None:
    backbone = FileBackbone(read_openvino(file))
    model = build_network(ModelConfig(backbone=named(file), parts="five"), 3, backbone=backbone).eval()
    with pytest.raises(CheckpointError, match="is not known by the bytes of its file"):
        save_checkpoint(Checkpoint(model, preprocess_for(named(file))), tmp_path / "model")


def test_an_earlier_checkpoint_with_the_users_own_path_says_what_to_do(folder: Path, file: Path) -> None:
    name(named(file))(folder)
    with pytest.raises(CheckpointError, match="Take the whole checkpoint from where it was written"):
        load_checkpoint(folder)
