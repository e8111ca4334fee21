"""The trainer: it learns, resumes as if unbroken, stops at NaN, and never leaves half a checkpoint."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError, ConfigError, DataError, LabelError, TrainingError
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import StepRecord
from partreid.training.loop import Trainer
from partreid.training.presets import PRESETS
from partreid.training.state import load_run_config
from partreid.training.supervised import build_model
from partreid.types import ReIDDataset, ReIDImage
from tests.conftest import tiny_config

CPU = RuntimeConfig(device="cpu", precision="float32")


class Recorder:
    """Keeps what it is told, and can interrupt."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.records: list[StepRecord] = []
        self.epochs: list[Mapping[str, float]] = []
        self.closed = False
        self.interrupt_after = interrupt_after

    def on_step(self, record: StepRecord) -> None:
        self.records.append(record)
        if self.interrupt_after is not None and record.epoch >= self.interrupt_after:
            raise KeyboardInterrupt

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        self.epochs.append(means)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def dataset(blocks: Path) -> ReIDDataset:
    return read_dataset(blocks)


def test_the_loss_falls_and_the_checkpoint_embeds(dataset: ReIDDataset, tmp_path: Path) -> None:
    recorder = Recorder()
    config = tiny_config("optimizer.epochs=6")
    Trainer(config, dataset.train, tmp_path / "run", runtime=CPU, callbacks=[recorder]).fit()
    assert recorder.closed
    assert recorder.epochs[-1]["loss"] < 0.9 * recorder.epochs[0]["loss"]
    assert {"identity/global_", "triplet/parts", "part_attention", "active/parts"} <= recorder.epochs[0].keys()
    embeddings = PartExtractor.from_pretrained(tmp_path / "run").embed(dataset.query[0])
    assert embeddings.validate().slots == ("foreground", "head", "arms", "torso", "legs", "feet")


def test_a_trainer_takes_names_and_objects(
    dataset: ReIDDataset, tmp_path: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", lambda: tiny_config("optimizer.epochs=1"))
    expected = [image.path for image in dataset.train]
    for data in (str(blocks), blocks, [blocks], dataset, [dataset], dataset.train):
        trainer = Trainer("tiny", data, tmp_path / "run", runtime=CPU)
        assert [image.path for image in trainer.loader.dataset.images] == expected
    trainer.fit()
    for wrong in (5, [5], [*dataset.train, blocks]):
        with pytest.raises(DataError, match="Expected a data set, its folder or its name"):
            Trainer("tiny", wrong, tmp_path / "other", runtime=CPU)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Unknown preset 'tinny'.*tiny"):
        Trainer("tinny", dataset, tmp_path / "other", runtime=CPU)
    with pytest.raises(ConfigError, match=r"Expected TrainConfig\(...\)"):
        Trainer({"seed": 3}, dataset, tmp_path / "other", runtime=CPU)  # type: ignore[arg-type]


def test_an_interrupted_run_resumes_bit_for_bit(dataset: ReIDDataset, tmp_path: Path) -> None:
    config = tiny_config("optimizer.epochs=3")
    Trainer(config, dataset.train, tmp_path / "whole", runtime=CPU).fit()
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, dataset.train, tmp_path / "broken", runtime=CPU, callbacks=[Recorder(interrupt_after=1)]).fit()
    assert load_run_config(tmp_path / "broken") == config
    resumed = Trainer(config, dataset.train, tmp_path / "broken", runtime=CPU)
    resumed.resume()
    assert resumed.epoch == 1
    resumed.fit()
    whole, broken = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(whole[key], broken[key]) for key in whole)


def test_the_history_of_every_epoch_is_kept_through_a_break(dataset: ReIDDataset, tmp_path: Path) -> None:
    config = tiny_config("optimizer.epochs=3")
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, dataset.train, tmp_path / "run", runtime=CPU, callbacks=[Recorder(interrupt_after=1)]).fit()
    recorder = Recorder()
    resumed = Trainer(config, dataset.train, tmp_path / "run", runtime=CPU, callbacks=[recorder])
    resumed.resume()
    resumed.fit()
    metrics = load_checkpoint(tmp_path / "run").metrics
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2, 3] == list(resumed.progress.history)
    assert metrics["history"][1:] == [{"epoch": i + 2, **means} for i, means in enumerate(recorder.epochs)]
    assert metrics["train"].items() <= metrics["history"][-1].items()
    rates = [entry["learning_rate"] for entry in metrics["history"]]
    assert rates[0] < rates[1] > rates[2], "warm-up, then down"
    assert metrics["environment"]["PyTorch"] == torch.__version__


