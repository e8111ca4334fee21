"""A resumed training notices what is no longer as it was, and two trainings never share a folder."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError, TrainingError
from partreid.files import atomic_folder
from partreid.models.checkpoint import CHECKPOINT_FOLDER, load_checkpoint
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import StepRecord
from partreid.training.data import TrainingData
from partreid.training.loop import Trainer
from partreid.training.state import LOCK_FILE, STATE_FILE
from partreid.types import ReIDImage
from tests.conftest import tiny_config

CPU = RuntimeConfig(device="cpu", precision="float32")


def trainer(images: tuple[ReIDImage, ...], run: Path, *overrides: str) -> Trainer:
    return Trainer(tiny_config("optimizer.epochs=1", *overrides), images, run, runtime=CPU)


@pytest.fixture
def data(blocks: Path, tmp_path: Path) -> Path:
    """A copy of the blocks that may be changed."""
    return Path(shutil.copytree(blocks, tmp_path / "set"))


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """A run on them."""
    trainer(read_dataset(data).train, tmp_path / "run").fit()
    return tmp_path / "run"


def _other_image(data: Path) -> None:
    images = sorted((data / "bounding_box_train").iterdir())
    images[5].write_bytes(images[6].read_bytes())


def _swapped(data: Path) -> None:
    one, two = sorted((data / "bounding_box_train").iterdir())[:2]
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def _renamed(data: Path) -> None:
    one = sorted((data / "bounding_box_train").iterdir())[0]
    label = data / "masks" / "blocks" / "bounding_box_train" / f"{one.stem}.npy"
    one.rename(one.with_name("0001_c1_000009.jpg"))
    label.rename(label.with_name("0001_c1_000009.npy"))


def _one_byte(data: Path) -> None:
    image = sorted((data / "bounding_box_train").iterdir())[3]
    content = bytearray(image.read_bytes())
    content[-20] ^= 1
    image.write_bytes(content)


def _one_less(data: Path) -> None:
    sorted((data / "bounding_box_train").iterdir())[0].unlink()


def _other_label(data: Path) -> None:
    label = sorted((data / "masks" / "blocks" / "bounding_box_train").iterdir())[7]
    np.save(label, np.load(label)[::-1])


def _no_label(data: Path) -> None:
    sorted((data / "masks" / "blocks" / "bounding_box_train").iterdir())[2].unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_image, r"1 of 24 images differ now, the first of them at 0002_c2_\S+jpg"),
        (_swapped, r"2 of 24 images differ now, the first of them at 0001_c1"),
        (_renamed, r"1 of 24 images differ now, the first of them at 0001_c1"),
        (_one_byte, r"1 of 24 images differ now, the first of them at 0001_c4"),
        (_one_less, r"it had 24 training images, and there are 23 now"),
        (_other_label, r"1 of 24 labels differ now, the first of them at 0002_c4"),
        (_no_label, r"1 of 24 labels differ now, the first of them at 0001_c3"),
    ],
)
def test_exchanged_data_are_noticed(
    change: Callable[[Path], None], message: str, data: Path, run: Path, tmp_path: Path
) -> None:
    change(data)
    images = read_dataset(data).train
    with pytest.raises(CheckpointError, match=rf"trained on other data: {message}.*--allow-changes"):
        trainer(images, run, "optimizer.epochs=2").resume()
    more = trainer(images, run, "optimizer.epochs=2")
    more.resume(allow_changes=True)
    more.fit()
    again = trainer(images, run, "optimizer.epochs=3")
    again.resume()  # what it went on with is what it has now
    assert again.epoch == 2


def test_data_that_moved_and_labels_that_are_not_learned_from_change_nothing(data: Path, tmp_path: Path) -> None:
    bare = "objective.part_attention_weight=0"
    trainer(read_dataset(data).train, tmp_path / "run", bare).fit()
    moved = data.rename(tmp_path / "moved")
    _other_label(moved)
    trainer(read_dataset(moved).train, tmp_path / "run", bare).resume()
    other = (*read_dataset(moved).train[1::-1], *read_dataset(moved).train[2:])
    with pytest.raises(CheckpointError, match="the images of a person come in another order now"):
        trainer(other, tmp_path / "run", bare).resume()


def test_several_sets_may_be_given_in_another_order(data: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(data)
    one, two = read_dataset(data).train, read_dataset(tmp_path / "other").train
    trainer((*one, *two), tmp_path / "run").fit()
    trainer((*two, *one), tmp_path / "run").resume()


def test_a_run_keeps_its_configuration_but_may_go_on_for_longer(data: Path, run: Path) -> None:
    images = read_dataset(data).train
    for overrides, named in (
        (("optimizer.learning_rate=2e-3",), r"optimizer\.learning_rate = 0\.001, and now it is 0\.002\. "),
        (("seed=1", "augment.padding=3"), r"augment\.padding = 2, and now it is 3 \(2 fields differ\)"),
    ):
        with pytest.raises(CheckpointError, match=named):
            trainer(images, run, *overrides).resume()
    trainer(images, run, "optimizer.epochs=3", "labels=blocks").resume()
    changed = trainer(images, run, "optimizer.learning_rate=2e-3", "optimizer.epochs=2")
    changed.resume(allow_changes=True)
    changed.fit()
    with pytest.raises(CheckpointError, match=r"has 2 epochs already: more than optimizer\.epochs = 1 asks for"):
        trainer(images, run).resume()


def test_a_run_of_an_earlier_version_goes_on_with_a_word(data: Path, run: Path) -> None:
    file = run / CHECKPOINT_FOLDER / STATE_FILE
    state = torch.load(file, weights_only=True)
    del state["data"]
    torch.save(state, file)
    images = read_dataset(data).train
    more = trainer(images, run, "optimizer.epochs=2")
    with pytest.warns(UserWarning, match="an earlier version, which kept no digest of its images"):
        more.resume()
    more.fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(images, run, "optimizer.epochs=2").resume()


def test_names_alone_do_not_make_a_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(name.encode() * 3)
    images = [ReIDImage(tmp_path / name / "1.jpg", 0) for name in ("a", "b")]
    both = TrainingData.of(images, [0, 1], labels=True)
    assert both.names == ["1.jpg", "1.jpg"]
    assert both.digests["labels"].tolist() == [0, 0]
    assert TrainingData.of(images[::-1], [1, 0], labels=False).changes(both.digests) == ""
    assert "2 of 2 images" in TrainingData.of(images, [1, 0], labels=True).changes(both.digests)
    missing = [replace(images[0], path=tmp_path / "none.jpg"), images[1]]
    assert "1 of 2 images" in TrainingData.of(missing, [0, 1], labels=True).changes(both.digests)


class Meanwhile:
    """Does something during a training."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do, self.done = do, False

    def on_step(self, record: StepRecord) -> None:
        if not self.done:
            self.done = True
            self.do()

    def on_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def test_two_trainings_never_share_a_folder(data: Path, run: Path, tmp_path: Path) -> None:
    images = read_dataset(data).train
    refusals = []

    def others(folder: Path) -> None:
        assert (folder / LOCK_FILE).is_file()
        refused = trainer(images, folder)
        for attempt in (refused.resume, refused.fit):
            with pytest.raises(CheckpointError) as error:
                attempt()
            refusals.append(str(error.value))

    new = trainer(images, tmp_path / "new")
    new.callbacks = [Meanwhile(lambda: others(tmp_path / "new"))]
    new.fit()
    more = trainer(images, run, "optimizer.epochs=2")
    more.resume()
    more.callbacks = [Meanwhile(lambda: others(run))]
    more.fit()
    assert len(refusals) == 4
    assert "no checkpoint" in refusals[0], "nothing was there to resume yet"
    for message in refusals[1:]:
        assert "is training into" in message
        assert "Wait for it to end, or choose another folder" in message
    assert [path.name for path in run.iterdir()] == [CHECKPOINT_FOLDER]


