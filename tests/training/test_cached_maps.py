"""Heads on feature maps that are computed once: the same numbers, resumed bit for bit, within their budget."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.datasets.augment import Augmented
from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError, ExportError, TrainingError
from partreid.functional.losses import IGNORED_LABEL
from partreid.models.checkpoint import load_checkpoint
from partreid.runners import in_memory
from partreid.runtime import RuntimeConfig
from partreid.training import cached_maps
from partreid.training.cached_maps import MAPS_FOLDER, FrozenBackbone
from partreid.training.loop import Trainer
from partreid.training.source import source_vectors
from tests.conftest import tiny_config
from tests.training.test_resume import StopAt

CPU = RuntimeConfig(device="cpu", precision="float32", save_minutes=1e-9)
OWN = ("model.backbone=osnet_x0_25", "model.embedding_dim=null", "model.own_embedding=true")
VARIED = ("augment.flip_probability=0.5", "augment.paste_probability=0.5", "augment.erase_probability=0.5")
MODEL = "checkpoint/model.safetensors"


def trainer(blocks: Path, run: Path, *overrides: str, callback: StopAt | None = None) -> Trainer:
    config = tiny_config("optimizer.frozen_stride=32", "optimizer.ema_decay=0.9", *overrides)
    return Trainer(config, read_dataset(blocks).train, run, runtime=CPU, callbacks=[callback or StopAt()])


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.map_stride=8",),
        OWN,
        (*OWN, "model.map_stride=8"),
        ("model.attention=none", "objective.part_attention_weight=0"),
        ("model.attention=fields", "objective.part_attention_weight=0"),
    ],
)
def test_the_clean_variant_is_what_the_network_sees_itself(
    overrides: tuple[str, ...], blocks: Path, tmp_path: Path
) -> None:
    training = trainer(blocks, tmp_path, *overrides, *VARIED)
    training.prepare()
    assert training._maps is not None
    batch = training.loader.dataset.collate([training.loader.dataset[i] for i in (3, 0, 17, 17)])
    kept = training._maps.take(batch.index, torch.zeros(4, dtype=torch.long))
    plain = tiny_config("augment.padding=0", "augment.erase_probability=0").augment
    augmentation = type(training.augmentation)(plain, *list(vars(training.augmentation).values())[1:])
    clean: Augmented = augmentation(batch.images, batch.part_maps, batch.index, torch.Generator())
    model = training.learner.model.eval()
    with torch.no_grad():
        expected = model(clean.images, clean.part_maps)
        found = model.embed(kept.stages(model.backbone), kept.part_maps)
    for one, other in zip(found.embeddings.vectors, expected.embeddings.vectors, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-3)  # the maps are kept in half precision
    torch.testing.assert_close(found.attention, expected.attention, rtol=2e-2, atol=2e-3)
    assert (kept.labels is None) == (clean.labels is None)
    if kept.labels is not None and clean.labels is not None:
        assert torch.equal(kept.labels, clean.labels)


def test_variants_differ_and_labels_follow(blocks: Path, tmp_path: Path) -> None:
    training = trainer(blocks, tmp_path, *VARIED, "cached_maps.variants=3")
    training.prepare()
    maps = training._maps
    assert maps is not None
    assert maps.variants == 3
    index = torch.arange(24)
    batches = [maps.take(index, torch.full((24,), variant)) for variant in range(3)]
    for one, other in ((0, 1), (1, 2)):
        differ = [not torch.equal(a, b) for a, b in zip(batches[one].maps[0], batches[other].maps[0], strict=True)]
        assert sum(differ) > 12
        first, second = batches[one].labels, batches[other].labels
        assert first is not None
        assert second is not None
        assert not torch.equal(first, second)
    drawn = maps.draw(index, torch.Generator().manual_seed(0))
    expected = torch.randint(3, (24,), generator=torch.Generator().manual_seed(0))
    for row, variant in enumerate(expected.tolist()):
        assert torch.equal(drawn.maps[0][row], batches[variant].maps[0][row])
    # A person is where his labels say: above torso, below legs, whatever the order in which images were computed.
    clean = batches[0].labels
    assert clean is not None
    assert all(torch.equal(clean[0], one) for one in clean)


def test_the_backbone_stays_and_the_rest_learns(blocks: Path, tmp_path: Path) -> None:
    before = trainer(blocks, tmp_path / "other", *OWN).learner.model.state_dict()
    trainer(blocks, tmp_path / "run", *OWN, "objective.distillation.foreground=1").fit()
    after = load_checkpoint(tmp_path / "run").model.state_dict()
    moved = {key for key, value in after.items() if not torch.allclose(value, before[key], rtol=1e-5)}
    behind = {key for key in moved if key.startswith("backbone.")}
    assert behind
    assert all(key.startswith("backbone.fc.") for key in behind), "only what stands behind the map learns"
    assert "part_classifier.classifier.weight" in moved
    assert not (tmp_path / "run" / MAPS_FOLDER).exists(), "the maps go when the training is done"


def test_the_images_are_not_looked_at_in_the_epochs(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer(blocks, tmp_path, *OWN)
    training.prepare()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the backbone ran")

    monkeypatch.setattr(training.learner.model.backbone, "stages", fail)
    monkeypatch.setattr(type(training.loader), "epoch", fail)
    training.fit()
    assert training.epoch == 2


@pytest.mark.parametrize("lost", [(), ("variant-1",), ("variant-0", "variant-1", "variant-2", "variant-3")])
def test_a_stopped_run_resumes_bit_for_bit(lost: tuple[str, ...], blocks: Path, tmp_path: Path) -> None:
    """Whether the maps are still there, a kill came between two variants, or they are all gone."""
    options = (*VARIED, *OWN, "objective.distillation.foreground=1")
    trainer(blocks, tmp_path / "whole", *options).fit()
    run = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        trainer(blocks, run, *options, callback=StopAt(2)).fit()
    stamps = {path.name: (path / "map0.bin").stat().st_ino for path in (run / MAPS_FOLDER).iterdir()}
    assert sorted(stamps) == [f"variant-{v}" for v in range(4)]
    for name in lost:
        shutil.rmtree(run / MAPS_FOLDER / name)
    resumed = trainer(blocks, run, *options)
    resumed.resume()
    resumed.prepare()
    now = {path.name: (path / "map0.bin").stat().st_ino for path in (run / MAPS_FOLDER).iterdir()}
    assert all(now[name] == stamps[name] for name in stamps if name not in lost), "what is whole is not made again"
    resumed.fit()
    assert (run / MODEL).read_bytes() == (tmp_path / "whole" / MODEL).read_bytes()


@pytest.mark.parametrize("damage", ["cut", "other", "torn"])
def test_what_is_not_whole_or_of_other_numbers_is_made_again(damage: str, blocks: Path, tmp_path: Path) -> None:
    training = trainer(blocks, tmp_path, "cached_maps.variants=1", "cached_maps.keep=true")
    training.prepare()
    file = tmp_path / MAPS_FOLDER / "variant-0" / "map0.bin"
    whole = file.read_bytes()
    seed = "seed=0"
    if damage == "cut":
        file.write_bytes(whole[:-1])
    elif damage == "torn":
        file.with_name("meta.json").write_text("{")
    else:
        seed = "seed=1"
    file.with_name("mark").touch()
    again = trainer(blocks, tmp_path, "cached_maps.variants=1", "cached_maps.keep=true", seed)
    again.prepare()
    assert not file.with_name("mark").exists()
    assert (file.read_bytes() == whole) == (damage != "other")
    again.fit()
    assert file.exists(), "cached_maps.keep"


def test_the_budget_decides_how_many_variants_there_are(blocks: Path, tmp_path: Path) -> None:
    said: list[str] = []
    training = trainer(blocks, tmp_path)
    training.prepare(say=said.append)
    size = sum(file.stat().st_size for file in (tmp_path / MAPS_FOLDER / "variant-0").glob("*.bin"))
    assert "4 variants of each" in said[0]
    assert "PyTorch in float32" in said[1]
    fewer = trainer(blocks, tmp_path / "fewer", f"cached_maps.gib={2.5 * size / 2**30}")
    fewer.prepare(say=said.append)
    assert "2 variants of each" in said[3]
    assert "has no room for cached_maps.variants = 4" in said[3]
    with pytest.raises(ConfigError, match=r"cached_maps\.gib = .*: the feature maps of all training images take"):
        trainer(blocks, tmp_path / "none", f"cached_maps.gib={0.9 * size / 2**30}").fit()


def test_without_a_cache_the_same_heads_learn_from_images(blocks: Path, tmp_path: Path) -> None:
    training = trainer(blocks, tmp_path, "cached_maps.variants=0")
    training.fit()
    assert training._maps is None
    assert training.epoch == 2
    partly = trainer(blocks, tmp_path / "partly", "optimizer.frozen_stride=8")
    partly.prepare()
    assert partly._maps is None, "only part of the backbone is kept"


def test_the_source_says_of_clean_images_what_is_cached(blocks: Path, tmp_path: Path) -> None:
    training = trainer(blocks, tmp_path, *OWN, *VARIED, "objective.distillation.foreground=1")
    source = training._source
    assert source is not None
    training.prepare()
    expected = source_vectors(source, training.loader.dataset, training.config.preprocess, tmp_path / "elsewhere")
    assert training._source_vectors is not None
    torch.testing.assert_close(training._source_vectors, expected)


def test_numbers_beyond_half_precision_are_refused(blocks: Path, tmp_path: Path) -> None:
    training = trainer(blocks, tmp_path)
    with torch.no_grad():
        assert training._source is not None
        for parameter in training._source.parameters():
            parameter.mul_(1e4)
    with pytest.raises(TrainingError, match=r"beyond half precision.*cached_maps\.variants=0"):
        training.fit()


def test_an_image_without_label_has_none_in_any_variant(blocks: Path, tmp_path: Path) -> None:
    images = [image if i else type(image)(image.path, image.pid, image.camid, dataset=image.dataset)
              for i, image in enumerate(read_dataset(blocks).train)]  # fmt: skip
    config = tiny_config("optimizer.frozen_stride=32", *VARIED)
    training = Trainer(config, images, tmp_path, runtime=CPU)
    training.prepare()
    assert training._maps is not None
    labels = training._maps.take(torch.zeros(4, dtype=torch.long), torch.arange(4)).labels
    assert labels is not None
    assert (labels == IGNORED_LABEL).all()


def test_openvino_computes_what_pytorch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    from partreid.models.backbones import build_backbone

    torch.manual_seed(0)
    network = FrozenBackbone(build_backbone("osnet_x0_25"), vector=True).eval()
    images = torch.randn(19, 3, 64, 32)  # more than a piece, and not a whole number of them
    with torch.no_grad():
        expected = network(images)
    run, how = cached_maps._fastest(network, images, 10**6, torch.device("cpu"), "float32")
    assert how == "OpenVINO in float32"
    for one, other in zip(run(images), expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(in_memory, "_FARTHEST", {"float32": 0.0})
    with pytest.raises(ExportError, match="of its length away from PyTorch's"):
        in_memory.run_by_openvino(network, images + 1, arithmetic="float32")
    _, how = cached_maps._fastest(network, images, 10**6, torch.device("cpu"), "float32")
    assert how.startswith("PyTorch in float32, as OpenVINO is not to be had (OpenVINO's output")
    assert np.isfinite(expected[1].numpy()).all()