def test_a_run_of_an_earlier_version_goes_on_without_its_history(dataset: ReIDDataset, tmp_path: Path) -> None:
    config = tiny_config("optimizer.epochs=1")
    Trainer(config, dataset.train, tmp_path / "run", runtime=CPU).fit()
    file = tmp_path / "run" / "checkpoint" / "train_state.pt"
    state = torch.load(file, weights_only=True)
    del state["history"]
    torch.save(state, file)
    more = Trainer(config.override(["optimizer.epochs=2"]), dataset.train, tmp_path / "run", runtime=CPU)
    more.resume()
    more.fit()
    assert [entry["epoch"] for entry in load_checkpoint(tmp_path / "run").metrics["history"]] == [2]


def test_two_runs_are_equal_and_another_seed_is_not(dataset: ReIDDataset, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        Trainer(tiny_config("optimizer.epochs=1", f"seed={seed}"), dataset.train, tmp_path / name, runtime=CPU).fit()
    a, b, c = ((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_nan_stops_the_run_and_keeps_the_last_checkpoint(dataset: ReIDDataset, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config("optimizer.epochs=3"), dataset.train, tmp_path / "run", runtime=CPU)

    class Poison(Recorder):
        def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
            torch.nn.init.constant_(trainer.learner.model.part_classifier.classifier.weight, float("nan"))

    trainer.callbacks = [Poison()]
    with pytest.raises(TrainingError, match=r"epoch 2, step 1: .*loss.*learning_rate"):
        trainer.fit()
    model = load_checkpoint(tmp_path / "run").model
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_full_disk_keeps_the_former_checkpoint(
    dataset: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FillDisk(Recorder):
        def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
            def full(*args: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr("partreid.files.force_to_disk", full)

    trainer = Trainer(tiny_config(), dataset.train, tmp_path / "run", runtime=CPU, callbacks=[FillDisk()])
    with pytest.raises(CheckpointError, match="No space left on device"):
        trainer.fit()
    assert load_checkpoint(tmp_path / "run").metrics["epoch"] == 1
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint"]


def test_a_folder_with_a_run_is_not_overwritten(dataset: ReIDDataset, tmp_path: Path) -> None:
    Trainer(tiny_config("optimizer.epochs=1"), dataset.train, tmp_path / "run", runtime=CPU).fit()
    with pytest.raises(CheckpointError, match="already holds a run"):
        Trainer(tiny_config("optimizer.epochs=1"), dataset.train, tmp_path / "run", runtime=CPU).fit()


def test_what_cannot_be_trained_on(blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs 30 identities and the training set has 6"):
        Trainer(tiny_config("batch.identities_per_batch=30"), read_dataset(blocks).train, tmp_path / "a", runtime=CPU)
    with pytest.raises(LabelError, match="No training image .* has a human parsing label"):
        Trainer(tiny_config(), read_dataset(blocks, labels=None).train, tmp_path / "b", runtime=CPU)
    unlabelled = tiny_config("objective.part_attention_weight=0", "optimizer.epochs=1")
    Trainer(unlabelled, read_dataset(blocks, labels=None).train, tmp_path / "c", runtime=CPU).fit()


@pytest.mark.parametrize(("trained", "new"), [("null", "8"), ("8", "null"), ("8", "8")])
def test_a_training_starts_from_the_backbone_of_a_run(trained: str, new: str, tmp_path: Path) -> None:
    first = build_model(tiny_config("seed=1", "model.attention=none", f"model.map_stride={trained}"), 3)
    save_checkpoint(Checkpoint(first, PreprocessConfig()), tmp_path / "first")
    second = build_model(tiny_config(f"model.map_stride={new}", f"pretrained={tmp_path / 'first'}"), 5)
    ours, theirs = (
        {key.replace("backbone.", ""): value for key, value in model.backbone.state_dict().items()}
        for model in (second, first)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    with pytest.raises(CheckpointError, match=r"missing keys.* --set model\.backbone=resnet18\."):
        build_model(tiny_config("model.backbone=efficientnet_lite0", f"pretrained={tmp_path / 'first'}"), 3)


def test_a_folder_called_imagenet_is_no_run_to_start_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("imagenet", "none"):
        (tmp_path / name).mkdir()
    assert isinstance(build_model(tiny_config("pretrained=none"), 3), BPBReID)
    with pytest.raises(CheckpointError, match="No ImageNet weights for resnet18 come with a Python package"):
        build_model(tiny_config("pretrained=imagenet"), 3)


def test_nothing_to_resume(dataset: ReIDDataset, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        Trainer(tiny_config(), dataset.train, tmp_path / "run", runtime=CPU).resume()


def test_persons_of_two_sets_stay_apart_though_their_pids_coincide(
    dataset: ReIDDataset, blocks: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").symlink_to(blocks)
    other = read_dataset(tmp_path / "other")
    both, turned = [*dataset.train, *other.train], [*other.train, *dataset.train]
    trainer = Trainer(tiny_config("optimizer.epochs=1"), both, tmp_path / "run", runtime=CPU)
    assert trainer.learner.model.num_identities == 12
    found = {(image.dataset, image.pid, i) for image, i in zip(both, trainer.loader.pid_index, strict=True)}
    assert len(found) == len({i for _, _, i in found}) == 12
    for batch in trainer.loader.sampler:
        assert all(len({both[i].identity for i in batch[start : start + 2]}) == 1 for start in range(0, 6, 2))
    trainer.fit()
    Trainer(tiny_config("optimizer.epochs=1"), turned, tmp_path / "turned", runtime=CPU).fit()
    a, b = ((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("run", "turned"))
    assert a == b, "the order in which sets are given changes nothing"


def test_a_run_is_not_resumed_on_other_persons(dataset: ReIDDataset, tmp_path: Path) -> None:
    Trainer(tiny_config("optimizer.epochs=1"), dataset.train, tmp_path / "run", runtime=CPU).fit()
    images = dataset.train

    def resume(images: Sequence[ReIDImage]) -> None:
        Trainer(tiny_config("optimizer.epochs=2"), images, tmp_path / "run", runtime=CPU).resume()

    resume([replace(image, dataset="moved") for image in images])
    with pytest.raises(CheckpointError, match="expected the 6 identities it began with, got 6 others"):
        resume([replace(image, pid=image.pid + 1) for image in images])
    with pytest.raises(CheckpointError, match="6 identities it began with, got 5. Resume with the same data sets"):
        resume([image for image in images if image.pid != images[0].pid])


def test_joined_sets_that_cannot_be_trained_on(dataset: ReIDDataset, blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training images. Sets such as Occluded-REID have none"):
        Trainer(tiny_config(), (), tmp_path / "a", runtime=CPU)
    with pytest.raises(DataError, match=r"0001_c1.* is among the training images 2 times"):
        Trainer(tiny_config(), (*dataset.train, *dataset.train), tmp_path / "a", runtime=CPU)
    (tmp_path / "bare").symlink_to(blocks)
    bare = read_dataset(tmp_path / "bare", labels=None)
    with pytest.warns(UserWarning, match=r"No training image of bare has .* learned from blocks\S* alone"):
        Trainer(tiny_config(), (*dataset.train, *bare.train), tmp_path / "a", runtime=CPU)


def test_the_tiniest_numbers_count_as_zero_in_training(dataset: ReIDDataset, tmp_path: Path) -> None:
    """Channels that die decay into them; computing with them took 1.7 times as long after eight epochs."""
    torch.set_flush_denormal(False)
    tiny = torch.tensor([1e-39])
    assert (tiny * 1).item() > 0
    try:
        Trainer(tiny_config(), dataset.train, tmp_path / "run", runtime=RuntimeConfig(device="cpu"))
        assert (tiny * 1).item() == 0
    finally:
        torch.set_flush_denormal(False)