def test_a_run_that_another_went_on_with_since_it_was_resumed_is_left_alone(data: Path, run: Path) -> None:
    images = read_dataset(data).train
    slow, quick = (trainer(images, run, "optimizer.epochs=2") for _ in range(2))
    slow.resume()
    quick.resume()
    quick.fit()
    before = (run / CHECKPOINT_FOLDER / STATE_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="Another process has written into .* Resume it again"):
        slow.fit()
    assert (run / CHECKPOINT_FOLDER / STATE_FILE).read_bytes() == before


def test_resuming_leaves_what_is_being_written(data: Path, run: Path) -> None:
    """A checkpoint that some other process writes just now, such as an import into the same folder."""
    with atomic_folder(run / CHECKPOINT_FOLDER) as temporary:
        shutil.copytree(run / CHECKPOINT_FOLDER, temporary, dirs_exist_ok=True)
        trainer(read_dataset(data).train, run).resume()
    assert load_checkpoint(run).metrics["epoch"] == 1


def test_what_a_kill_left_as_the_former_checkpoint_is_not_overwritten(data: Path, run: Path) -> None:
    (run / CHECKPOINT_FOLDER).rename(run / f"{CHECKPOINT_FOLDER}.previous")
    with pytest.raises(CheckpointError, match="already holds a run"):
        trainer(read_dataset(data).train, run).fit()


def test_weights_that_are_no_numbers_are_not_saved_though_the_loss_was_one(
    data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of the last epoch: no loss is computed after it."""
    more = trainer(read_dataset(data).train, run, "optimizer.epochs=2")
    more.resume()
    more.loader.sampler.set_epoch(1)
    steps = more.loader.sampler.batches
    step, count = torch.optim.Adam.step, []

    def overflow(self: torch.optim.Adam, *args: object, **options: object) -> object:
        count.append(1)
        if len(count) == steps:
            self.param_groups[0]["params"][0].grad.fill_(float("inf"))
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", overflow)
    with pytest.raises(
        TrainingError, match=r"no finite numbers after epoch 2 .*: \S+weight.*The last checkpoint is kept"
    ):
        more.fit()
    assert len(count) == steps
    kept = load_checkpoint(run)
    assert kept.metrics["epoch"] == 1
    assert all(value.isfinite().all() for value in kept.model.state_dict().values())
